package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"etcd2/discovery"
)

// Config tunes a Proxy. A zero field takes the default named beside it.
type Config struct {
	PeerURLs []string // where the members are asked first; without any no endpoint is ever found
	Kept     *Peers   // where their list is kept; nowhere
	Members  Source   // asks the members; required

	Readonly bool     // refuse everything but GET and HEAD
	CORS     []string // origins that browsers may call from, "*" for all; none

	RefreshInterval time.Duration // between two questions to the members; 30s
	FailureWait     time.Duration // an endpoint that failed is left alone for; 5s, negative for not at all
	DialTimeout     time.Duration // of a connection to a member; 1s, negative for none
	WriteTimeout    time.Duration // one write to a member must be done within; 5s, negative for none
	ReadTimeout     time.Duration // a member may be silent for, which cuts long polls; none

	// An endpoint that leaves a probe without a response for ProbeTimeout is silent: it
	// gets no requests until it answers again. Reads, long polls too, go on elsewhere,
	// streams end, and writes that it may have got fail after SilentWriteTimeout. Probes
	// are made while requests are sent to the endpoint, and when one waits for longer
	// than a quarter of ProbeTimeout. A response that takes long is no reason.
	ProbeInterval      time.Duration // between two probes of an endpoint in use; 1s, negative for no such probes
	ProbeTimeout       time.Duration // for the header of the response to one; 1s
	SilentWriteTimeout time.Duration // for which a write waits for an endpoint to answer again; 3s

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // that of a net.Dialer that notices a silent death within 30s
	TLS  func() *tls.Config                                                // settings of one connection to a member, asked at each; nil refuses https URLs

	// Logger gets lines whose text is that of etcd 2.3 without the "proxy: " in
	// front, which is for the log to add; discard.
	Logger *slog.Logger
}

// Source asks the peer URLs who the members of the cluster are; *discovery.Client
// is one. It gives up within seconds for each URL.
type Source interface {
	Running(ctx context.Context, urls []string) (*discovery.Running, error)
}

const (
	// idlePerEndpoint is how many connections to a member are kept for reuse.
	idlePerEndpoint = 128
	// idleTimeout is how long. It is shorter than the time after which a member
	// closes its end, so that no write runs into a connection that is going away.
	idleTimeout = 90 * time.Second
	// handshakeTimeout is how long TLS with a member may take.
	handshakeTimeout = 10 * time.Second
	// probeTimeout is how long a probe lasts. It is longer than Config.ProbeTimeout, so
	// that a silent endpoint shows at once when it is back.
	probeTimeout = 5 * time.Second
	// inUseFor is how long after its last request an endpoint is probed: a client that
	// sends one every few seconds is not the one that finds out.
	inUseFor = 10 * time.Second
	// retryInterval is between two questions to members, or two probes, as long as
	// no endpoint is available.
	retryInterval = time.Second
	// longRefresh is the RefreshInterval from which on retryInterval counts; who
	// wants it shorter gets what he asks for.
	longRefresh = 30 * time.Second

	// bodyBytesMax is the longest body of a request. Members refuse forms of 10 MiB.
	bodyBytesMax = 16 << 20
	// bodyTimeout is how long it may take to arrive.
	bodyTimeout = time.Minute
	// goneTimeout is how long a request is carried out for a client that sends nothing
	// more. It may still wait for the response, or it may have gone. Members answer
	// within seconds.
	goneTimeout = 30 * time.Second
	// goneWatchTimeout is the same for long polls and streams. These have no end of
	// their own, and most clients that end one have gone.
	goneWatchTimeout = 5 * time.Second
	// goneWatchesMax is how many of those there may be at a time, so that clients which
	// leave do not use up the connections of the others.
	goneWatchesMax = 256
	// sendTimeout is how long a client may take to read one piece of an answer.
	sendTimeout = 30 * time.Second
)

// keepAlive finds out that a member has gone without a word, though a long poll
// may be silent for days.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

func (c Config) withDefaults() Config {
	if c.Members == nil {
		panic("proxy: nobody to ask who the members are")
	}
	c.RefreshInterval = cmp.Or(c.RefreshInterval, 30*time.Second)
	c.FailureWait = cmp.Or(c.FailureWait, 5*time.Second)
	c.DialTimeout = cmp.Or(c.DialTimeout, time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, time.Second)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, time.Second)
	c.SilentWriteTimeout = cmp.Or(c.SilentWriteTimeout, 3*time.Second)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

package peer

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"
)

// Config tunes a Transport. A zero field takes the default named beside it.
type Config struct {
	// Dial makes a connection; net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS returns the settings of one connection to an https URL and is asked at
	// each dial. Without it, or when it returns nil, https URLs are refused.
	TLS func() *tls.Config
	// PeerURLs are where others reach this member. They are told to members that
	// may not know it yet; the URLs that Receiver.Members lists for it.
	PeerURLs []string

	DialTimeout time.Duration // for a connection, its handshakes and the answer that opens a stream; 5s
	KeepAlive   time.Duration // how often a stream asks the other end for a sign of life; 1s
	// Silence is how long a connection may be silent, or a write may take, before
	// the connection is given up; 5s. It is to be several times KeepAlive.
	Silence     time.Duration
	RetryMin    time.Duration // pause after the first failed dial, doubled by each further one; 100ms
	RetryMax    time.Duration // the longest pause between dials; 1s
	RefusedMax  time.Duration // the same for a member that refuses this one, or is refused; 5s
	ProbePeriod time.Duration // how often the state of the connections is looked at for warnings; 4s

	// QueueMessages and QueueBytes bound what waits for one member. Beyond them
	// messages are dropped and reported, and raft sends them again.
	QueueMessages int // 4096
	QueueBytes    int // 64 MiB

	// SnapshotBytesPerSecond bounds what checkpoints may take of the network, all
	// transfers together; 64 MiB. -1 is no bound.
	SnapshotBytesPerSecond int64
	// SnapshotAnswer is how long the receiver of a whole checkpoint may take to
	// install it; 5m.
	SnapshotAnswer time.Duration

	Logger *slog.Logger // discard
}

func (c Config) withDefaults() Config {
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, time.Second)
	c.Silence = cmp.Or(c.Silence, 5*time.Second)
	c.RetryMin = cmp.Or(c.RetryMin, 100*time.Millisecond)
	c.RetryMax = cmp.Or(c.RetryMax, time.Second)
	c.RefusedMax = cmp.Or(c.RefusedMax, 5*time.Second)
	c.ProbePeriod = cmp.Or(c.ProbePeriod, 4*time.Second)
	c.QueueMessages = cmp.Or(c.QueueMessages, 4096)
	c.QueueBytes = cmp.Or(c.QueueBytes, 64<<20)
	c.SnapshotBytesPerSecond = cmp.Or(c.SnapshotBytesPerSecond, 64<<20)
	c.SnapshotAnswer = cmp.Or(c.SnapshotAnswer, 5*time.Minute)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"etcd2/client"
	"etcd2/internal/pause"
	"etcd2/membership"
)

// URLConfig says where the founding members of a cluster meet. A zero field takes
// the default named beside it.
type URLConfig struct {
	URL       string            // the meeting place, which is also the cluster token, byte for byte; required
	Proxy     string            // HTTP proxy to reach it through; none
	TLS       *tls.Config       // for https; the authorities of the system, no certificate
	Transport http.RoundTripper // carries the requests in place of one made of Proxy and TLS
	Logger    *slog.Logger      // discard

	// Registering is called by Join right before the member registers: up to then it
	// had not. When Join fails with ErrDuplicateID it still has not, unless it had
	// before. Its error is that of Join; nothing.
	Registering func() error
	// Registered says that this member has registered before and did nothing but
	// wait since. Of any other member whose ID has arrived already, Join believes
	// that it has lost its data.
	Registered bool
}

// Errors of Join and Members a caller can act on. Their texts are those of etcd 2.3.
var (
	ErrFull          = errors.New("discovery: cluster is full")
	ErrNoSize        = errors.New("discovery: size key not found")
	ErrBadSize       = errors.New("discovery: size key is bad")
	ErrBadEndpoint   = errors.New("discovery: bad discovery endpoint")
	ErrInvalidURL    = errors.New("discovery: invalid URL")
	ErrDuplicateID   = errors.New("discovery: found duplicate id")
	ErrDuplicateName = errors.New("discovery: found duplicate name")
	// ErrVanished says that what this member registered is no longer there.
	ErrVanished = errors.New("discovery: the registration of this member is gone or was changed")
)

// Join registers self, of which name and peer URLs count, at the meeting place, and
// waits until all have arrived. The result is the initial cluster; IDs are computed
// with the URL as cluster token.
//
// Nobody listening there, and server errors, are waited out for as long as it
// takes. The error is that of ctx, or a *JoinError, which knows what to tell the
// operator.
func Join(ctx context.Context, cfg URLConfig, self membership.Member) (membership.Peers, error) {
	peers, err := joinAt(ctx, cfg, self)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &JoinError{URL: shown(cfg.URL), Name: self.Name, Err: err}
	}
	return peers, nil
}

func joinAt(ctx context.Context, cfg URLConfig, self membership.Member) (membership.Peers, error) {
	p, err := meet(cfg)
	if err != nil {
		return nil, err
	}
	value := membership.Peers{self.Name: self.PeerURLs}.String()
	own, err := parseArrival(value)
	if err != nil || own.name != self.Name {
		return nil, fmt.Errorf("discovery: others could not read %q; choose a name without commas, equals signs and control characters", value)
	}
	return p.join(ctx, membership.NewMember(own.name, own.urls, cfg.URL, nil), value)
}

// Members waits until all founding members have arrived and returns them; a proxy
// uses it, which is none of them. Errors are those in JoinError.Err, and that of
// ctx.
func Members(ctx context.Context, cfg URLConfig) (membership.Peers, error) {
	p, err := meet(cfg)
	if err != nil {
		return nil, err
	}
	peers, err := p.gather(ctx, nil)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return peers, err
}

// meet makes a place of its description and asks nothing yet.
func meet(cfg URLConfig) (*place, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, fmt.Errorf("discovery: the URL has to begin with http:// or https:// and a host: %s", u.Redacted())
	}
	proxy, err := proxyURL(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		log.Info(fmt.Sprintf("using proxy %q", proxy.Redacted()))
	}
	carrier := cfg.Transport
	if carrier == nil {
		// Proxies that the environment names do not count, as for etcd 2.3.
		own := client.NewTransport()
		own.Proxy, own.TLSClientConfig = http.ProxyURL(proxy), cfg.TLS
		own.DisableKeepAlives = true // questions are rare
		carrier = own
	}
	path := strings.TrimRight(u.Path, "/")
	u.Path, u.RawPath, u.RawQuery, u.Fragment = "", "", "", ""
	c, err := client.New(client.Config{Endpoints: []string{u.String()}, Transport: carrier, AnswerBytesMax: listBytesMax, Logger: log})
	if err != nil {
		return nil, err
	}
	return &place{
		keys: c.KeysBelow(""), path: path, base: u.Redacted(), token: cfg.URL, log: log,
		registering: cfg.Registering, registered: cfg.Registered,
		retry: pause.Growing{Min: retryMin, Max: retryMax},
		told:  make(map[membership.ID]bool),
	}, nil
}

// proxyURL reads the address of an HTTP proxy, whose scheme may be left out; nil
// for none.
func proxyURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(u.Scheme, "http") {
		if full, err := url.Parse("http://" + text); err == nil {
			return full, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("invalid proxy address %q: %w", text, err)
	}
	return u, nil
}

// shown is a URL as it may be logged: without a password.
func shown(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

// JoinError says why a member could not be registered or its cluster not be formed.
type JoinError struct {
	URL  string // the meeting place, without a password
	Name string // the member
	Err  error
}

func (e *JoinError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *JoinError) Unwrap() error { return e.Err }

// Line is a line of the log.
type Line struct {
	Level slog.Level
	Text  string
}

// Lines is what the log has to say about the error before the process ends, in the
// words of etcd 2.3. Without a line the text of the error itself is the last word.
func (e *JoinError) Lines(dataDir string) []Line {
	var distinct *DuplicateURLError
	switch {
	case errors.As(e.Err, &distinct):
		return nil
	case errors.Is(e.Err, ErrDuplicateID):
		return []Line{
			{slog.LevelError, fmt.Sprintf("member %q has previously registered with discovery service token (%s).", e.Name, e.URL)},
			{slog.LevelError, fmt.Sprintf("But etcd could not find valid cluster configuration in the given data dir (%s).", dataDir)},
			{slog.LevelInfo, "Please check the given data dir path if the previous bootstrap succeeded"},
			{slog.LevelInfo, "or use a new discovery token if the previous bootstrap failed."},
		}
	case errors.Is(e.Err, ErrDuplicateName):
		return []Line{
			{slog.LevelError, fmt.Sprintf("member with duplicated name has registered with discovery service token(%s).", e.URL)},
			{slog.LevelError, "please check (cURL) the discovery token for more information."},
			{slog.LevelError, "please do not reuse the discovery token and generate a new one to bootstrap the cluster."},
		}
	}
	return []Line{
		{slog.LevelError, fmt.Sprintf("failed to join discovery cluster (%v)", e.Err)},
		{slog.LevelInfo, fmt.Sprintf("discovery token %s was used, but failed to bootstrap the cluster.", e.URL)},
		{slog.LevelInfo, "please generate a new discovery token and try to bootstrap again."},
	}
}

// Guide is the sentence of the clustering guide about the error, which a user may
// look for behind "etcd: "; "" if it has none.
func (e *JoinError) Guide() string {
	switch {
	case errors.Is(e.Err, ErrNoSize):
		return fmt.Sprintf("error: the cluster doesn’t have a size configuration value in %s/_config", strings.TrimRight(e.URL, "/"))
	case errors.Is(e.Err, ErrFull):
		return ErrFull.Error()
	}
	return ""
}

// DuplicateURLError says that two members registered the same peer URL.
type DuplicateURLError struct{ Cluster membership.Peers }

func (e *DuplicateURLError) Error() string {
	return fmt.Sprintf("discovery cluster %s has duplicate url", e.Cluster)
}

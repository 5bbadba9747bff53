// Package discovery is the discovery service: the place where members that know
// nothing of each other meet and become a cluster.
//
// GET /new?size=3 makes a token and answers its URL, which every founding member is
// then given. Below /TOKEN the service speaks the v2 keys protocol as the members
// of etcd 0.4 to 3.5 use it, with the answers of the member's own keys API. A
// browser that opens the URL sees who has arrived.
//
// Tokens live in the store of the member, in the hidden directory of client keys
// /_etcd/registry, so all members of a cluster serve the same tokens and operators
// can look at them and remove them. A token goes away with all below it after a
// time. Reads ask the quorum: members may be sent from one server to another by
// whatever stands between, and find what they have written.
//
// The service may be open to strangers. They can do no more than what founding a
// cluster takes, and everything they can use up has a limit. Who meets a limit that
// passes is told so in a way that has members try again.
package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"etcd2/etcdserver"
	"etcd2/membership"
	"etcd2/store"
)

// Member is the server that keeps the tokens. Paths are whole-store paths.
type Member interface {
	// Do carries one write through the log. It bounds the wait.
	Do(ctx context.Context, op store.Op) (etcdserver.Reply, error)
	// Get reads the tree of this member.
	Get(path string) (store.View, etcdserver.Position, error)
	// QuorumGet reads what a quorum agrees on. It bounds the wait.
	QuorumGet(ctx context.Context, path string) (store.View, etcdserver.Position, error)
	// Now is the cluster's time in Unix nanoseconds.
	Now() int64
	ClusterID() membership.ID
}

// Config tunes a Service. A zero field takes the default named beside it.
type Config struct {
	// URL is what tokens are appended to in the answer of /new, without a slash at
	// its end; by default the scheme and host that the request came with.
	URL string
	// TrustForwarded believes the X-Forwarded headers: a reverse proxy stands before
	// the service and no client gets past it.
	TrustForwarded bool

	TokenTTL      time.Duration // life of a token, more than a few minutes; 7 days
	TokensMax     int           // tokens alive at a time; 10000
	SizeMax       int           // largest cluster that a token may be for; 32
	KeysMax       int           // keys of one token; 64
	ValueBytesMax int           // what one member registers; 1024

	// A client is an IPv4 address or an IPv6 network of 64 bits. What it has not used
	// of its requests it may catch up on, up to those of ten seconds, and of its
	// tokens, up to those of two minutes.
	RequestsPerSecond float64 // of one client; 50; negative for no limit
	TokensPerMinute   float64 // made by one client; 10; negative for no limit
	WaitsMax          int     // requests of one client that wait at a time; 512

	Observe Observer     // what happens is counted there; nothing
	Logger  *slog.Logger // discard
}

// Observer counts what happens. A nil function is skipped.
type Observer struct {
	Minted     func()              // a token was made
	Registered func()              // a member arrived
	Refused    func(reason string) // a limit was met, one of the Limit constants
}

// The limits that requests are refused for.
const (
	LimitRate   = "rate"   // requests or tokens of one client
	LimitWaits  = "waits"  // waiting requests of one client
	LimitTokens = "tokens" // tokens alive
	LimitKeys   = "keys"   // keys of one token
	LimitValue  = "value"  // bytes of a value
)

func (c Config) withDefaults() Config {
	c.TokenTTL = cmp.Or(c.TokenTTL, 7*24*time.Hour)
	c.TokensMax = cmp.Or(c.TokensMax, 10_000)
	c.SizeMax = cmp.Or(c.SizeMax, 32)
	c.KeysMax = cmp.Or(c.KeysMax, 64)
	c.ValueBytesMax = cmp.Or(c.ValueBytesMax, 1024)
	c.RequestsPerSecond = cmp.Or(c.RequestsPerSecond, 50)
	c.TokensPerMinute = cmp.Or(c.TokensPerMinute, 10)
	c.WaitsMax = cmp.Or(c.WaitsMax, 512)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Observe.Minted == nil {
		c.Observe.Minted = func() {}
	}
	if c.Observe.Registered == nil {
		c.Observe.Registered = func() {}
	}
	if c.Observe.Refused == nil {
		c.Observe.Refused = func(string) {}
	}
	return c
}

// Service is the discovery service of one member. Any goroutine may use it.
type Service struct {
	cfg     Config
	member  Member
	keys    http.Handler
	clients *clients

	mu       sync.Mutex     // guards the fields below
	minting  int            // tokens on their way into the store
	arriving map[string]int // keys on their way into the store, by token
}

// New returns a service that keeps its tokens in the store of the member. keys is
// the API of the same member: it is asked for what clients want to know or change
// below a token, once that has been found to be right, at /v2/keys.
func New(cfg Config, member Member, keys http.Handler) *Service {
	cfg = cfg.withDefaults()
	return &Service{
		cfg:      cfg,
		member:   member,
		keys:     keys,
		clients:  newClients(&cfg),
		arriving: make(map[string]int),
	}
}

// Beside returns a handler that serves the paths of the service, and has next serve
// all others.
func (s *Service) Beside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What browsers ask before they call from another page is the same everywhere.
		if t, ok := parsePath(r.URL.Path); ok && r.Method != http.MethodOptions {
			s.serve(w, r, t)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP serves the paths of the service. All others are not found.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Beside(http.NotFoundHandler()).ServeHTTP(w, r)
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request, t target) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	client := s.clients.get(s.address(r))
	if t.token == "" {
		s.serveNew(w, r, client)
		return
	}
	s.serveToken(w, r, t, client)
}

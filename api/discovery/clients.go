package discovery

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// clientsMax is how many clients are told apart; those beyond share one account.
	clientsMax = 100_000
	// sweepInterval is the time between two looks for clients that can be forgotten.
	sweepInterval = time.Minute
	// forgetAfter is the rest after which a client has all its requests again, so
	// that nothing is lost with its account.
	forgetAfter = 3 * time.Minute

	burstSeconds = 10 // of requests
	burstMinutes = 2  // of tokens
)

// clients holds the accounts of who has asked lately.
type clients struct {
	requests, tokens quota
	waitsMax         int

	mu    sync.Mutex // guards the fields below
	all   map[netip.Prefix]*client
	swept time.Time
}

// client is the account of one client.
type client struct {
	address          netip.Prefix // the zero Prefix for those that share an account
	requests, tokens *rate.Limiter
	waitsMax         int

	mu    sync.Mutex // guards the fields below
	waits int
	seen  time.Time
}

func newClients(cfg *Config) *clients {
	return &clients{
		requests: newQuota(cfg.RequestsPerSecond, time.Second, burstSeconds),
		tokens:   newQuota(cfg.TokensPerMinute, time.Minute, burstMinutes),
		waitsMax: cfg.WaitsMax,
		all:      make(map[netip.Prefix]*client),
		swept:    time.Now(),
	}
}

// quota is how often something may be done.
type quota struct {
	limit rate.Limit
	burst int
}

// newQuota allows n in each period, and to catch up on those of some periods. A
// negative n allows any number.
func newQuota(n float64, period time.Duration, periods int) quota {
	if n < 0 {
		return quota{limit: rate.Inf}
	}
	return quota{rate.Limit(n / period.Seconds()), max(1, int(n)*periods)}
}

func (q quota) limiter() *rate.Limiter { return rate.NewLimiter(q.limit, q.burst) }

// get finds the account of an address, or opens one.
func (c *clients) get(address netip.Prefix) *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.swept) >= sweepInterval {
		c.sweep(now)
	}
	found := c.all[address]
	if found == nil && len(c.all) >= clientsMax {
		address = netip.Prefix{}
		found = c.all[address]
	}
	if found == nil {
		found = &client{
			address:  address,
			requests: c.requests.limiter(),
			tokens:   c.tokens.limiter(),
			waitsMax: c.waitsMax,
		}
		c.all[address] = found
	}
	found.touch(now)
	return found
}

// sweep forgets those who have been away.
func (c *clients) sweep(now time.Time) {
	c.swept = now
	for address, client := range c.all {
		if client.away(now) {
			delete(c.all, address)
		}
	}
}

func (c *client) touch(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = now
}

func (c *client) away(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits == 0 && now.Sub(c.seen) >= forgetAfter
}

func (c *client) mayAsk() bool  { return c.requests.Allow() }
func (c *client) mayMint() bool { return c.requests.Allow() && c.tokens.Allow() }

// beginWait counts one waiting request until endWait, false when there are too many.
func (c *client) beginWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits >= c.waitsMax {
		return false
	}
	c.waits++
	return true
}

func (c *client) endWait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits--
	c.seen = time.Now()
}

// address is whom a request is accounted to: an IPv4 address, or the network of an
// IPv6 address, in which anybody may have as many addresses as they like.
func (s *Service) address(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if s.cfg.TrustForwarded {
		// The last address is the one that the proxy has seen itself.
		if last := lastOf(r.Header.Values("X-Forwarded-For")); last != "" {
			host = last
		}
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		panic("discovery: an address has these many bits: " + err.Error())
	}
	return p
}

// lastOf is the last item of a header that holds a list.
func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	list := values[len(values)-1]
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

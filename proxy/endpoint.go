package proxy

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is a client URL of a member.
type endpoint struct {
	text string
	url  *url.URL

	// index is the etcd index that the member has reached as far as its answers
	// told, 0 before the first.
	index atomic.Uint64

	// Guarded by endpoints.mu.
	failed  time.Time // when it was last found to fail; zero while it is available
	probing bool
}

// saw learns from an answer how far the member is. before is what was known when
// the request began: an answer that is lower than that comes from a member that
// has begun anew, and not from an answer that was overtaken.
func (e *endpoint) saw(header http.Header, before uint64) {
	index, err := strconv.ParseUint(header.Get(indexHeader), 10, 64)
	if err != nil {
		return
	}
	for {
		known := e.index.Load()
		if index < known && known != before || e.index.CompareAndSwap(known, index) {
			return
		}
	}
}

// endpoints is where requests can go.
type endpoints struct {
	log    *slog.Logger
	wait   time.Duration // for which an endpoint that failed is left alone
	marked chan struct{} // a signal that one was marked; one slot, as signals add up to one

	usable atomic.Pointer[[]*endpoint] // those of all that are available, in order

	mu  sync.Mutex // guards the fields below and those of each endpoint
	all []*endpoint
}

func newEndpoints(wait time.Duration, log *slog.Logger) *endpoints {
	s := &endpoints{log: log, wait: max(wait, shortestWait), marked: make(chan struct{}, 1)}
	s.usable.Store(new([]*endpoint))
	return s
}

// shortestWait keeps a failing endpoint from being probed without a break.
const shortestWait = 10 * time.Millisecond

// Available returns the endpoints to try, in order. Callers only read the slice.
func (s *endpoints) Available() []*endpoint { return *s.usable.Load() }

// Set replaces the endpoints, in an order by chance, so that many proxies do not
// all turn to the same member. One that was there before stays as it is.
func (s *endpoints) Set(urls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next []*endpoint
	for _, text := range urls {
		if i := slices.IndexFunc(s.all, func(e *endpoint) bool { return e.text == text }); i >= 0 {
			next = append(next, s.all[i])
			continue
		}
		u, err := url.Parse(text)
		if err != nil {
			s.log.Warn("upstream URL invalid: " + err.Error())
			continue
		}
		next = append(next, &endpoint{text: text, url: u})
	}
	rand.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
	s.all = next
	s.update()
}

// update makes the list of those that are available. The caller holds mu.
func (s *endpoints) update() {
	usable := slices.DeleteFunc(slices.Clone(s.all), func(e *endpoint) bool { return !e.failed.IsZero() })
	s.usable.Store(&usable)
}

// Failed marks an endpoint that cannot be reached.
func (s *endpoints) Failed(e *endpoint) {
	s.mu.Lock()
	first := e.failed.IsZero()
	e.failed = time.Now()
	s.update()
	s.mu.Unlock()
	if !first {
		return // many requests find out at the same time
	}
	s.log.Info("marked endpoint " + e.text + " unavailable")
	select {
	case s.marked <- struct{}{}:
	default:
	}
}

// Due returns the endpoints to probe now, each of which is to be reported to
// Probed, and the time until the next one is due, which is far when there is none.
func (s *endpoints) Due() (due []*endpoint, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.wait
	if len(s.Available()) == 0 {
		wait = min(wait, retryInterval) // a client waits for this
	}
	next = time.Hour
	for _, e := range s.all {
		if e.failed.IsZero() || e.probing {
			continue
		}
		if rest := wait - time.Since(e.failed); rest > 0 {
			next = min(next, rest)
			continue
		}
		e.probing = true
		due = append(due, e)
	}
	return due, next
}

// Probed takes the result of a probe.
func (s *endpoints) Probed(e *endpoint, err error) {
	s.mu.Lock()
	e.probing = false
	e.failed = time.Now()
	if err == nil {
		e.failed = time.Time{}
	}
	s.update()
	s.mu.Unlock()
	if err == nil {
		s.log.Info("marked endpoint " + e.text + " available, to retest connectivity")
	}
	select {
	case s.marked <- struct{}{}:
	default:
	}
}

package proxy

import (
	"fmt"
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

	up      atomic.Pointer[upPeriod] // the present one, or the last one while the endpoint is silent
	open    atomic.Int64             // requests under way
	used    atomic.Int64             // when the last of them ended, in ns
	watched atomic.Bool              // Due knows that it is in use

	// Guarded by endpoints.mu.
	failed  time.Time // when it was last found to fail; zero while it is available
	silent  bool      // that is why
	doubted bool      // a request waits for it
	probed  time.Time // when the last probe began
	probing bool
}

func newEndpoint(text string) (*endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	e := &endpoint{text: text, url: u}
	e.up.Store(newUpPeriod())
	return e, nil
}

// inUse reports whether requests go there.
func (e *endpoint) inUse() bool {
	return e.open.Load() > 0 || time.Since(time.Unix(0, e.used.Load())) < inUseFor
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
	log     *slog.Logger
	wait    time.Duration // for which an endpoint that failed is left alone
	every   time.Duration // between two probes of one in use; negative for none
	changed chan struct{} // a signal that Due has to be asked; one slot, as signals add up to one

	usable atomic.Pointer[[]*endpoint] // those of all that are available, in order

	mu      sync.Mutex // guards the fields below and those of each endpoint
	all     []*endpoint
	removed []*endpoint // listed no more, with requests under way
}

func newEndpoints(cfg *Config) *endpoints {
	s := &endpoints{log: cfg.Logger, wait: max(cfg.FailureWait, shortestWait), every: cfg.ProbeInterval, changed: make(chan struct{}, 1)}
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
		e, err := newEndpoint(text)
		if err != nil {
			s.log.Warn("upstream URL invalid: " + err.Error())
			continue
		}
		next = append(next, e)
	}
	for _, e := range s.all {
		if !slices.Contains(next, e) {
			s.removed = append(s.removed, e)
		}
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

// signal makes keepProbing ask Due.
func (s *endpoints) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Begin counts a request that is sent to an endpoint. Each is followed by one End.
func (s *endpoints) Begin(e *endpoint) {
	e.open.Add(1)
	if !e.watched.Swap(true) {
		s.signal()
	}
}

// End is the end of a request.
func (s *endpoints) End(e *endpoint) {
	e.used.Store(time.Now().UnixNano())
	e.open.Add(-1)
}

// Doubt has an endpoint probed at which a request waits.
func (s *endpoints) Doubt(e *endpoint) {
	s.mu.Lock()
	e.doubted = true
	s.mu.Unlock()
	s.signal()
}

// Failed marks an endpoint that cannot be reached, for the reason err.
func (s *endpoints) Failed(e *endpoint, err error) {
	first, last := s.mark(e, false)
	if first {
		s.log.Info("marked endpoint " + e.text + " unavailable")
	}
	if last {
		s.warnOfNone(err)
	}
}

// Silent marks an endpoint from which nothing came in response to a probe, and ends the
// requests that wait for it. why goes to the log.
func (s *endpoints) Silent(e *endpoint, why string) {
	first, last := s.mark(e, true)
	if first {
		s.log.Warn(fmt.Sprintf("endpoint %s does not answer (%s), trying others", e.text, why))
	}
	if last {
		s.warnOfNone(errSilent)
	}
	e.up.Load().end()
}

// mark makes an endpoint unavailable. first is true for the first of many requests that
// find out at the same time, last if no other endpoint is available.
func (s *endpoints) mark(e *endpoint, silent bool) (first, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = e.failed.IsZero() && slices.Contains(s.all, e)
	e.failed = time.Now()
	e.silent = e.silent || silent
	s.update()
	s.signal()
	return first, first && len(s.Available()) == 0
}

func (s *endpoints) warnOfNone(err error) {
	s.log.Warn("no endpoint is available, requests are refused until one answers; the last one failed: " + err.Error())
}

// Due returns the endpoints to probe now, each of which is to be reported to
// Probed, and the time until the next one is due, which is far when there is none.
func (s *endpoints) Due() (due []*endpoint, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = slices.DeleteFunc(s.removed, func(e *endpoint) bool { return e.open.Load() == 0 })
	next = time.Hour
	for _, e := range slices.Concat(s.all, s.removed) {
		rest := s.rest(e)
		switch {
		case e.probing:
		case rest > 0:
			next = min(next, rest)
		default:
			e.probing, e.doubted, e.probed = true, false, time.Now()
			due = append(due, e)
		}
	}
	return due, next
}

// rest returns the time until an endpoint is to be probed. The caller holds mu.
func (s *endpoints) rest(e *endpoint) time.Duration {
	e.watched.Store(false) // before the look, so that a request which begins after it signals
	switch {
	case !e.failed.IsZero() && len(s.Available()) == 0:
		return min(s.wait, retryInterval) - time.Since(e.failed) // a client waits for this
	case !e.failed.IsZero():
		return s.wait - time.Since(e.failed)
	case s.every <= 0 || !e.inUse():
		return time.Hour
	}
	e.watched.Store(true)
	if e.doubted {
		return 0
	}
	return s.every - time.Since(e.probed)
}

// Probed takes the result of a probe. A silent endpoint that answers late is probed
// again at once, and is available when it answers that in time.
func (s *endpoints) Probed(e *endpoint, err error, late bool) {
	s.mu.Lock()
	e.probing = false
	back, failed := false, false
	e.doubted = e.doubted && err != nil
	switch {
	case err == nil && late:
		e.failed = time.Time{}.Add(1) // long ago, and not zero
	case err == nil:
		back = !e.failed.IsZero()
		e.failed = time.Time{}
		if e.silent {
			e.silent = false
			e.up.Store(newUpPeriod())
		}
	default:
		failed = e.failed.IsZero()
		if !failed {
			e.failed = time.Now()
		}
	}
	s.update()
	s.signal()
	s.mu.Unlock()
	switch {
	case back:
		s.log.Info("marked endpoint " + e.text + " available, to retest connectivity")
	case failed:
		s.log.Info(fmt.Sprintf("failed to probe endpoint %s: %v", e.text, err))
		s.Failed(e, err)
	}
}

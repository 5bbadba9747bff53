package etcdserver

import (
	"context"
	"sync/atomic"
	"time"

	"etcd2/store"
)

// expiryPause is the shortest time between two expiry entries, and so the
// accuracy of a TTL. Keys that fall due together go in one entry.
const expiryPause = 50 * time.Millisecond

// expiry knows the earliest deadline in the tree. The applier keeps it up to
// date; the expirer sleeps until then, so an idle cluster writes nothing.
type expiry struct {
	next    atomic.Int64 // cluster time in Unix nanoseconds; 0 for none
	changed bell         // the expirer looks at the clock and the earliest deadline again
}

func newExpiry() *expiry { return &expiry{changed: newBell()} }

// look takes the earliest deadline after a group of entries was applied.
func (x *expiry) look(next int64, ok bool) {
	if !ok {
		next = 0
	}
	if x.next.Swap(next) != next {
		x.changed.ring()
	}
}

// expire proposes the removal of what is due, as long as this member leads, until ctx
// ends.
func (s *Server) expire(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // of an expiry entry
	for {
		timer.Reset(s.untilExpiry(last))
		select {
		case <-ctx.Done():
			return nil
		case <-s.expiry.changed:
		case <-timer.C:
			for ctx.Err() == nil && s.untilExpiry(time.Time{}) <= 0 {
				s.proposeExpiry(ctx)
				last = time.Now()
			}
		}
	}
}

// untilExpiry is how long the expirer may sleep. A new deadline wakes it, and so does
// the first entry of this member's leadership once it is applied.
func (s *Server) untilExpiry(last time.Time) time.Duration {
	next := s.expiry.next.Load()
	wait, ok := s.clock.shown.Load().UntilExpiry(next, s.progress.term.Load(), s.clock.mono())
	if next == 0 || !ok {
		return time.Hour
	}
	return max(time.Duration(wait), expiryPause-time.Since(last))
}

// proposeExpiry removes what is due. No answer in time is no harm: what is
// still due is proposed again.
func (s *Server) proposeExpiry(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, s.cfg.Election)
	defer cancel()
	if _, err := s.doInternal(limit, store.Op{Action: store.Expire, Path: "/"}); err != nil && ctx.Err() == nil {
		s.log.Warn("expiry is late", "error", err)
	}
}

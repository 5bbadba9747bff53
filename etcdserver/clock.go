package etcdserver

import (
	"sync"
	"sync/atomic"
	"time"
)

// clock is the cluster's time as this member tells it. It starts at the wall
// clock and from then on follows the monotonic one, so setting the wall clock of a
// running member changes nothing.
//
// The leader tells the time: it stamps what it proposes, and the others set their
// clocks by the stamps of what they apply. A member that becomes the leader takes
// the time without a leader off its clock, so that no TTL is shortened by an
// election. No clock is ever behind what the log has shown.
type clock struct {
	start time.Time    // holds the monotonic reading
	base  atomic.Int64 // cluster time at start, Unix nanoseconds

	mu    sync.Mutex // guards leads, and held by whoever sets base
	leads bool
}

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.base.Store(c.start.UnixNano())
	return c
}

// now is the cluster time in Unix nanoseconds.
func (c *clock) now() int64 { return c.base.Load() + int64(time.Since(c.start)) }

// raise sets the clock forward if it shows less than seen, in Unix nanoseconds.
func (c *clock) raise(seen int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base.Add(max(seen-c.now(), 0))
}

// follow sets the clock by a stamp that was just applied: forward or back, unless
// this member leads and the time is its own.
func (c *clock) follow(stamp int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := stamp - c.now()
	if c.leads {
		ahead = max(ahead, 0)
	}
	c.base.Add(ahead)
}

// lead makes the clock that of the leader, after outage without one. The clock
// does not go back behind seen.
func (c *clock) lead(outage time.Duration, seen int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads = true
	now := c.now()
	c.base.Add(max(now-int64(outage), seen) - now)
}

// resign makes the clock that of a member that does not lead.
func (c *clock) resign() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads = false
}

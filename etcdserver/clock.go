package etcdserver

import (
	"sync/atomic"
	"time"
)

// clock is the cluster's time as this member tells it: it starts at the wall
// clock and from then on follows the monotonic one, so setting the wall clock
// while the member runs changes no TTL. It is never behind what the log has
// shown, so a TTL does not grow when the wall clock was set back between two runs.
type clock struct {
	start time.Time    // holds the monotonic reading
	base  atomic.Int64 // cluster time at start, Unix nanoseconds
}

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.base.Store(c.start.UnixNano())
	return c
}

// raise sets the clock forward if it shows less than seen, in Unix nanoseconds,
// and tells whether it did. Only the applier calls it once the member runs.
func (c *clock) raise(seen int64) bool {
	behind := seen - c.now()
	if behind <= 0 {
		return false
	}
	c.base.Add(behind)
	return true
}

// now is the cluster time in Unix nanoseconds.
func (c *clock) now() int64 { return c.base.Load() + int64(time.Since(c.start)) }

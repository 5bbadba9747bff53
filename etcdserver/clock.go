package etcdserver

import "time"

// clock is the cluster's time as this member tells it: it starts at the wall
// clock, or at the highest time found in the log if that is later, and from
// then on follows the monotonic clock. So setting the wall clock while the
// member runs changes no TTL.
type clock struct {
	start time.Time // holds the monotonic reading
	base  int64     // cluster time at start, Unix nanoseconds
}

// newClock returns a clock that never shows less than seen, in Unix nanoseconds.
func newClock(seen int64) clock {
	now := time.Now()
	return clock{start: now, base: max(now.UnixNano(), seen)}
}

// now is the cluster time in Unix nanoseconds.
func (c clock) now() int64 { return c.base + int64(time.Since(c.start)) }

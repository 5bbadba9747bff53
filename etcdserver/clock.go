package etcdserver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"etcd2/etcdserver/replica"
)

// clock gives replica.Clock the time of this machine, and lets every goroutine read
// it without a lock.
type clock struct {
	started time.Time    // holds the monotonic reading from which mono counts
	wall    func() int64 // wall time of this machine, Unix nanoseconds

	mu    sync.Mutex // guards time, and held by the goroutine that stores shown
	time  replica.Clock
	shown atomic.Pointer[replica.Clock] // a copy of time, never altered
}

func newClock() *clock {
	c := &clock{started: time.Now(), wall: func() int64 { return time.Now().UnixNano() }}
	c.shown.Store(&replica.Clock{})
	return c
}

// mono is the monotonic time of this machine in nanoseconds.
func (c *clock) mono() int64 { return int64(time.Since(c.started)) }

// change alters the clock and shows the result.
func (c *clock) change(f func(t *replica.Clock, mono int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.time, c.mono())
	shown := c.time
	c.shown.Store(&shown)
}

// now is the cluster time in Unix nanoseconds.
func (c *clock) now() int64 { return c.shown.Load().Now(c.mono()) }

// offset is what to add to cluster time to get wall time.
func (c *clock) offset() int64 {
	wall, mono := c.wall(), c.mono()
	if c.shown.Load().Moved(wall, mono) {
		c.payload() // takes the new offset
	}
	return c.shown.Load().Offset(wall, mono)
}

// payload returns the payload of this member's heartbeats; nil unless it leads.
func (c *clock) payload() (payload []byte) {
	wall := c.wall()
	c.change(func(t *replica.Clock, mono int64) { payload = t.Payload(wall, mono) })
	return payload
}

// heartbeat takes the payload of a heartbeat of the leader of a term.
func (c *clock) heartbeat(term uint64, payload []byte, lastTerm uint64) {
	c.change(func(t *replica.Clock, mono int64) { t.Heartbeat(term, payload, lastTerm, mono) })
}

// timeNotePeriod is how often cluster time is noted while any key has a TTL, and so
// the most that a kill of an idle cluster adds to a TTL.
const timeNotePeriod = 10 * time.Second

// noteTimes notes cluster time beside the log until ctx ends, and then once more.
// Entries carry the time too, so the notes matter in a cluster that writes little.
func (s *Server) noteTimes(ctx context.Context) error {
	periodically(ctx, timeNotePeriod, s.noteTime)
	return nil
}

// noteTime notes cluster time, unless no key has a TTL. When it fails, the next start
// extends TTLs by more.
func (s *Server) noteTime() {
	if _, ok := s.store.NextExpiry(); !ok {
		return
	}
	r, ok := s.clock.shown.Load().Note(s.node.LastTerm(), s.clock.mono())
	if !ok {
		return
	}
	if err := s.local.SetTime(r.Term, r.Time); err != nil {
		s.log.Warn("cluster time not noted, a restart would extend TTLs by more", "error", err)
	}
}

// restoreTime gives the clock the note of the last run.
func (s *Server) restoreTime() {
	note := s.local.State().Time
	s.clock.change(func(t *replica.Clock, mono int64) {
		t.Restore(replica.Reading{Term: note.Term, Time: note.Time})
		t.Applied(replica.Reading{Time: s.store.Clock()}, mono)
	})
}

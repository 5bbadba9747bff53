package etcdserver

import (
	"context"
	"time"

	"etcd2/etcdserver/replica"
)

// timeNotePeriod is how often cluster time is noted while any key has a TTL, and so
// the most that a kill of an idle cluster adds to a TTL.
const timeNotePeriod = 10 * time.Second

// noteTimes notes cluster time beside the log until ctx ends, and then once more.
// Entries carry the time too, so the notes count in a cluster that writes little.
func (s *Server) noteTimes(ctx context.Context) error {
	tick := time.NewTicker(timeNotePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.noteTime()
			return nil
		case <-tick.C:
			s.noteTime()
		}
	}
}

// noteTime writes nothing while no key has a TTL. When it fails, TTLs are extended by
// more after the next start.
func (s *Server) noteTime() {
	if _, ok := s.store.NextExpiry(); !ok {
		return
	}
	r, ok := s.clock.shown.Load().Note(s.node.LastTerm(), s.clock.mono())
	if !ok {
		return
	}
	if err := s.standing.local.SetTime(r.Term, r.Time); err != nil {
		s.log.Warn("cluster time not noted, a restart would extend TTLs by more", "error", err)
	}
}

// restoreTime takes the note of the last run.
func (s *Server) restoreTime() {
	note := s.standing.local.State().Time
	s.clock.change(func(t *replica.Clock, mono int64) {
		t.Restore(replica.Reading{Term: note.Term, Time: note.Time})
		t.Applied(s.store.Clock(), mono)
	})
}

package etcdserver

import (
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
)

// leadership is the time of one leader.
type leadership struct {
	id    membership.ID
	term  uint64
	since time.Time // when this member came to know it
}

// takeRole is told by the loop who leads, before anything is proposed under it.
func (s *Server) takeRole(r raftnode.Role) {
	s.setClock(r)
	s.notices.leader(r.Leader != 0)
	if r.Leader != 0 {
		s.hadLeader.Store(true)
		if was, id := s.lastLeader.Load(), membership.ID(r.Leader); was == nil || was.id != id || was.term != r.Term {
			s.lastLeader.Store(&leadership{id, r.Term, time.Now()})
		}
	}
	if was := s.leads.Swap(r.Leads); was != r.Leads {
		s.expiry.changed.ring()
		s.newRole.ring()
	}
}

// setClock makes the clock that of a leader or of a follower. A leader continues from
// what its log shows: what is applied, and the stamps of the entries behind that.
func (s *Server) setClock(r raftnode.Role) {
	if !r.Leads {
		s.clock.change(func(t *replica.Clock, mono int64) { t.Follow(r.Term, r.Leader != 0, mono) })
		return
	}
	last := replica.LastShown(r.LastTerm, s.progress.index.Load(), s.store.Clock(), r.Earlier)
	wall := s.clock.wall()
	s.clock.change(func(t *replica.Clock, mono int64) { t.Lead(r.Term, last, wall, mono) })
}

// leading tells whether this member leads as far as it knows.
func (s *Server) leading() bool { return s.leads.Load() }

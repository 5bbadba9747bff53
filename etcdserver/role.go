package etcdserver

import (
	"time"

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
	if r.Leads {
		s.clock.lead(r.Outage, s.store.Clock())
	} else {
		s.clock.resign()
	}
	s.notices.leader(r.Leader != 0)
	if r.Leader != 0 {
		s.hadLeader.Store(true)
		if was, id := s.lastLeader.Load(), membership.ID(r.Leader); was == nil || was.id != id || was.term != r.Term {
			s.lastLeader.Store(&leadership{id, r.Term, time.Now()})
		}
	}
	if was := s.leads.Swap(r.Leads); was != r.Leads {
		s.expiry.newRole(r.Leads)
		s.newRole.ring()
	}
}

// leading tells whether this member leads as far as it knows.
func (s *Server) leading() bool { return s.leads.Load() }

package etcdserver

import "etcd2/raftnode"

// takeRole is told by the loop who leads, before anything is proposed under it.
func (s *Server) takeRole(r raftnode.Role) {
	if r.Leads {
		s.clock.lead(r.Outage, s.store.Clock())
	} else {
		s.clock.serve()
	}
	if r.Leader != 0 {
		s.hadLeader.Store(true)
	}
	if was := s.leads.Swap(r.Leads); was != r.Leads {
		s.expiry.takeOver(r.Leads)
		wake(s.newRole)
	}
}

// leading tells whether this member leads as far as it knows.
func (s *Server) leading() bool { return s.leads.Load() }

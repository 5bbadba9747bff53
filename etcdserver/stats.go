package etcdserver

import (
	"slices"
	"time"

	"etcd2/membership"
	"etcd2/peer"
	"etcd2/store"
)

// Status is the state of the member for metrics and debugging.
type Status struct {
	ID            membership.ID
	Leader        membership.ID // 0 while none is known
	Role          string        // "StateLeader", "StateFollower", ...
	Term          uint64
	Commit        uint64 // raft index
	Applied       uint64 // raft index
	LeaderChanges uint64 // since the start of the process
	Voters        int    // members with a vote
	Learners      int    // members that wait for their vote
	Learner       bool   // this member is one of those

	PendingProposals int // requests that wait for their outcome
	InboxLength      int // inputs queued before the raft loop
	ApplyQueueLength int // committed entries queued before the applier

	HistoryFirst  uint64 // etcd index of the oldest event kept; 0 when there is none
	HistoryLast   uint64 // etcd index of the newest event
	DatabaseBytes int64  // size of the checkpoint file
	LogBytes      int64  // size of the write-ahead log
}

// Status does not wait for the log or the disk.
func (s *Server) Status() Status {
	st := s.node.Status()
	first, last := s.store.HistoryWindow()
	learners := st.Conf.GetLearners()
	return Status{
		ID:               s.id,
		Leader:           membership.ID(st.Leader),
		Role:             st.Role,
		Term:             st.Term,
		Commit:           st.Commit,
		Applied:          s.progress.index.Load(),
		LeaderChanges:    s.leaderChanges.Load(),
		Voters:           len(st.Conf.GetVoters()),
		Learners:         len(learners),
		Learner:          slices.Contains(learners, uint64(s.id)),
		PendingProposals: s.waiters.len(),
		InboxLength:      st.Proposals,
		ApplyQueueLength: st.Applies,
		HistoryFirst:     first,
		HistoryLast:      last,
		DatabaseBytes:    s.snap.Size(),
		LogBytes:         s.wal.Bytes(),
	}
}

// StoreStats are the counters of the store.
func (s *Server) StoreStats() store.Stats { return s.store.Stats() }

// Age bounds how far the tree of this member may lie behind the cluster: it holds
// all that was committed that long ago. False until the member has heard from a
// leader and caught up with it.
func (s *Server) Age() (age time.Duration, known bool) { return s.node.Age() }

// Links describes the connections to the other members.
func (s *Server) Links() map[membership.ID]peer.Link { return s.peers.Links() }

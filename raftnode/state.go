package raftnode

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// State is what a member finds on its disk when it starts.
type State struct {
	Hard    *raftpb.HardState // term, vote and commit as last saved; nil for a new member
	Conf    *raftpb.ConfState // the members as of Applied; nil when the log is to tell
	Entries []*raftpb.Entry   // the log

	PrevIndex, PrevTerm  uint64 // predecessor of Entries[0]; 0 for a log from the beginning
	Applied, AppliedTerm uint64 // position of the checkpoint; may lie inside Entries, or beyond them
}

// storage checks a state and makes of it what raft reads. restart tells that
// the log does not reach the checkpoint, or contradicts it, and must begin anew.
func (st State) storage() (mem *storage, restart bool, err error) {
	last := st.PrevIndex + uint64(len(st.Entries))
	hard := &raftpb.HardState{
		Term:   new(st.Hard.GetTerm()),
		Vote:   new(st.Hard.GetVote()),
		Commit: new(max(st.Hard.GetCommit(), st.Applied)), // what was applied was committed
	}
	mem = &storage{
		hard:      hard,
		prevIndex: st.PrevIndex,
		prevTerm:  st.PrevTerm,
		entries:   st.Entries,
		snapshot: &raftpb.SnapshotMetadata{
			Index:     new(st.Applied),
			Term:      new(st.AppliedTerm),
			ConfState: raftpb.EnsureConfState(proto.CloneOf(st.Conf)),
		},
	}
	switch {
	case st.Applied < st.PrevIndex:
		return nil, false, fmt.Errorf("%w: checkpoint at %d, log begins behind %d", ErrState, st.Applied, st.PrevIndex)
	case st.Applied > 0 && st.AppliedTerm == 0:
		return nil, false, fmt.Errorf("%w: checkpoint at %d has no term", ErrState, st.Applied)
	case hard.GetTerm() < st.AppliedTerm:
		// The snapshot proves the term; this member has not voted in it.
		hard.Term, hard.Vote = new(st.AppliedTerm), new(uint64(0))
	}
	term, err := mem.Term(st.Applied)
	if st.Applied > 0 && (err != nil || term != st.AppliedTerm) {
		mem.restart(mem.snapshot)
		hard.Commit = new(st.Applied)
		return mem, true, nil
	}
	if hard.GetCommit() > last {
		return nil, false, fmt.Errorf("%w: committed up to %d, log ends at %d", ErrState, hard.GetCommit(), last)
	}
	return mem, false, nil
}

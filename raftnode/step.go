package raftnode

import (
	"encoding/binary"
	"errors"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Errors about messages that may be late and true.
var (
	errNotLeader = errors.New("raftnode: the sender is not the leader that this member knows")
	errLeadsNot  = errors.New("raftnode: this member does not lead any more")
	errNotMember = errors.New("raftnode: the sender is not a member of the group yet, or any more")
)

// Step takes a message of another member. Errors concern that message alone, but
// for ErrLost and ErrDiverged, after which nothing more may be asked of the Core.
// One that is ErrMessage means that a correct member does not send this message.
// After a MsgSnap comes Work, before ApplyConfChange.
func (c *Core) Step(m *raftpb.Message) error {
	if err := checkMessage(m, c.cfg.ID); err != nil {
		return err
	}
	st := c.rn.BasicStatus()
	if err := c.admit(m, &st); err != nil {
		return err
	}
	kind := m.GetType()
	switch {
	case kind == raftpb.MsgReadIndex && c.sole && !c.canAnswer():
		// As the only voter raft would answer with a commit index that a restart
		// may have set back behind acknowledged writes. The reader asks again.
		return nil
	case m.GetTerm() < st.GetTerm():
		// Raft answers an old leader, so that it steps down. A question for a read
		// index has no term.
	case kind == raftpb.MsgAppResp:
		return c.rn.Step(c.compared(m))
	case kind == raftpb.MsgHeartbeat:
		return c.stepHeartbeat(m)
	case kind == raftpb.MsgApp:
		return c.stepAppend(m, st.GetCommit())
	case kind == raftpb.MsgSnap:
		return c.stepSnapshot(m, st.GetCommit())
	}
	return c.rn.Step(m)
}

// admit returns an ErrMessage when no correct member sends m to a member in this
// state.
func (c *Core) admit(m *raftpb.Message, st *raft.BasicStatus) error {
	leads := st.RaftState == raft.StateLeader
	switch {
	case m.GetTerm() > c.guard.ceiling:
		return c.beyondCeiling(m)
	case c.sole && c.applied >= c.commit && !c.lists(m.GetFrom()):
		return refused(m, "nobody else is a member of this group")
	}
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgSnap, raftpb.MsgHeartbeat:
		if leads && m.GetTerm() == st.GetTerm() {
			return refused(m, "this member is the leader of term %d", m.GetTerm())
		}
	case raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
		if m.GetTerm() > st.GetTerm() || m.GetTerm() == st.GetTerm() && m.GetFrom() != st.Lead {
			return errNotLeader
		}
	case raftpb.MsgReadIndex:
		switch {
		case !leads:
			// Raft would pass the question on in the name of its sender, and nobody takes
			// a message that its sender did not bring. The reader asks again.
			return errLeadsNot
		case !c.lists(m.GetFrom()):
			return errNotMember
		}
	case raftpb.MsgAppResp:
		if leads && m.GetTerm() == st.GetTerm() && !m.GetReject() && m.GetIndex() > c.sent(st) {
			return refused(m, "it acknowledges entry %d, the log ends at %d", m.GetIndex(), c.sent(st))
		}
	case raftpb.MsgHeartbeatResp:
		if mark := m.GetContext(); leads && m.GetTerm() == st.GetTerm() && len(mark) > 0 &&
			(c.guard.readTerm != st.GetTerm() || binary.LittleEndian.Uint64(mark) > c.guard.reads) {
			return refused(m, "it confirms reads that were not asked")
		}
	}
	return nil
}

// beyondCeiling refuses a message for its term. One that is forged must not use up
// the terms. When such messages go on, from whichever member, the group has got
// there: this member follows, by as much as it may rise at a time.
func (c *Core) beyondCeiling(m *raftpb.Message) error {
	g := &c.guard
	err := refused(m, "it is of term %d, this member goes no higher than %d now", m.GetTerm(), g.ceiling)
	if m.GetTerm() > maxTerm || !g.beyond.add(0, 0, 0, g.now, c.cfg.Election) {
		return err
	}
	g.beyond.clear()
	// Of this message raft takes the term and nothing else.
	rise := &raftpb.Message{Type: raftpb.MsgForgetLeader.Enum(), From: m.From, To: m.To, Term: new(min(g.ceiling, m.GetTerm()))}
	if stepErr := c.rn.Step(rise); stepErr != nil {
		c.cfg.Logger.Debug("raft did not take a higher term", "error", stepErr)
	}
	return err
}

// sent is the last entry that this member, as the leader, can have sent.
func (c *Core) sent(st *raft.BasicStatus) uint64 {
	if c.role != raft.StateLeader || c.term != st.GetTerm() {
		return 0 // just elected
	}
	return c.guard.end
}

func (c *Core) lists(id uint64) bool {
	return slices.Contains(c.conf.GetVoters(), id) || slices.Contains(c.conf.GetLearners(), id) ||
		slices.Contains(c.conf.GetVotersOutgoing(), id)
}

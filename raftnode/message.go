package raftnode

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// Raft trusts its peers: a number that overflows, a gap between entries or a
// configuration that does not fit makes it panic or, worse, is saved and makes it
// panic at every start. These are the bounds of what a message may say.
const (
	// maxTerm and maxIndex leave room for whatever is added to a term or an index.
	// A log that grows by a million entries a second reaches maxIndex in 146,000
	// years.
	maxTerm  = 1 << 62
	maxIndex = 1 << 62
	// maxTermRise bounds how far messages raise the term within one election
	// timeout. A member that was away for two years, while the others held an
	// election every second, still catches up at once. Forged messages would have to
	// come for 2^36 election timeouts to reach maxTerm.
	maxTermRise = 1 << 26
	// maxConfMembers bounds a snapshot's configuration, which raft builds in
	// quadratic time.
	maxConfMembers = 1000
	// maxContext bounds what raft keeps of a message and sends back.
	maxContext = 64
)

// checkMessage returns an ErrMessage when no correct member sends m to self,
// whatever the state of the two. Raft sends the types below; its other types do not
// leave the member, and proposals travel in frames of their own.
func checkMessage(m *raftpb.Message, self uint64) error {
	switch from := m.GetFrom(); {
	case from == raft.None, from == self, raft.IsLocalMsgTarget(from):
		return refused(m, "sender %x", from)
	case m.GetTo() != self:
		return refused(m, "it is for member %x", m.GetTo())
	case len(m.GetResponses()) > 0:
		return refused(m, "it carries responses")
	case len(m.GetContext()) > maxContext:
		return refused(m, "its context has %d bytes", len(m.GetContext()))
	case m.GetCommit() > maxIndex:
		return refused(m, "commit index %d", m.GetCommit())
	case m.GetType() == raftpb.MsgReadIndex && m.Term != nil && m.GetTerm() != 0:
		return refused(m, "it is of term %d", m.GetTerm())
	case m.GetType() != raftpb.MsgReadIndex && m.GetTerm() == 0: // raft takes it for a message of its own
		return refused(m, "it has no term")
	}
	switch m.GetType() {
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
		return checkHeartbeat(m) // the other fields are marks, see hearing
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		return checkRead(m)
	}
	switch {
	case m.GetIndex() > maxIndex, m.GetRejectHint() > maxIndex:
		return refused(m, "index %d, hint %d", m.GetIndex(), m.GetRejectHint())
	case m.GetLogTerm() > m.GetTerm():
		return refused(m, "log term %d in term %d", m.GetLogTerm(), m.GetTerm())
	}
	switch m.GetType() {
	case raftpb.MsgApp:
		return checkAppend(m)
	case raftpb.MsgSnap:
		return checkSnapshot(m, self)
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if m.GetLogTerm() == m.GetTerm() {
			return refused(m, "the candidate's log is of term %d, for which it asks", m.GetTerm())
		}
	case raftpb.MsgAppResp:
		if m.GetReject() && m.GetRejectHint() > m.GetIndex() {
			return refused(m, "entry %d does not fit, hint %d", m.GetIndex(), m.GetRejectHint())
		}
	case raftpb.MsgVoteResp, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default:
		return refused(m, "it cannot come from a peer")
	}
	if len(m.GetEntries()) > 0 || m.GetSnapshot() != nil {
		return refused(m, "it carries entries or a snapshot")
	}
	return nil
}

func refused(m *raftpb.Message, format string, args ...any) error {
	return fmt.Errorf("%w: %v from %x: %s", ErrMessage, m.GetType(), m.GetFrom(), fmt.Sprintf(format, args...))
}

func checkHeartbeat(m *raftpb.Message) error {
	if n := len(m.GetContext()); n != 0 && n != 8 {
		return refused(m, "its context has %d bytes", n)
	}
	return nil
}

func checkRead(m *raftpb.Message) error {
	if n := len(m.GetEntries()); n != 1 {
		return refused(m, "it has %d marks", n)
	}
	if n := len(m.GetEntries()[0].GetData()); n > maxContext {
		return refused(m, "its mark has %d bytes", n)
	}
	if m.GetIndex() > maxIndex {
		return refused(m, "index %d", m.GetIndex())
	}
	return nil
}

// checkAppend checks that entries follow the position before them and each other.
func checkAppend(m *raftpb.Message) error {
	if (m.GetIndex() == 0) != (m.GetLogTerm() == 0) {
		return refused(m, "entry %d is of term %d", m.GetIndex(), m.GetLogTerm())
	}
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		index++
		if e.GetIndex() != index {
			return refused(m, "entry %d stands at %d", e.GetIndex(), index)
		}
		if e.GetTerm() < max(term, 1) || e.GetTerm() > m.GetTerm() {
			return refused(m, "entry %d is of term %d, behind term %d in term %d", index, e.GetTerm(), term, m.GetTerm())
		}
		term = e.GetTerm()
		if err := checkEntry(e); err != nil {
			return refused(m, "entry %d: %v", index, err)
		}
	}
	return nil
}

func checkEntry(e *raftpb.Entry) error {
	switch e.GetType() {
	case raftpb.EntryNormal:
		return nil
	case raftpb.EntryConfChange:
		return proto.Unmarshal(e.GetData(), &raftpb.ConfChange{})
	case raftpb.EntryConfChangeV2:
		return proto.Unmarshal(e.GetData(), &raftpb.ConfChangeV2{})
	}
	return fmt.Errorf("type %v is unknown", e.GetType())
}

func checkSnapshot(m *raftpb.Message, self uint64) error {
	meta := m.GetSnapshot().GetMetadata()
	switch index, term := meta.GetIndex(), meta.GetTerm(); {
	case index == 0, index > maxIndex, term == 0, term > m.GetTerm():
		return refused(m, "it is of entry %d, term %d, in term %d", index, term, m.GetTerm())
	case len(m.GetEntries()) > 0:
		return refused(m, "it carries entries")
	}
	if err := checkConf(meta.GetConfState(), self); err != nil {
		return refused(m, "%v", err)
	}
	return nil
}

// checkConf checks that raft can build a configuration, and that self is part of
// it. Raft ignores a snapshot without the receiver, but acknowledges it.
func checkConf(conf *raftpb.ConfState, self uint64) error {
	voters, outgoing, learners := conf.GetVoters(), conf.GetVotersOutgoing(), conf.GetLearners()
	if n := len(voters) + len(outgoing) + len(learners) + len(conf.GetLearnersNext()); n > maxConfMembers {
		return fmt.Errorf("its configuration has %d members", n)
	}
	if !slices.Contains(voters, self) && !slices.Contains(outgoing, self) && !slices.Contains(learners, self) {
		return fmt.Errorf("its configuration is without this member: %v", conf)
	}
	ch := confchange.Changer{Tracker: tracker.MakeProgressTracker(1, 0)}
	cfg, members, err := confchange.Restore(ch, conf)
	if err == nil {
		ch.Tracker.Config, ch.Tracker.Progress = cfg, members
		err = ch.Tracker.ConfState().Equivalent(conf)
	}
	if err != nil {
		return fmt.Errorf("its configuration is invalid: %w", err)
	}
	return nil
}

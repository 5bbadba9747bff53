package raftnode

import (
	"errors"
	"math"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// entriesAt are entries from an index on, of these terms.
func entriesAt(index uint64, terms ...uint64) []*raftpb.Entry {
	entries := make([]*raftpb.Entry, len(terms))
	for i, term := range terms {
		entries[i] = &raftpb.Entry{Index: new(index + uint64(i)), Term: new(term)}
	}
	return entries
}

func snapshotOf(index, term uint64, conf *raftpb.ConfState) *raftpb.Snapshot {
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: conf}}
}

// from2 is a message of member 2 to member 1 in term 5.
func from2(kind raftpb.MessageType, change func(m *raftpb.Message)) *raftpb.Message {
	m := &raftpb.Message{Type: kind.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(5))}
	if change != nil {
		change(m)
	}
	return m
}

func TestCheckMessage(t *testing.T) {
	const app, snap, beat = raftpb.MsgApp, raftpb.MsgSnap, raftpb.MsgHeartbeat
	type msg = raftpb.Message
	entry := func(change func(e *raftpb.Entry)) func(m *msg) {
		return func(m *msg) {
			m.Entries = entriesAt(1, 5)
			change(m.Entries[0])
		}
	}
	withConf := func(conf *raftpb.ConfState) func(m *msg) {
		return func(m *msg) { m.Snapshot = snapshotOf(7, 5, conf) }
	}
	tests := []struct {
		name   string
		kind   raftpb.MessageType
		change func(m *msg)
		ok     bool
	}{
		{"empty append", app, nil, true},
		{"entries", app, func(m *msg) { m.Index, m.LogTerm, m.Entries = new(uint64(3)), new(uint64(2)), entriesAt(4, 2, 4, 5) }, true},
		{"heartbeat with marks", beat, func(m *msg) {
			m.LogTerm, m.RejectHint, m.Index = new(uint64(math.MaxUint64)), new(uint64(math.MaxUint64)), new(uint64(math.MaxUint64))
		}, true},
		{"heartbeat with data", beat, func(m *msg) { m.Snapshot = &raftpb.Snapshot{Data: []byte("x")} }, true},
		{"vote", raftpb.MsgVote, func(m *msg) { m.Index, m.LogTerm = new(uint64(9)), new(uint64(4)) }, true},
		{"transfer", raftpb.MsgVote, func(m *msg) { m.Context = []byte("CampaignTransfer") }, true},
		{"rejection", raftpb.MsgAppResp, func(m *msg) { m.Reject, m.Index, m.RejectHint = new(true), new(uint64(9)), new(uint64(4)) }, true},
		{"snapshot", snap, withConf(voters(1, 2)), true},
		{"snapshot for a learner", snap, withConf(&raftpb.ConfState{Voters: []uint64{2}, Learners: []uint64{1}}), true},
		{"snapshot amid a change", snap, withConf(&raftpb.ConfState{Voters: []uint64{2}, VotersOutgoing: []uint64{1, 2}}), true},
		{"read", raftpb.MsgReadIndex, func(m *msg) { m.Term, m.Entries = nil, []*raftpb.Entry{{Data: []byte("mark")}} }, true},

		{"no sender", app, func(m *msg) { m.From = nil }, false},
		{"from this member", app, func(m *msg) { m.From = new(uint64(1)) }, false},
		{"from the disk", app, func(m *msg) { m.From = new(raft.LocalAppendThread) }, false},
		{"from the applier", raftpb.MsgStorageApplyResp, func(m *msg) { m.From = new(raft.LocalApplyThread) }, false},
		{"no receiver", app, func(m *msg) { m.To = nil }, false},
		{"another receiver", app, func(m *msg) { m.To = new(uint64(3)) }, false},
		{"no type is a hup", raftpb.MsgHup, nil, false},
		{"proposal", raftpb.MsgProp, func(m *msg) { m.Term, m.Entries = nil, entriesAt(1, 1) }, false},
		{"transfer of leadership", raftpb.MsgTransferLeader, nil, false},
		{"forget the leader", raftpb.MsgForgetLeader, nil, false},
		{"unreachable", raftpb.MsgUnreachable, nil, false},
		{"unknown type", raftpb.MessageType(99), nil, false},
		{"responses", app, func(m *msg) { m.Responses = []*msg{{}} }, false},
		{"append without term", app, func(m *msg) { m.Term = nil }, false},
		{"heartbeat without term", beat, func(m *msg) { m.Term = new(uint64(0)) }, false},
		{"vote without term", raftpb.MsgPreVote, func(m *msg) { m.Term = nil }, false},
		{"read with term", raftpb.MsgReadIndex, func(m *msg) { m.Entries = entriesAt(1, 1) }, false},
		{"read without mark", raftpb.MsgReadIndex, func(m *msg) { m.Term = nil }, false},
		{"read with a long mark", raftpb.MsgReadIndex, func(m *msg) { m.Term, m.Entries = nil, []*raftpb.Entry{{Data: make([]byte, 65)}} }, false},
		{"answer with two marks", raftpb.MsgReadIndexResp, func(m *msg) { m.Entries = entriesAt(1, 1, 1) }, false},
		{"answer with an index beyond all", raftpb.MsgReadIndexResp, func(m *msg) { m.Entries, m.Index = entriesAt(1, 1), new(uint64(math.MaxUint64)) }, false},
		{"commit beyond all", beat, func(m *msg) { m.Commit = new(uint64(math.MaxUint64)) }, false},
		{"odd context", beat, func(m *msg) { m.Context = []byte{1} }, false},
		{"odd context of an answer", raftpb.MsgHeartbeatResp, func(m *msg) { m.Context = []byte{1, 2, 3} }, false},
		{"long context", raftpb.MsgVote, func(m *msg) { m.Context = make([]byte, 65) }, false},
		{"index beyond all", app, func(m *msg) { m.Index, m.LogTerm = new(uint64(maxIndex+1)), new(uint64(5)) }, false},
		{"hint beyond all", raftpb.MsgAppResp, func(m *msg) { m.RejectHint = new(uint64(math.MaxUint64)) }, false},
		{"hint beyond the rejected entry", raftpb.MsgAppResp, func(m *msg) { m.Reject, m.RejectHint = new(true), new(uint64(4)) }, false},
		{"log term beyond the term", app, func(m *msg) { m.Index, m.LogTerm = new(uint64(3)), new(uint64(6)) }, false},
		{"candidate with entries of the term", raftpb.MsgVote, func(m *msg) { m.Index, m.LogTerm = new(uint64(3)), new(uint64(5)) }, false},
		{"vote with entries", raftpb.MsgVote, func(m *msg) { m.Entries = entriesAt(1, 1) }, false},
		{"append with a snapshot is no snapshot", raftpb.MsgAppResp, func(m *msg) { m.Snapshot = snapshotOf(7, 5, voters(1, 2)) }, false},
		{"position without term", app, func(m *msg) { m.Index = new(uint64(3)) }, false},
		{"begin with a term", app, func(m *msg) { m.LogTerm = new(uint64(3)) }, false},
		{"gap before the entries", app, func(m *msg) { m.Entries = entriesAt(2, 5) }, false},
		{"gap between the entries", app, func(m *msg) { m.Entries = append(entriesAt(1, 5), entriesAt(3, 5)...) }, false},
		{"entry twice", app, func(m *msg) { m.Entries = append(entriesAt(1, 5), entriesAt(1, 5)...) }, false},
		{"falling terms", app, func(m *msg) { m.Entries = entriesAt(1, 5, 4) }, false},
		{"entry of an earlier term than the one before", app, func(m *msg) { m.Index, m.LogTerm, m.Entries = new(uint64(3)), new(uint64(4)), entriesAt(4, 3) }, false},
		{"entry of a later term", app, func(m *msg) { m.Entries = entriesAt(1, 6) }, false},
		{"entry without term", app, func(m *msg) { m.Entries = entriesAt(1, 0) }, false},
		{"no entry", app, func(m *msg) { m.Entries = []*raftpb.Entry{nil} }, false},
		{"entry of an unknown type", app, entry(func(e *raftpb.Entry) { e.Type = raftpb.EntryType(7).Enum() }), false},
		{"change that does not decode", app, entry(func(e *raftpb.Entry) { e.Type, e.Data = raftpb.EntryConfChange.Enum(), []byte{0xff} }), false},
		{"change of version 2 that does not decode", app, entry(func(e *raftpb.Entry) { e.Type, e.Data = raftpb.EntryConfChangeV2.Enum(), []byte{0xff} }), false},
		{"snapshot that is missing", snap, nil, false},
		{"snapshot that is empty", snap, func(m *msg) { m.Snapshot = &raftpb.Snapshot{} }, false},
		{"snapshot of entry 0", snap, func(m *msg) { m.Snapshot = snapshotOf(0, 5, voters(1, 2)) }, false},
		{"snapshot beyond all", snap, func(m *msg) { m.Snapshot = snapshotOf(maxIndex+1, 5, voters(1, 2)) }, false},
		{"snapshot of term 0", snap, func(m *msg) { m.Snapshot = snapshotOf(7, 0, voters(1, 2)) }, false},
		{"snapshot of a later term", snap, func(m *msg) { m.Snapshot = snapshotOf(7, 6, voters(1, 2)) }, false},
		{"snapshot with entries", snap, func(m *msg) { m.Snapshot, m.Entries = snapshotOf(7, 5, voters(1, 2)), entriesAt(8, 5) }, false},
		{"snapshot without members", snap, withConf(nil), false},
		{"snapshot without this member", snap, withConf(voters(2, 3)), false},
		{"snapshot without voters", snap, withConf(&raftpb.ConfState{Learners: []uint64{1}}), false},
		{"snapshot with a member twice", snap, withConf(voters(1, 2, 2)), false},
		{"snapshot with member 0", snap, withConf(voters(1, 0)), false},
		{"snapshot with a voter that is a learner", snap, withConf(&raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{2}}), false},
		{"snapshot with a learner to be that is no voter", snap, withConf(&raftpb.ConfState{Voters: []uint64{1}, LearnersNext: []uint64{3}}), false},
		{"snapshot with too many members", snap, withConf(voters(manyIDs(1001)...)), false},
	}
	for _, test := range tests {
		err := checkMessage(from2(test.kind, test.change), 1)
		if ok := err == nil; ok != test.ok || !ok && !errors.Is(err, ErrMessage) {
			t.Errorf("%s: checkMessage() = %v, want ok %v", test.name, err, test.ok)
		}
	}
	if err := checkMessage(nil, 1); !errors.Is(err, ErrMessage) {
		t.Errorf("checkMessage(nil) = %v, want ErrMessage", err)
	}
}

func manyIDs(n int) []uint64 {
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	return ids
}

// What a message may say depends on what the receiver is.
func TestStepRefusesWhatItsStateExcludes(t *testing.T) {
	type msg = raftpb.Message
	at := func(kind raftpb.MessageType, from, to, term uint64, change func(m *msg)) *msg {
		m := &msg{Type: kind.Enum(), From: new(from), To: new(to), Term: new(term)}
		if change != nil {
			change(m)
		}
		return m
	}
	index := func(i uint64) func(m *msg) { return func(m *msg) { m.Index = new(i) } }
	mark := func(b ...byte) func(m *msg) { return func(m *msg) { m.Context = b } }
	// In a group of three with the leader 1 in term 1, which has two entries.
	tests := []struct {
		name string
		m    *msg
		want error // nil for none
	}{
		{"acknowledgement", at(raftpb.MsgAppResp, 2, 1, 1, index(2)), nil},
		{"acknowledgement of what was never sent", at(raftpb.MsgAppResp, 2, 1, 1, index(3)), ErrMessage},
		{"acknowledgement of a stranger", at(raftpb.MsgAppResp, 9, 1, 1, index(2)), raft.ErrStepPeerNotFound},
		{"another leader in the term", at(raftpb.MsgHeartbeat, 2, 1, 1, nil), ErrMessage},
		{"entries of another leader in the term", at(raftpb.MsgApp, 2, 1, 1, nil), ErrMessage},
		{"confirmed reads that were not asked", at(raftpb.MsgHeartbeatResp, 2, 1, 1, mark(1, 0, 0, 0, 0, 0, 0, 0)), ErrMessage},
		{"read of a stranger", at(raftpb.MsgReadIndex, 9, 1, 0, func(m *msg) { m.Entries = entriesAt(1, 1) }), errNotMember},
		{"campaign that the leader did not ask for", at(raftpb.MsgTimeoutNow, 3, 2, 1, nil), errNotLeader},
		{"campaign in a later term", at(raftpb.MsgTimeoutNow, 1, 2, 2, nil), errNotLeader},
		{"answer to a read that is not the leader's", at(raftpb.MsgReadIndexResp, 3, 2, 1, func(m *msg) { m.Entries = entriesAt(1, 1) }), errNotLeader},
		{"late answer to a read", at(raftpb.MsgReadIndexResp, 1, 2, 1, func(m *msg) { m.Entries = entriesAt(1, 1) }), nil},
		{"late order to campaign", at(raftpb.MsgTimeoutNow, 1, 3, 1, nil), nil},
	}
	for _, test := range tests {
		g := newGroup(t, Config{}, 1, 2, 3)
		g.elect(1).propose(t, "x")
		g.settle()
		if err := g.member(test.m.GetTo()).Step(test.m); !errors.Is(err, test.want) {
			t.Errorf("%s: Step() = %v, want %v", test.name, err, test.want)
		}
	}
}

// Acknowledgements are impossible, too, before the leader of a term has sent
// anything.
func TestAcknowledgementOfALeaderThatHasSentNothing(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	g.elect(1)
	g.write(g.member(1), "x", 5)
	m := g.member(2)
	if err := m.Campaign(); err != nil {
		t.Fatal(err)
	}
	grant := func(kind raftpb.MessageType) {
		t.Helper()
		if err := m.Step(&raftpb.Message{Type: kind.Enum(), From: new(uint64(3)), To: new(uint64(2)), Term: new(uint64(2))}); err != nil {
			t.Fatal(err)
		}
	}
	settleAlone := func() {
		for more := true; more; {
			_, more = m.do(t)
		}
	}
	settleAlone()
	grant(raftpb.MsgPreVoteResp)
	settleAlone()
	grant(raftpb.MsgVoteResp) // it leads, and Work has not been asked
	if got := m.rn.BasicStatus().RaftState; got != raft.StateLeader {
		t.Fatalf("with two votes the member is %v", got)
	}
	err := m.Step(&raftpb.Message{Type: raftpb.MsgAppResp.Enum(), From: new(uint64(3)), To: new(uint64(2)), Term: new(uint64(2)), Index: new(uint64(6))})
	if !errors.Is(err, ErrMessage) {
		t.Errorf("Step() = %v, want ErrMessage", err)
	}
}

// A member that is all of its group takes nothing from anybody.
func TestOnlyVoterHasNoStrangers(t *testing.T) {
	g := newGroup(t, Config{}, 1)
	g.settle()
	m := g.members[0]
	for _, kind := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgVote} {
		if err := m.Step(from2(kind, nil)); !errors.Is(err, ErrMessage) {
			t.Errorf("Step(%v) = %v, want ErrMessage", kind, err)
		}
	}
	g.settle()
	if !m.IsLeader() || m.Term() != 1 {
		t.Errorf("IsLeader() = %v in term %d", m.IsLeader(), m.Term())
	}
}

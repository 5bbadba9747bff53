package raftnode

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// appendOf2 is an append of member 2 in a term, with entries behind a position.
func appendOf2(term, index, logTerm, commit uint64, terms ...uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term),
		Index: new(index), LogTerm: new(logTerm), Commit: new(commit), Entries: entriesAt(index+1, terms...),
	}
}

func beatOf2(term, commit uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term), Commit: new(commit)}
}

func snapshotOf2(term, index, logTerm uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term), Snapshot: snapshotOf(index, logTerm, voters(1, 2, 3)),
	}
}

// answers are what a member says to appends once it has worked; save says whether
// its disk works.
func (m *member) answers(t *testing.T, save bool) (appends []Append, said []string) {
	t.Helper()
	for {
		w, ok := m.Work()
		if !ok {
			return appends, said
		}
		for _, s := range w.Send {
			switch {
			case s.GetType() == raftpb.MsgAppResp && s.GetReject():
				said = append(said, fmt.Sprintf("%d of term %d?", s.GetRejectHint(), s.GetLogTerm()))
			case s.GetType() == raftpb.MsgAppResp:
				said = append(said, fmt.Sprint(s.GetIndex()))
			case s.GetType() == raftpb.MsgHeartbeatResp:
				said = append(said, "alive")
			}
		}
		switch {
		case w.Append != nil && save:
			m.save(t, *w.Append)
		case w.Append != nil:
			appends = append(appends, *w.Append)
		}
		if w.Apply != nil {
			m.apply(*w.Apply)
		}
	}
}

// A member with the entries 1 to 8, of which 6 are committed, compares what its
// leader sends.
func TestAppendBelowTheCommitIndex(t *testing.T) {
	tests := []struct {
		name string
		m    *raftpb.Message
		want string // the answer; empty for none
		err  error
	}{
		{name: "the same", m: appendOf2(2, 2, 1, 6, 1, 2, 2), want: "5"},
		{name: "the same from the begin", m: appendOf2(2, 0, 0, 6, 1, 1), want: "2"},
		{name: "a position", m: appendOf2(2, 3, 1, 6), want: "3"},
		{name: "up to the commit index", m: appendOf2(2, 2, 1, 6, 1, 2, 2, 2), want: "6"},
		{name: "beyond the commit index", m: appendOf2(2, 2, 1, 6, 1, 2, 2, 2, 2), want: "7"},
		{name: "beyond the end", m: appendOf2(3, 2, 1, 6, 1, 2, 2, 2, 2, 2, 3, 3), want: "10"},
		{name: "beyond the commit index with other entries there", m: appendOf2(3, 2, 1, 6, 1, 2, 2, 2, 3), want: "7"},
		{name: "a new leader's", m: appendOf2(3, 2, 1, 6, 1, 2, 2), want: "5"},
		{name: "an old leader's", m: appendOf2(1, 2, 1, 6, 1, 1), want: "0"},
		{name: "another term before", m: appendOf2(3, 3, 2, 6), err: errEvidence},
		{name: "another term at the commit index", m: appendOf2(3, 6, 3, 6), err: errEvidence},
		{name: "another entry", m: appendOf2(3, 2, 1, 6, 3), err: errEvidence},
		{name: "another entry at the commit index", m: appendOf2(3, 2, 1, 6, 1, 2, 2, 3), err: errEvidence},
		{name: "another entry within", m: appendOf2(3, 2, 1, 6, 2, 2, 2, 2, 2), err: errEvidence},
		{name: "a snapshot of the same", m: snapshotOf2(2, 5, 2), want: "5"},
		{name: "a snapshot of something else", m: snapshotOf2(3, 5, 3)},
	}
	for _, test := range tests {
		m := followerOf2(t, Config{}, 1, 1, 1, 2, 2, 2, 2, 2)
		if err := m.Step(test.m); !errors.Is(err, test.err) {
			t.Errorf("%s: Step() = %v, want %v", test.name, err, test.err)
		}
		_, said := m.answers(t, true)
		if got := fmt.Sprint(said); got != fmt.Sprintf("[%s]", test.want) {
			t.Errorf("%s: the answer is %s, want [%s]", test.name, got, test.want)
		}
		wantLead := test.m.GetTerm() == 2 || test.want != "" && test.m.GetTerm() > 1
		if led := m.Leader() == 2 && m.Term() == max(2, test.m.GetTerm()); led != wantLead && test.m.GetTerm() > 1 {
			t.Errorf("%s: leader %d in term %d", test.name, m.Leader(), m.Term())
		}
	}
}

// followerOf2 is member 1 of three. It has got entries of these terms from its
// leader 2, by which six are committed, and has forgotten that it confirmed them.
func followerOf2(t *testing.T, cfg Config, terms ...uint64) *member {
	t.Helper()
	cfg.ID = 1
	m := newMember(t, cfg, State{Conf: voters(1, 2, 3)}, &recordLog{})
	if err := m.Step(appendOf2(2, 0, 0, 6, terms...)); err != nil {
		t.Fatal(err)
	}
	m.answers(t, true)
	m.guard.acked = acknowledged{}
	return m
}

// What the leader was once told in its term stays true, whatever it asks about.
func TestAcknowledgedOnceIsKnown(t *testing.T) {
	m := followerOf2(t, Config{TailEntries: 1}, 1, 1, 1, 1, 1, 1, 1, 1)
	m.guard.acked = acknowledged{to: 2, term: 2, index: 8}
	if _, err := m.Compact(6, m.Conf()); err != nil {
		t.Fatal(err)
	}
	step := func(msg *raftpb.Message, want string) {
		t.Helper()
		if err := m.Step(msg); err != nil {
			t.Fatal(err)
		}
		if _, said := m.answers(t, true); fmt.Sprint(said) != want {
			t.Errorf("the answer is %v, want %s", said, want)
		}
	}
	step(appendOf2(2, 1, 1, 6, 1), "[6]")
	step(appendOf2(3, 1, 1, 6, 1), "[5 of term 1?]") // the log begins there
	step(appendOf2(3, 1, 1, 6, 1), "[]")             // once in a tick
	m.Tick()
	step(snapshotOf2(3, 2, 1), "[5 of term 1?]")
	m.guard.acked = acknowledged{to: 2, term: 3, index: 8}
	step(appendOf2(3, 6, 1, 6, 3), "[7]") // the log is shorter now
	step(appendOf2(3, 1, 1, 6, 1), "[6]")
}

// Entries that are committed and not durable yet are neither acknowledged nor evidence
// against the leader: the disk still has the earlier ones.
func TestCommittedButNotDurable(t *testing.T) {
	const none = "[]"
	m := followerOf2(t, Config{}, 1, 1, 1, 2, 2, 2, 2, 2)
	step := func(msg *raftpb.Message, save bool, want string) []Append {
		t.Helper()
		if err := m.Step(msg); err != nil {
			t.Fatalf("Step(%v) = %v", msg, err)
		}
		appends, said := m.answers(t, save)
		if fmt.Sprint(said) != want {
			t.Errorf("the answer to %v is %v, want %s", msg, said, want)
		}
		return appends
	}
	first := step(appendOf2(2, 8, 2, 6, 2), false, none)
	second := step(appendOf2(3, 6, 2, 7, 3), false, none) // 7 is replaced and committed
	if m.Commit() != 7 {
		t.Fatalf("Commit() = %d, want 7", m.Commit())
	}
	step(beatOf2(3, 8), true, "[alive]") // the durable log ends at 8, raft's at 7
	step(appendOf2(3, 6, 2, 7, 3), true, none)
	step(appendOf2(3, 5, 2, 7, 2, 3, 3), true, none)
	m.save(t, first[0])
	m.answers(t, true)
	m.guard.acked = acknowledged{}
	step(appendOf2(3, 6, 2, 7, 3), true, none)
	step(appendOf2(3, 4, 2, 7, 2, 2), true, "[6]")
	for _, a := range append(first[1:], second...) {
		m.save(t, a)
	}
	m.answers(t, true)
	m.guard.acked = acknowledged{}
	step(appendOf2(3, 6, 2, 7, 3), true, "[7]")
	step(appendOf2(3, 5, 2, 7, 2, 3, 3), true, "[8]")
}

// In one turn of the loop the log can become shorter before there is Work.
func TestHeartbeatBehindAShorterLog(t *testing.T) {
	for _, shorter := range []*raftpb.Message{appendOf2(3, 6, 2, 6, 3), snapshotOf2(3, 7, 3)} {
		m := followerOf2(t, Config{}, 1, 1, 1, 2, 2, 2, 2, 2)
		for _, msg := range []*raftpb.Message{shorter, beatOf2(3, 8)} {
			if err := m.Step(msg); err != nil {
				t.Fatal(err)
			}
		}
		m.answers(t, true)
		if m.Suspicious() || m.Commit() > 7 {
			t.Errorf("Suspicious() = %v, Commit() = %d", m.Suspicious(), m.Commit())
		}
	}
}

// A snapshot on its way to the disk leaves what is durable in doubt.
func TestAppendWhileASnapshotIsInstalled(t *testing.T) {
	m := followerOf2(t, Config{}, 1, 1, 1, 2, 2, 2, 2, 2)
	if err := m.Step(snapshotOf2(3, 12, 3)); err != nil {
		t.Fatal(err)
	}
	appends, _ := m.answers(t, false)
	for _, msg := range []*raftpb.Message{appendOf2(3, 7, 3, 12, 3), snapshotOf2(3, 8, 3), beatOf2(3, 8)} {
		if err := m.Step(msg); err != nil {
			t.Errorf("Step(%v) = %v", msg, err)
		}
		if _, said := m.answers(t, true); m.Suspicious() || len(said) > 0 && said[0] != "alive" {
			t.Errorf("the answer to %v is %v, Suspicious() = %v", msg, said, m.Suspicious())
		}
	}
	for _, a := range appends {
		m.save(t, a)
	}
	for range 2 { // when it is installed, and when it comes again
		if _, said := m.answers(t, true); fmt.Sprint(said) != "[12]" {
			t.Errorf("the answer is %v, want [12]", said)
		}
		if err := m.Step(snapshotOf2(3, 12, 3)); err != nil {
			t.Fatal(err)
		}
	}
}

// A leader that replaces entries of its own term is forged. The log stays whole all
// the same.
func TestEntriesReplacedWithinATerm(t *testing.T) {
	for _, work := range []bool{true, false} { // between the messages
		m := followerOf2(t, Config{}, 1, 1, 1, 1, 1, 1)
		var appends []Append
		for i, msg := range []*raftpb.Message{appendOf2(3, 6, 1, 6, 2, 3), appendOf2(3, 6, 1, 6, 3), appendOf2(3, 7, 3, 8, 3, 3, 3)} {
			if err := m.Step(msg); err != nil {
				t.Fatal(err)
			}
			if i == 0 || work {
				a, _ := m.answers(t, false)
				appends = append(appends, a...)
			}
		}
		for _, a := range appends {
			m.save(t, a)
			m.answers(t, true)
		}
		m.answers(t, true)
		for _, e := range m.applied[6:] {
			if e.GetTerm() != 3 {
				t.Errorf("work %v: applies entry %d of term %d, which is replaced", work, e.GetIndex(), e.GetTerm())
			}
		}
		if last, _ := m.mem.LastIndex(); last != 10 || len(m.log.entries) != 10 || m.log.entries[6].GetTerm() != 3 {
			t.Errorf("work %v: the log is %v, want 10 entries, from 7 on of term 3", work, m.log.entries)
		}
	}
}

// Confirmations of an earlier leadership's reads are none of a later one's.
func TestReadsOfAnEarlierLeadership(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	for range 3 {
		if _, ok := leader.ReadIndex(); !ok {
			t.Fatal("ReadIndex() = false")
		}
	}
	g.settle()
	leader.TransferLeader(2)
	g.settle()
	g.member(2).TransferLeader(1)
	g.settle()
	if !leader.IsLeader() || leader.Term() != 3 {
		t.Fatalf("IsLeader() = %v in term %d", leader.IsLeader(), leader.Term())
	}
	for _, from := range []uint64{2, 3} {
		if from == 3 { // it has sent a heartbeat by now, which asks for nothing
			g.tick(leader, 1)
		}
		err := leader.Step(&raftpb.Message{
			Type: raftpb.MsgHeartbeatResp.Enum(), From: new(from), To: new(uint64(1)), Term: new(uint64(3)), Context: []byte{3, 0, 0, 0, 0, 0, 0, 0},
		})
		if !errors.Is(err, ErrMessage) {
			t.Errorf("Step() = %v, want ErrMessage", err)
		}
	}
}

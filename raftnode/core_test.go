package raftnode

import (
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

func TestOnlyVoterLeadsWithoutATick(t *testing.T) {
	g := newGroup(t, Config{}, 1)
	g.settle()
	m := g.members[0]
	if !m.IsLeader() || !m.Alone() {
		t.Fatalf("IsLeader() = %v, Alone() = %v, want true, true", m.IsLeader(), m.Alone())
	}
	m.propose(t, "a", "b")
	g.settle()
	if got := m.data(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("applied %q, want a and b", got)
	}
}

func TestOnlyVoterLeadsOnceItHasAppliedHowItBecameOne(t *testing.T) {
	cc := &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(1))}
	kind, data, err := raftpb.MarshalConfChange(cc)
	if err != nil {
		t.Fatal(err)
	}
	entry := &raftpb.Entry{Type: kind.Enum(), Term: new(uint64(1)), Index: new(uint64(1)), Data: data}
	log := &recordLog{entries: []*raftpb.Entry{entry}, hard: &raftpb.HardState{Term: new(uint64(1)), Commit: new(uint64(1))}}
	m := newMember(t, Config{ID: 1}, log.state(nil, 0, 0), log)
	g := &group{t: t, members: []*member{m}}

	w, _ := m.Work()
	if w.Apply == nil || len(w.Apply.Entries) != 1 {
		t.Fatalf("Work().Apply = %v, want the configuration change", w.Apply)
	}
	if conf := m.ApplyConfChange(cc); !slices.Equal(conf.GetVoters(), []uint64{1}) {
		t.Errorf("ApplyConfChange voters = %v, want [1]", conf.GetVoters())
	}
	if _, ok := m.Work(); ok {
		t.Error("Work() has something before the change is reported as applied")
	}
	m.Applied(*w.Apply)
	g.settle()
	if !m.IsLeader() {
		t.Error("IsLeader() = false after the change is applied")
	}
}

func TestNothingIsAppliedBeforeItIsSaved(t *testing.T) {
	g := newGroup(t, Config{}, 1)
	g.settle()
	m := g.members[0]
	m.propose(t, "a")
	w, _ := m.Work()
	if w.Append == nil || len(w.Append.Entries) != 1 || w.Apply != nil {
		t.Fatalf("Work() = append %v, apply %v, want the entry to be saved and nothing applied", w.Append, w.Apply)
	}
	for range 30 {
		m.Tick()
		if more, _ := m.Work(); more.Apply != nil {
			t.Fatalf("applied %v, which is not saved", more.Apply.Entries)
		}
	}
	m.save(t, *w.Append)
	g.settle()
	if got := m.data(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("applied %q, want a", got)
	}
}

func TestLeaderSendsBeforeItHasSaved(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	leader.propose(t, "a")
	w, _ := leader.Work()
	if w.Append == nil || len(w.Send) != 2 || w.Send[0].GetType() != raftpb.MsgApp {
		t.Fatalf("Work() = append %v, send %v, want an append and two MsgApp at once", w.Append, w.Send)
	}
	g.deliver(w.Send)
	for _, id := range []uint64{2, 3} {
		for more := true; more; {
			var sent []*raftpb.Message
			sent, more = g.member(id).do(t)
			g.deliver(sent)
		}
	}
	// The followers are a quorum: committed, but not applied here before it is saved here.
	for {
		next, ok := leader.Work()
		if !ok {
			break
		}
		if next.Apply != nil {
			t.Fatalf("leader applies %v before its own copy is saved", next.Apply.Entries)
		}
		g.deliver(next.Send)
	}
	if leader.Commit() != 2 {
		t.Errorf("Commit() = %d, want 2 by the followers' acknowledgements", leader.Commit())
	}
	leader.save(t, *w.Append)
	g.settle()
	for _, m := range g.members {
		if got := m.data(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("member %d applied %q, want a", m.cfg.ID, got)
		}
	}
}

// A member that is elected by the others alone, and then forgets in a crash that it
// stood for election, could lead twice in one term.
func TestCandidateAsksOnceItsOwnVoteIsSaved(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	m := g.member(1)
	if err := m.Campaign(); err != nil {
		t.Fatal(err)
	}
	var vote *Append
	for vote == nil { // until the others have told that they would vote for it
		w, ok := m.Work()
		if !ok {
			t.Fatal("the member does not stand for election")
		}
		if w.Append != nil && w.Append.Hard.GetVote() == 1 {
			vote = w.Append
		}
		for _, msg := range w.Send {
			if msg.GetType() == raftpb.MsgVote {
				t.Fatalf("asks for votes in term %d before its own is saved", msg.GetTerm())
			}
		}
		g.deliver(w.Send)
		for _, id := range []uint64{2, 3} {
			for more := true; more; {
				var sent []*raftpb.Message
				sent, more = g.member(id).do(t)
				g.deliver(sent)
			}
		}
	}
	m.save(t, *vote)
	w, _ := m.Work()
	asked := 0
	for _, msg := range w.Send {
		if msg.GetType() == raftpb.MsgVote {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("asks %d members after the save, want 2", asked)
	}
	g.deliver(w.Send)
	g.settle()
	if !m.IsLeader() {
		t.Error("the member is not elected")
	}
}

func TestFollowerAcknowledgesOnlyWhatIsSaved(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	leader.propose(t, "a")
	w, _ := leader.Work()
	follower := g.member(2)
	g.deliver(w.Send[:1])
	f, _ := follower.Work()
	for _, m := range f.Send {
		if m.GetType() == raftpb.MsgAppResp {
			t.Fatalf("follower sends %v before it has saved", m)
		}
	}
	follower.save(t, *f.Append)
	f, _ = follower.Work()
	if len(f.Send) != 1 || f.Send[0].GetType() != raftpb.MsgAppResp {
		t.Errorf("after the save follower sends %v, want one MsgAppResp", f.Send)
	}
}

func TestProposalIsRefused(t *testing.T) {
	g := newGroup(t, Config{MaxUncommittedBytes: 10}, 1, 2, 3)
	leader := g.elect(1)
	if err := g.member(2).Propose([][]byte{{1}}); err != ErrNotLeader {
		t.Errorf("Propose at a follower = %v, want ErrNotLeader", err)
	}
	if err := g.member(2).ProposeConfChange(&raftpb.ConfChangeV2{}); err != ErrNotLeader {
		t.Errorf("ProposeConfChange at a follower = %v, want ErrNotLeader", err)
	}
	leader.propose(t, "0123456789abcdef") // the first may be larger than the limit
	if err := leader.Propose([][]byte{{1}}); err != ErrBusy {
		t.Errorf("Propose beyond the limit = %v, want ErrBusy", err)
	}
	g.settle()
	leader.propose(t, "x")
	g.settle()

	add := func(id uint64) error {
		return leader.ProposeConfChange(&raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(id)})
	}
	if err := add(4); err != nil {
		t.Errorf("first change = %v", err)
	}
	if err := add(5); err != ErrChangePending {
		t.Errorf("second change = %v, want ErrChangePending", err)
	}
}

// Whoever tries a change again and again while one is pending leaves nothing in the log.
func TestPendingChangeCostsNoEntries(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	g.settle()
	add := func(id uint64) error {
		return leader.ProposeConfChange(&raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(id)})
	}
	if err := add(4); err != nil {
		t.Fatal(err)
	}
	if w, _ := leader.Work(); w.Append == nil || len(w.Append.Entries) != 1 {
		t.Fatalf("a change gives the work %+v, want one entry", w)
	}
	for range 10 {
		if err := add(5); err != ErrChangePending {
			t.Errorf("change while another is pending = %v, want ErrChangePending", err)
		}
	}
	if w, _ := leader.Work(); w.Append != nil {
		t.Errorf("refused changes left %d entries", len(w.Append.Entries))
	}
	// Another leader has replaced the change by an entry of its own.
	leader.appendWork(&raftpb.Message{Entries: []*raftpb.Entry{{Index: new(leader.lastChange), Term: new(leader.term)}}})
	if leader.lastChange != 0 {
		t.Error("a change that is gone is still waited for")
	}
}

func TestStepRefusesWhatNoPeerSends(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	for _, kind := range []raftpb.MessageType{raftpb.MsgProp, raftpb.MsgHup, raftpb.MsgStorageApplyResp, raftpb.MsgCheckQuorum} {
		m := &raftpb.Message{Type: kind.Enum(), From: new(uint64(2)), Entries: []*raftpb.Entry{{Data: []byte("x")}}}
		if err := leader.Step(m); err == nil {
			t.Errorf("Step(%v) error = nil, want a refusal", kind)
		}
	}
}

func TestSnapshotBringsAFollowerBack(t *testing.T) {
	g := newGroup(t, Config{TailEntries: 1}, 1, 2, 3)
	leader := g.elect(1)
	behind := g.member(3)
	behind.down = true
	for i := range 20 {
		leader.propose(t, fmt.Sprint(i))
		g.settle()
	}
	released, err := leader.Compact(leader.Commit(), leader.Conf())
	if err != nil || released != leader.Commit()-1 {
		t.Fatalf("Compact(%d) = %d, %v, want all but one entry released", leader.Commit(), released, err)
	}
	behind.down = false
	for range 3 {
		leader.Tick()
		g.settle()
	}
	if behind.log.prevIndex != leader.Commit() || behind.Commit() != leader.Commit() {
		t.Errorf("log restarted behind %d, commit %d, want %d", behind.log.prevIndex, behind.Commit(), leader.Commit())
	}
	leader.ReportSnapshot(3, true)
	leader.propose(t, "more")
	for range 3 {
		leader.Tick()
		g.settle()
	}
	if got := behind.data(); !slices.Equal(got, []string{"more"}) {
		t.Errorf("applied behind the snapshot: %q, want more", got)
	}
	restarted := newMember(t, Config{ID: 3}, behind.log.state(voters(1, 2, 3), released+1, 1), behind.log)
	if restarted.Commit() < released+1 || restarted.role != raft.StateFollower {
		t.Errorf("restarted at commit %d as %v", restarted.Commit(), restarted.role)
	}
}

func TestLeadershipIsTransferred(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	leader.TransferLeader(2)
	g.settle()
	if !g.member(2).IsLeader() || leader.Leader() != 2 {
		t.Errorf("leader is %d, want 2", leader.Leader())
	}
	leader.ReportUnreachable(3) // of no concern to a follower
	g.settle()
}

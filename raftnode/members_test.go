package raftnode

import (
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func confChange(kind raftpb.ConfChangeType, id uint64) *raftpb.ConfChange {
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: new(id)}
}

const (
	addNode    = raftpb.ConfChangeType_ConfChangeAddNode
	addLearner = raftpb.ConfChangeType_ConfChangeAddLearnerNode
	removeNode = raftpb.ConfChangeType_ConfChangeRemoveNode
	updateNode = raftpb.ConfChangeType_ConfChangeUpdateNode
)

// alter has a leader change the configuration.
func (g *group) alter(m *member, kind raftpb.ConfChangeType, id uint64) {
	g.t.Helper()
	if err := m.ProposeConfChange(confChange(kind, id)); err != nil {
		g.t.Fatalf("ProposeConfChange(%v of %d) = %v", kind, id, err)
	}
	g.settle()
}

// join starts a member that was added to the voters the group began with.
func (g *group) join(id uint64, founders ...uint64) *member {
	g.t.Helper()
	m := newMember(g.t, Config{ID: id}, State{Conf: voters(founders...)}, &recordLog{})
	g.members = append(g.members, m)
	return m
}

func (g *group) tick(m *member, n int) {
	for range n {
		m.Tick()
		g.settle()
	}
}

func TestMembersComeAndGo(t *testing.T) {
	g := newGroup(t, Config{}, 1)
	g.settle()
	leader := g.members[0]
	leader.propose(t, "a")
	g.settle()

	g.alter(leader, addLearner, 2)
	if leader.Alone() || !leader.readable() {
		t.Errorf("with a learner Alone() = %v and readable() = %v, want company and still the only voter", leader.Alone(), leader.readable())
	}
	leader.propose(t, "b") // the learner is not there yet: it costs nothing
	g.settle()
	if got := leader.data(); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("without the learner the leader applied %q, want both", got)
	}

	second := g.join(2, 1)
	g.tick(leader, 2)
	if got := second.data(); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("the learner applied %q, want both", got)
	}
	if p := leader.Progress(); !p[2].Learner || p[2].Match != leader.Commit() || p[1].Learner || p[1].Match != leader.Commit() {
		t.Errorf("Progress() = %+v, want both complete and 2 a learner", p)
	}
	if p := second.Progress(); p != nil {
		t.Errorf("a learner's Progress() = %v, want nil", p)
	}
	leader.TransferLeader(2)
	g.settle()
	if !leader.IsLeader() {
		t.Error("leadership went to a learner")
	}

	g.alter(leader, addNode, 2)
	if got := second.Conf(); !slices.Equal(got.GetVoters(), []uint64{1, 2}) || len(got.GetLearners()) != 0 {
		t.Errorf("after the promotion the configuration is %v, want two voters", got)
	}
	before := leader.Conf()
	g.alter(leader, updateNode, 2)
	if !proto.Equal(leader.Conf(), before) {
		t.Errorf("an update changed %v to %v", before, leader.Conf())
	}

	g.alter(leader, removeNode, 1)
	if leader.IsLeader() || leader.Leader() != 0 {
		t.Errorf("removed, IsLeader() = %v and Leader() = %d", leader.IsLeader(), leader.Leader())
	}
	if err := leader.Propose([][]byte{{1}}); err != ErrNotLeader {
		t.Errorf("removed, Propose = %v, want ErrNotLeader", err)
	}
	if !second.IsLeader() {
		t.Error("the only voter left does not lead")
	}
	g.tick(leader, 30)
	if leader.IsLeader() || !second.IsLeader() {
		t.Error("the removed member disturbs the other")
	}
}

func TestLearnerReadsThroughTheLeader(t *testing.T) {
	for _, voters := range [][]uint64{{1}, {1, 2}} {
		g := newGroup(t, Config{}, voters...)
		leader := g.elect(1)
		g.alter(leader, addLearner, 9)
		learner := g.join(9, voters...)
		g.tick(leader, 2)
		leader.propose(t, "a")
		g.settle()
		round, ok := learner.ReadIndex()
		g.settle()
		if !ok || len(learner.reads) != 1 || learner.reads[0] != (Read{round, leader.Commit()}) {
			t.Errorf("%d voters: a learner's ReadIndex() = %v, answered %v, want %d", len(voters), ok, learner.reads, leader.Commit())
		}
	}
}

func TestFoundingMemberCampaignsSoon(t *testing.T) {
	tests := []struct {
		founding bool
		min, max int // ticks
	}{
		{founding: true, min: 1, max: 10},
		{founding: false, min: 10, max: 19},
	}
	for _, test := range tests {
		for range 50 {
			m := newMember(t, Config{ID: 1, Election: 10, Founding: test.founding}, State{Conf: voters(1, 2, 3)}, &recordLog{})
			ticks := 0
			for more := false; !more && ticks < 100; ticks++ {
				m.Tick()
				_, more = m.Work()
			}
			if ticks < test.min || ticks > test.max {
				t.Fatalf("founding %v: campaigns after %d ticks, want %d to %d", test.founding, ticks, test.min, test.max)
			}
		}
	}
}

// A configuration worked out beside raft is the one raft would have.
func TestChangedIsWhatRaftMakesOfIt(t *testing.T) {
	tests := []struct {
		name string
		cc   raftpb.ConfChangeI
	}{
		{"add", confChange(addNode, 7)},
		{"add a learner", confChange(addLearner, 7)},
		{"promote", confChange(addNode, 4)},
		{"remove", confChange(removeNode, 2)},
		{"remove a learner", confChange(removeNode, 4)},
		{"update", confChange(updateNode, 3)},
		{"two at once", &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
			{Type: addNode.Enum(), NodeId: new(uint64(7))},
			{Type: removeNode.Enum(), NodeId: new(uint64(1))},
		}}},
	}
	for _, test := range tests {
		conf := voters(1, 2, 3)
		conf.Learners = []uint64{4}
		m := newMember(t, Config{ID: 1}, State{Conf: conf}, &recordLog{})
		want := m.ApplyConfChange(test.cc)
		if got := changed(conf, test.cc); !proto.Equal(got, want) {
			t.Errorf("%s: changed() = %v, want %v", test.name, got, want)
		}
	}
}

// lag leaves a member behind, out of reach of the leader's log.
func (g *group) lag(leader, behind *member) {
	g.t.Helper()
	behind.down = true
	for i := range 20 {
		leader.propose(g.t, fmt.Sprint(i))
		g.settle()
	}
	if _, err := leader.Compact(leader.Commit(), leader.Conf()); err != nil {
		g.t.Fatal(err)
	}
	behind.down = false
}

// snapshotFor ticks a leader until it sends a snapshot, which is not delivered.
func (g *group) snapshotFor(leader *member) *raftpb.Message {
	g.t.Helper()
	for range 5 {
		leader.Tick()
		for busy := true; busy; {
			busy = false
			for _, m := range g.members {
				sent, more := m.do(g.t)
				busy = busy || more
				for _, s := range sent {
					if s.GetType() == raftpb.MsgSnap {
						return s
					}
				}
				g.deliver(sent)
			}
		}
	}
	g.t.Fatal("no snapshot was sent")
	return nil
}

func TestNewMemberGetsASnapshotThatHasIt(t *testing.T) {
	g := newGroup(t, Config{TailEntries: 1}, 1, 2, 3)
	leader := g.elect(1)
	g.lag(leader, g.member(3))
	g.tick(leader, 2)
	g.alter(leader, addLearner, 4)
	added := leader.Commit()
	g.join(4, 1, 2, 3)
	s := g.snapshotFor(leader).GetSnapshot().GetMetadata()
	if s.GetIndex() < added || !slices.Contains(s.GetConfState().GetLearners(), 4) {
		t.Errorf("the new member is sent a snapshot at %d with %v, want one that reaches its addition at %d", s.GetIndex(), s.GetConfState(), added)
	}
}

func TestNewerSnapshotThanAskedFor(t *testing.T) {
	g := newGroup(t, Config{TailEntries: 1}, 1, 2, 3)
	leader, behind := g.elect(1), g.member(3)
	g.lag(leader, behind)
	m := g.snapshotFor(leader)
	asked := m.GetSnapshot().GetMetadata().GetIndex()
	behind.down = true
	leader.propose(t, "newer") // and the checkpoint that is sent in the end has it
	g.settle()
	behind.down = false
	m.Snapshot.Metadata = &raftpb.SnapshotMetadata{Index: new(leader.Commit()), Term: new(leader.Term()), ConfState: leader.Conf()}
	if err := behind.Step(m); err != nil {
		t.Fatal(err)
	}
	g.settle()
	if behind.Taken() != asked+1 || behind.Commit() != asked+1 || leader.Progress()[3].SendingSnapshot {
		t.Errorf("took %d, commit %d, leader's view %+v; want the newer snapshot at %d", behind.Taken(), behind.Commit(), leader.Progress()[3], asked+1)
	}
	leader.ReportSnapshot(3, true)
	leader.propose(t, "after")
	g.tick(leader, 2)
	if got := behind.data(); !slices.Equal(got, []string{"after"}) {
		t.Errorf("applied %q behind the snapshot, want after", got)
	}
}

func TestFailedSnapshotIsSentAgain(t *testing.T) {
	g := newGroup(t, Config{TailEntries: 1}, 1, 2, 3)
	leader, behind := g.elect(1), g.member(3)
	g.lag(leader, behind)
	for range 3 {
		g.snapshotFor(leader) // which is lost
		if !leader.Progress()[3].SendingSnapshot {
			t.Error("SendingSnapshot = false on the way")
		}
		leader.ReportSnapshot(3, false)
	}
	g.tick(leader, 3)
	if behind.Commit() != leader.Commit() || leader.Progress()[3].Match != leader.Commit() {
		t.Errorf("commit %d after a snapshot that arrived, want %d", behind.Commit(), leader.Commit())
	}
}

// Raft takes over a snapshot's configuration when the snapshot arrives, while the
// applier may still be busy with changes from before.
func TestChangeFromBeforeASnapshotThatIsBeingInstalled(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2)
	leader, behind := g.elect(1), g.member(2)
	if err := leader.ProposeConfChange(confChange(addLearner, 3)); err != nil {
		t.Fatal(err)
	}
	var late []Committed // for the slow applier of the second member
	for busy := true; busy; {
		sent, more := leader.do(t)
		g.deliver(sent)
		for w, ok := behind.Work(); ok; w, ok = behind.Work() {
			more = true
			if w.Append != nil {
				behind.save(t, *w.Append)
			}
			if w.Apply != nil {
				late = append(late, *w.Apply)
			}
			g.deliver(w.Send)
		}
		busy = more
	}
	if len(late) == 0 {
		leader.Tick()
		t.Fatal("the change is not committed at the second member")
	}
	now := &raftpb.ConfState{Voters: []uint64{1, 2, 3}} // it was promoted since
	const index = 50
	behind.deliverSnapshot(t, index, now)
	w, _ := behind.Work()
	if w.Append == nil || w.Append.Snapshot == nil || behind.Taken() != index {
		t.Fatalf("Work().Append = %v, want the snapshot", w.Append)
	}
	for _, c := range late {
		behind.apply(c)
	}
	if got := behind.Conf(); !slices.Equal(got.GetVoters(), []uint64{1, 2}) || !slices.Equal(got.GetLearners(), []uint64{3}) {
		t.Errorf("before the snapshot the applier gets %v, want two voters and a learner", got)
	}
	behind.save(t, *w.Append)
	if got := behind.Conf(); !slices.Equal(got.GetVoters(), now.Voters) || behind.Core.applied != index || behind.installing {
		t.Errorf("installed: applied %d with %v, installing %v; want %d with %v", behind.Core.applied, got, behind.installing, index, now)
	}
	for _, c := range late {
		behind.Applied(c) // a late report does not turn the clock back
	}
	if got := behind.Core.applied; got != index {
		t.Errorf("applied = %d after a late report, want %d", got, index)
	}
	update := behind.ApplyConfChange(confChange(updateNode, 1))
	if !slices.Equal(update.GetVoters(), now.Voters) || len(update.GetLearners()) != 0 {
		t.Errorf("raft's configuration is %v, want %v", update, now)
	}
}

func (m *member) deliverSnapshot(t *testing.T, index uint64, conf *raftpb.ConfState) {
	t.Helper()
	err := m.Step(&raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(m.Leader()), To: new(m.cfg.ID), Term: new(m.Term()),
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(m.Term()), ConfState: conf}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

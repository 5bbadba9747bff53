package raftnode

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

func TestReadRoundsShareAnAnswer(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	leader.propose(t, "a")
	g.settle()
	for _, m := range []*member{leader, g.member(3)} {
		first, ok1 := m.ReadIndex()
		last, ok2 := m.ReadIndex()
		if !ok1 || !ok2 || last != first+1 {
			t.Fatalf("ReadIndex() twice = %d %v, %d %v, want consecutive rounds", first, ok1, last, ok2)
		}
		g.settle()
		got := m.reads[len(m.reads)-1]
		if got.Round != last || got.Index != leader.Commit() {
			t.Errorf("member %d: last answer = %+v, want round %d at index %d", m.cfg.ID, got, last, leader.Commit())
		}
	}
}

func TestReadRoundsAreBounded(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	g.elect(1)
	follower := g.member(2)
	for i := range maxRounds {
		if _, ok := follower.ReadIndex(); !ok {
			t.Fatalf("round %d of %d refused", i+1, maxRounds)
		}
	}
	if _, ok := follower.ReadIndex(); ok {
		t.Errorf("more than %d rounds under way", maxRounds)
	}
}

func TestReadRoundIsRepeatedWhenLost(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	g.elect(1)
	follower := g.member(2)
	round, _ := follower.ReadIndex()
	follower.do(t) // the question is lost
	for range 5 {
		follower.Tick()
	}
	g.settle()
	if len(follower.reads) == 0 || follower.reads[0].Round < round {
		t.Errorf("answers = %v, want one that serves round %d", follower.reads, round)
	}
}

func TestReadAnswerOfAnEarlierLifeIsIgnored(t *testing.T) {
	r := newRounds(10)
	_, mark := r.issue()
	again := newRounds(10)
	again.issue()
	again.answer(mark, 7)
	if again.hasAnswers() {
		t.Error("an answer to another member's life was taken")
	}
	r.answer(mark, 7)
	if got := r.take(); !slices.Equal(got, []Read{{Round: 1, Index: 7}}) {
		t.Errorf("take() = %v, want round 1 at index 7", got)
	}
	r.answer(mark, 3)
	if r.hasAnswers() {
		t.Error("a repeated answer was taken")
	}
}

// A restarted member may find a commit index far behind what it acknowledged,
// for the index alone is not worth a sync. Reads wait until it has caught up.
func TestRestartedOnlyVoterDoesNotReadThePast(t *testing.T) {
	log := &recordLog{}
	m := newMember(t, Config{ID: 1}, State{Conf: voters(1)}, log)
	g := &group{t: t, members: []*member{m}}
	g.settle()
	m.propose(t, "a", "b", "c")
	g.settle()
	acknowledged := m.Commit()
	if got := log.hard.GetCommit(); got >= acknowledged {
		t.Fatalf("saved commit index = %d, want one behind %d", got, acknowledged)
	}

	m = newMember(t, Config{ID: 1}, log.state(voters(1), 0, 0), log)
	for i := 0; ; i++ {
		if round, ok := m.ReadIndex(); ok {
			g = &group{t: t, members: []*member{m}}
			g.settle()
			if got := m.reads[0]; got.Round != round || got.Index < acknowledged {
				t.Errorf("read after %d steps = %+v, want at least index %d", i, got, acknowledged)
			}
			return
		}
		if _, more := m.do(t); !more && i > 100 {
			t.Fatal("no read index after 100 steps")
		}
	}
}

func TestLearnersQuestionWaitsForTheLeadersFirstCommit(t *testing.T) {
	log := &recordLog{}
	conf := &raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}
	m := newMember(t, Config{ID: 1}, State{Conf: conf}, log)
	for !m.IsLeader() {
		m.do(t)
	}
	ask := &raftpb.Message{
		Type: raftpb.MsgReadIndex.Enum(), From: new(uint64(2)), To: new(uint64(1)),
		Entries: []*raftpb.Entry{{Data: []byte("mark")}},
	}
	answered := func() bool {
		if err := m.Step(ask); err != nil {
			t.Fatal(err)
		}
		for {
			sent, more := m.do(t)
			if slices.ContainsFunc(sent, func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgReadIndexResp }) {
				return true
			}
			if !more {
				return false
			}
		}
	}
	if answered() {
		t.Error("answered before the leader's first commit")
	}
	if !answered() {
		t.Error("not answered after the leader's first commit")
	}
}

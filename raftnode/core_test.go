package raftnode

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// recordLog is a log in memory.
type recordLog struct {
	hard                *raftpb.HardState
	entries             []*raftpb.Entry
	prevIndex, prevTerm uint64
	saves               int
	err                 error // of the next Save
}

func (l *recordLog) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	if l.err != nil {
		return l.err
	}
	l.saves++
	if hard != nil && (len(entries) > 0 || hard.GetTerm() != l.hard.GetTerm() || hard.GetVote() != l.hard.GetVote()) {
		l.hard = hard // a commit index alone is forgotten
	}
	if len(entries) > 0 {
		l.entries = append(l.entries[:entries[0].GetIndex()-l.prevIndex-1], entries...)
	}
	return nil
}

func (l *recordLog) Restart(index, term uint64) error {
	l.entries, l.prevIndex, l.prevTerm = nil, index, term
	return nil
}

func (l *recordLog) state(conf *raftpb.ConfState, applied, appliedTerm uint64) State {
	return State{
		Hard: l.hard, Conf: conf, Entries: slices.Clone(l.entries),
		PrevIndex: l.prevIndex, PrevTerm: l.prevTerm, Applied: applied, AppliedTerm: appliedTerm,
	}
}

// member is a core with its log, whose work the test carries out.
type member struct {
	*Core
	writer  *Writer
	log     *recordLog
	applied []*raftpb.Entry
	reads   []Read
	down    bool
}

// group is a set of members with a network that loses nothing but what is sent
// to members that are down.
type group struct {
	t       *testing.T
	members []*member
}

func voters(ids ...uint64) *raftpb.ConfState { return &raftpb.ConfState{Voters: ids} }

func newGroup(t *testing.T, cfg Config, ids ...uint64) *group {
	t.Helper()
	g := &group{t: t}
	for _, id := range ids {
		cfg.ID = id
		g.members = append(g.members, newMember(t, cfg, State{Conf: voters(ids...)}, &recordLog{}))
	}
	return g
}

func newMember(t *testing.T, cfg Config, st State, log *recordLog) *member {
	t.Helper()
	core, writer, err := NewCore(cfg, st, log)
	if err != nil {
		t.Fatalf("NewCore(%d) error = %v", cfg.ID, err)
	}
	return &member{Core: core, writer: writer, log: log}
}

// do carries out one piece of work and returns the messages it wants sent.
func (m *member) do(t *testing.T) (sent []*raftpb.Message, more bool) {
	t.Helper()
	w, ok := m.Work()
	if !ok {
		return nil, false
	}
	m.reads = append(m.reads, w.Reads...)
	if w.Append != nil {
		m.save(t, *w.Append)
	}
	if w.Apply != nil {
		m.apply(*w.Apply)
	}
	return w.Send, true
}

func (m *member) save(t *testing.T, a Append) {
	t.Helper()
	var responses []*raftpb.Message
	var err error
	if a.Snapshot != nil {
		responses, err = m.writer.Install(a)
	} else {
		responses, err = m.writer.Save([]Append{a})
	}
	if err != nil {
		t.Fatalf("member %d cannot save: %v", m.cfg.ID, err)
	}
	m.Saved(responses)
}

func (m *member) apply(c Committed) {
	m.applied = append(m.applied, c.Entries...)
	m.Applied(c)
}

func (m *member) data() []string {
	var all []string
	for _, e := range m.applied {
		if len(e.GetData()) > 0 && e.GetType() == raftpb.EntryNormal {
			all = append(all, string(e.GetData()))
		}
	}
	return all
}

// settle works and delivers until nobody has anything left to do.
func (g *group) settle() {
	g.t.Helper()
	for busy := true; busy; {
		busy = false
		for _, m := range g.members {
			if m.down {
				continue
			}
			sent, more := m.do(g.t)
			busy = busy || more
			g.deliver(sent)
		}
	}
}

func (g *group) deliver(ms []*raftpb.Message) {
	for _, m := range ms {
		if to := g.member(m.GetTo()); to != nil && !to.down {
			_ = to.Step(m) // a refused message is as good as lost
		}
	}
}

func (g *group) member(id uint64) *member {
	for _, m := range g.members {
		if m.cfg.ID == id {
			return m
		}
	}
	return nil
}

// elect makes a member the leader.
func (g *group) elect(id uint64) *member {
	g.t.Helper()
	m := g.member(id)
	if err := m.Campaign(); err != nil {
		g.t.Fatalf("member %d cannot campaign: %v", id, err)
	}
	g.settle()
	if !m.IsLeader() {
		g.t.Fatalf("member %d is not the leader after campaigning", id)
	}
	return m
}

func (m *member) propose(t *testing.T, data ...string) {
	t.Helper()
	all := make([][]byte, len(data))
	for i, d := range data {
		all[i] = []byte(d)
	}
	if err := m.Propose(all); err != nil {
		t.Fatalf("Propose(%q) error = %v", data, err)
	}
}

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
	m.apply(*w.Apply)
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

func TestTermIsNotBehindTheCheckpoint(t *testing.T) {
	log := &recordLog{hard: hard(1, 2, 0)}
	m := newMember(t, Config{ID: 1}, log.state(voters(1, 2), 7, 3), log)
	if m.Term() != 3 || log.hard.GetTerm() != 3 || log.hard.GetVote() != 0 {
		t.Errorf("Term() = %d, saved %v, want term 3 without a vote", m.Term(), log.hard)
	}
}

func TestUnusableStateIsRefused(t *testing.T) {
	one := []*raftpb.Entry{{Term: new(uint64(1)), Index: new(uint64(6))}}
	hard := func(term, commit uint64) *raftpb.HardState {
		return &raftpb.HardState{Term: &term, Commit: &commit}
	}
	tests := []struct {
		name string
		st   State
	}{
		{"checkpoint before the log", State{Hard: hard(1, 5), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 4, AppliedTerm: 1}},
		{"checkpoint without term", State{Hard: hard(1, 6), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 6}},
		{"log ends before its commit", State{Hard: hard(1, 7), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 5, AppliedTerm: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.st.Conf = voters(1)
			if _, _, err := NewCore(Config{ID: 1}, tt.st, &recordLog{}); !errors.Is(err, ErrState) {
				t.Errorf("NewCore() error = %v, want ErrState", err)
			}
		})
	}
}

func TestLogThatDoesNotReachTheCheckpointIsRestarted(t *testing.T) {
	entries := func(terms ...uint64) (all []*raftpb.Entry) {
		for i, term := range terms {
			all = append(all, &raftpb.Entry{Term: new(term), Index: new(uint64(i + 1))})
		}
		return all
	}
	tests := []struct {
		name    string
		entries []*raftpb.Entry
		restart bool
	}{
		{"log ends before it", entries(1, 1), true},
		{"log contradicts it", entries(1, 1, 1, 1), true},
		{"log contains it", entries(1, 1, 2, 2), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &recordLog{entries: tt.entries}
			st := log.state(voters(1), 3, 2)
			st.Hard = &raftpb.HardState{Term: new(uint64(2)), Vote: new(uint64(1)), Commit: new(uint64(1))}
			m := newMember(t, Config{ID: 1}, st, log)
			if restarted := log.prevIndex == 3 && log.prevTerm == 2; restarted != tt.restart {
				t.Errorf("log behind (%d, %d), want restarted %v", log.prevIndex, log.prevTerm, tt.restart)
			}
			if m.Term() < 2 {
				t.Errorf("Term() = %d, want at least the checkpoint's", m.Term())
			}
			if tt.restart && (log.hard.GetTerm() != 2 || log.hard.GetVote() != 1) {
				t.Errorf("hard state after the restart = %v, want term and vote kept", log.hard)
			}
			g := &group{t: t, members: []*member{m}}
			g.settle()
			m.propose(t, "x")
			g.settle()
			if got := m.data(); !slices.Equal(got, []string{"x"}) || m.applied[0].GetIndex() <= 3 {
				t.Errorf("applied %v, want x behind index 3", m.applied)
			}
		})
	}
}

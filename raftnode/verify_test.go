package raftnode

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// split is a group whose members 2 and 3 have replaced what 1 knows as committed:
// 1 and 2 committed entries while 3 was down; 2 lost its disk while 1 was down.
type split struct {
	*group
	old, empty, leader *member
	shared             int
	checkpoint         uint64 // of the old leader
}

// newSplit makes a split: shared entries are everywhere, only 1 has the old ones,
// and 3 leads with the other ones.
func newSplit(t *testing.T, cfg Config, shared, old, other int) *split {
	t.Helper()
	g := newGroup(t, cfg, 1, 2, 3)
	s := &split{group: g, old: g.elect(1), leader: g.member(3), shared: shared}
	s.write(s.old, "shared", shared)
	s.leader.down = true
	s.write(s.old, "old", old)
	g.tick(s.old, 1)
	if got := int(s.old.Commit()); got != 1+shared+old {
		t.Fatalf("the old leader has committed %d entries, want %d", got, 1+shared+old)
	}
	s.old.down, s.leader.down = true, false
	s.lose(cfg, 2)
	g.elect(3)
	s.write(s.leader, "other", other)
	return s
}

// lose gives a member an empty disk.
func (s *split) lose(cfg Config, id uint64) {
	s.t.Helper()
	cfg.ID = id
	s.empty = newMember(s.t, cfg, State{Conf: voters(1, 2, 3)}, &recordLog{})
	for i, m := range s.members {
		if m.cfg.ID == id {
			s.members[i] = s.empty
		}
	}
}

func (g *group) write(m *member, what string, n int) {
	g.t.Helper()
	for i := range n {
		m.propose(g.t, fmt.Sprintf("%s %d", what, i))
		g.settle()
	}
}

// comeBack lets time pass until the old leader, which has restarted, ends, or for so
// many ticks.
func (s *split) comeBack(cfg Config, ticks int) {
	s.t.Helper()
	s.restart(cfg)
	s.watch(ticks)
}

func (s *split) restart(cfg Config) {
	s.t.Helper()
	cfg.ID = s.old.cfg.ID
	log := s.old.log
	log.hard = &raftpb.HardState{Term: log.hard.Term, Vote: log.hard.Vote, Commit: new(s.old.Commit())}
	term, err := s.old.mem.Term(s.checkpoint)
	if err != nil {
		s.t.Fatal(err)
	}
	s.old = newMember(s.t, cfg, log.state(voters(1, 2, 3), s.checkpoint, term), log)
	for i, m := range s.members {
		if m.cfg.ID == cfg.ID {
			s.members[i] = s.old
		}
	}
}

// watch reconnects the old leader.
func (s *split) watch(ticks int) {
	s.t.Helper()
	s.old.down = false
	for range ticks {
		before := s.delivered
		for _, m := range s.members {
			if !m.down {
				m.Tick()
			}
		}
		s.settle()
		if n := s.delivered - before; n > 30+2*s.shared {
			s.t.Fatalf("%d messages in a tick", n)
		}
		if p := s.leader.Progress()[1]; p.SendingSnapshot {
			s.leader.ReportSnapshot(1, true)
		}
		if s.old.ended != nil {
			return
		}
	}
}

// A member acknowledges no entry that it does not have, and ends when its leader's log
// contradicts entries that it knows as committed.
func TestReplacedHistoryIsNoticed(t *testing.T) {
	tests := []struct {
		name               string
		cfg                Config
		shared, old, other int
		prepare            func(s *split)
	}{
		{name: "the other log is shorter", old: 100, other: 50},
		{name: "the other log is much shorter", old: 100, other: 1},
		{name: "it is empty but for the leader's first entry", old: 100},
		{name: "it is longer", old: 100, other: 200},
		{name: "it is as long", old: 100, other: 99},
		{name: "much is shared", shared: 50, old: 50, other: 30},
		{name: "the shared part comes first, in small messages", cfg: Config{MaxMessageBytes: 100}, shared: 50, old: 50, other: 30,
			prepare: func(s *split) { s.probeFromTheStart() }},
		{name: "a snapshot comes first", cfg: Config{TailEntries: 1}, old: 100, other: 50, prepare: func(s *split) { s.compact(s.leader) }},
		{name: "the old log begins behind the other's end", cfg: Config{TailEntries: 1}, old: 100, other: 10,
			prepare: func(s *split) { s.checkpoint = s.old.Commit() }},
		{name: "a snapshot from before the old log's begin", cfg: Config{TailEntries: 1}, old: 100, other: 10,
			prepare: func(s *split) { s.checkpoint = s.old.Commit(); s.compact(s.leader) }},
		{name: "the logs begin at the same place", cfg: Config{TailEntries: 1}, old: 100, other: 99,
			prepare: func(s *split) { s.checkpoint = s.old.Commit(); s.compact(s.leader) }},
	}
	for i := range 2 * len(tests) {
		test, restart := tests[i/2], i%2 == 0
		t.Run(fmt.Sprintf("%s, restart %v", test.name, restart), func(t *testing.T) {
			s := newSplit(t, test.cfg, test.shared, test.old, test.other)
			if test.prepare != nil {
				test.prepare(s)
			}
			if restart {
				s.restart(test.cfg)
			} else if s.checkpoint > 0 {
				s.compact(s.old)
			}
			s.watch(20)
			if !errors.Is(s.old.ended, ErrDiverged) {
				t.Errorf("after two election timeouts the old leader's end is %v, want ErrDiverged", s.old.ended)
			}
			if m := s.leader.Progress()[1].Match; m > uint64(1+test.shared) {
				t.Errorf("the leader counts the old leader's copy up to %d, shared are %d", m, 1+test.shared)
			}
		})
	}
}

func (s *split) compact(m *member) {
	s.t.Helper()
	if _, err := m.Compact(m.Commit(), m.Conf()); err != nil {
		s.t.Fatal(err)
	}
}

// probeFromTheStart has the leader forget where the old leader's log may agree.
func (s *split) probeFromTheStart() {
	s.t.Helper()
	last := 1 + uint64(50) // where the leader's log ended when it was elected
	err := s.leader.Step(&raftpb.Message{
		Type: raftpb.MsgAppResp.Enum(), From: new(uint64(1)), To: new(uint64(3)), Term: new(s.leader.Term()), Index: new(last), Reject: new(true),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.settle()
}

// Without the member that lost its disk, the leader and the old leader are no quorum.
func TestReplacedHistoryMakesNoQuorum(t *testing.T) {
	for _, other := range []int{20, 200} {
		s := newSplit(t, Config{}, 0, 100, other)
		s.empty.down = true
		committed := s.leader.Commit()
		s.leader.propose(t, "alone")
		s.comeBack(Config{}, 8)
		if got := s.leader.Commit(); got != committed {
			t.Errorf("%d other entries: the leader commits up to %d, want %d: it is alone", other, got, committed)
		}
		if !s.old.Suspicious() {
			t.Errorf("%d other entries: Suspicious() = false", other)
		}
		if _, ok := s.old.ReadIndex(); ok {
			t.Errorf("%d other entries: ReadIndex() = true while the member is suspicious", other)
		}
	}
}

// A snapshot from beyond all that a member knows as committed cannot be compared.
// The member takes it over, as if it had only lagged behind.
func TestReplacedHistoryUnderANewerSnapshot(t *testing.T) {
	cfg := Config{TailEntries: 1}
	s := newSplit(t, cfg, 0, 100, 200)
	s.compact(s.leader)
	s.comeBack(cfg, 20)
	if s.old.ended != nil || s.old.Commit() != s.leader.Commit() {
		t.Errorf("end %v, commit %d; want the leader's state at %d", s.old.ended, s.old.Commit(), s.leader.Commit())
	}
}

// A learner has what the voters have forgotten.
func TestReplacedHistoryAtALearner(t *testing.T) {
	conf := voters(2, 3, 4)
	conf.Learners = []uint64{1}
	g := &group{t: t}
	start := func(id uint64) *member {
		return newMember(t, Config{ID: id}, State{Conf: conf}, &recordLog{})
	}
	for id := range uint64(4) {
		g.members = append(g.members, start(id+1))
	}
	old := g.elect(2)
	g.member(4).down = true
	g.write(old, "old", 100)
	g.tick(old, 1)
	g.members[1], g.members[2].down, g.members[3].down = start(2), true, false
	leader := g.elect(4)
	g.write(leader, "other", 50)
	learner := g.member(1)
	for range 20 {
		if learner.ended == nil {
			learner.Tick()
			g.tick(leader, 1)
		}
	}
	if !errors.Is(learner.ended, ErrDiverged) {
		t.Errorf("after two election timeouts the learner's end is %v, want ErrDiverged", learner.ended)
	}
}

// A member that comes back without what it has confirmed is asked for it at once,
// again and again.
func TestLostEntriesAreNoticed(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader := g.elect(1)
	g.write(leader, "x", 20)
	g.tick(leader, 1)
	s := &split{group: g, leader: leader}
	s.lose(Config{}, 2)
	for i := range 20 {
		before := g.delivered
		leader.propose(t, "more")
		leader.Tick()
		if !s.empty.down {
			s.empty.Tick()
		}
		g.settle()
		if n := g.delivered - before; n > 30 {
			t.Fatalf("%d messages in a tick", n)
		}
		if s.empty.ended != nil {
			if !errors.Is(s.empty.ended, ErrLost) || i < 9 {
				t.Errorf("ends after %d ticks with %v, want ErrLost after an election timeout", i, s.empty.ended)
			}
			return
		}
		if !s.empty.Suspicious() {
			t.Errorf("Suspicious() = false after %d ticks", i)
		}
	}
	t.Error("the member goes on without its data")
}

// A leader whose only news of a member is older than that member's log sends it what
// lies before. The member cannot compare that, and asks the leader to.
func TestLeaderFindsALogThatBeginsBehindItsProbe(t *testing.T) {
	for _, restart := range []bool{true, false} {
		g := newGroup(t, Config{TailEntries: 1, MaxMessageBytes: 100}, 1, 2, 3)
		leader, m := g.elect(1), g.member(3)
		m.down = true
		g.write(leader, "x", 20)
		if _, err := leader.Compact(leader.Commit(), leader.Conf()); err != nil {
			t.Fatal(err)
		}
		m.down = false
		snapshot := g.snapshotFor(leader)
		m.down = true
		g.write(leader, "newer", 10)
		// The checkpoint that is sent is newer than the one that raft announced, and the
		// answer is lost.
		index := leader.Commit()
		snapshot.Snapshot = snapshotOf(index, 1, leader.Conf())
		if err := m.Step(snapshot); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			_, more = m.do(t)
		}
		if restart {
			m.Core, m.writer = newMember(t, Config{ID: 3}, m.log.state(voters(1, 2, 3), index, 1), m.log).Core, nil
			m.writer = &Writer{log: m.log, mem: m.mem, saved: m.mem.hard}
		}
		leader.ReportSnapshot(3, true)
		m.down = false
		g.tick(leader, 4)
		if got := leader.Progress()[3].Match; got != leader.Commit() || m.Suspicious() {
			t.Errorf("restart %v: the leader knows of %d entries, want %d", restart, got, leader.Commit())
		}
	}
}

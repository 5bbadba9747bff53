package raftnode

import (
	"errors"
	"math"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// forged are frames by which member 2 of three, which has the leader's 21 entries,
// has lost its data or has the wrong ones.
var forged = map[string]*raftpb.Message{
	"commit beyond the log": {Type: raftpb.MsgHeartbeat.Enum(), Commit: new(uint64(1_000_000_000))},
	"another entry":         {Type: raftpb.MsgApp.Enum(), Index: new(uint64(10)), LogTerm: new(uint64(1)), Entries: entriesAt(11, 2)},
	"another entry before":  {Type: raftpb.MsgApp.Enum(), Index: new(uint64(10)), LogTerm: new(uint64(2))},
	"at the commit index":   {Type: raftpb.MsgApp.Enum(), Index: new(uint64(21)), LogTerm: new(uint64(2))},
	"a snapshot":            {Type: raftpb.MsgSnap.Enum(), Snapshot: snapshotOf(10, 2, voters(1, 2, 3))},
}

func forge(like *raftpb.Message, from, term uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: like.Type, From: new(from), To: new(uint64(2)), Term: new(term), Index: like.Index, LogTerm: like.LogTerm,
		Commit: like.Commit, Entries: like.Entries, Snapshot: like.Snapshot,
	}
}

// While the leader lives, forged evidence makes a member careful for a heartbeat.
func TestForgedEvidenceIsClearedUp(t *testing.T) {
	for name, like := range forged {
		for _, from := range []uint64{1, 3, 9} {
			g := newGroup(t, Config{}, 1, 2, 3)
			leader, m := g.elect(1), g.member(2)
			g.write(leader, "x", 20)
			g.tick(leader, 1)
			for range 50 {
				for range 3 {
					if err := m.Step(forge(like, from, 2)); err != nil && !errors.Is(err, errEvidence) {
						t.Fatalf("%s from %d: Step() = %v, want no conclusion", name, from, err)
					}
				}
				g.settle()
				if _, ok := m.ReadIndex(); ok || !m.Suspicious() {
					t.Fatalf("%s from %d: ReadIndex() = %v, Suspicious() = %v", name, from, ok, m.Suspicious())
				}
				m.Tick()
				leader.Tick()
				g.settle()
				if m.Suspicious() {
					t.Fatalf("%s from %d: Suspicious() = true after a heartbeat of the leader", name, from)
				}
			}
			if m.Leader() != 1 || m.Term() != 1 || !leader.IsLeader() {
				t.Errorf("%s from %d: leader %d in term %d", name, from, m.Leader(), m.Term())
			}
			if _, ok := m.ReadIndex(); !ok {
				t.Errorf("%s from %d: ReadIndex() = false when all is well", name, from)
			}
			g.settle()
			if len(m.reads) == 0 {
				t.Errorf("%s from %d: the read is not answered", name, from)
			}
		}
	}
}

// Without a leader, evidence that is not repeated is forgotten.
func TestEvidenceIsForgotten(t *testing.T) {
	for name, like := range forged {
		g := newGroup(t, Config{}, 1, 2, 3)
		leader, m := g.elect(1), g.member(2)
		g.write(leader, "x", 20)
		g.tick(leader, 1)
		g.member(1).down, g.member(3).down = true, true
		for range 5 {
			if err := m.Step(forge(like, 1, 2)); err != nil && !errors.Is(err, errEvidence) {
				t.Fatalf("%s: Step() = %v, want no conclusion", name, err)
			}
		}
		g.tick(m, 20)
		if !m.Suspicious() {
			t.Errorf("%s: forgotten after two election timeouts", name)
		}
		g.tick(m, 1)
		if m.Suspicious() {
			t.Errorf("%s: Suspicious() = true after more than two election timeouts", name)
		}
	}
}

// An answer to a read waits while the member is suspicious.
func TestReadWaitsForSuspicion(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader, m := g.elect(1), g.member(2)
	g.write(leader, "x", 20)
	g.tick(leader, 1)
	if _, ok := m.ReadIndex(); !ok {
		t.Fatal("ReadIndex() = false")
	}
	if err := m.Step(forge(forged["another entry"], 1, 2)); !errors.Is(err, errEvidence) {
		t.Fatalf("Step() = %v, want evidence", err)
	}
	leader.rn.ReportUnreachable(3)
	for range 20 { // without a heartbeat that says how much was confirmed
		for _, from := range g.members {
			sent, _ := from.do(t)
			for _, s := range sent {
				if s.GetType() == raftpb.MsgHeartbeat {
					s.Commit = nil
				}
			}
			g.deliver(sent)
		}
	}
	if !m.Suspicious() || len(m.reads) != 0 {
		t.Fatalf("Suspicious() = %v, answers %v; want none yet", m.Suspicious(), m.reads)
	}
	if _, ok := m.Work(); ok {
		t.Error("Work() = true for an answer that has to wait")
	}
	g.tick(leader, 1)
	if len(m.reads) != 1 {
		t.Errorf("answers = %v after it is cleared up, want one", m.reads)
	}
}

func TestSuspicion(t *testing.T) {
	type say struct {
		tick       int
		from, term uint64
	}
	tests := []struct {
		name string
		says []say
		want bool // the last one is enough
	}{
		{"once", []say{{0, 1, 1}}, false},
		{"often at once", []say{{0, 1, 1}, {0, 1, 1}, {0, 1, 1}, {0, 1, 1}}, false},
		{"twice in an election timeout", []say{{0, 1, 1}, {10, 1, 1}}, false},
		{"not quite long enough", []say{{0, 1, 1}, {5, 1, 1}, {9, 1, 1}}, false},
		{"over an election timeout", []say{{0, 1, 1}, {5, 1, 1}, {10, 1, 1}}, true},
		{"by different leaders", []say{{0, 1, 1}, {5, 1, 1}, {10, 2, 2}}, false},
		{"by the new leader", []say{{0, 1, 1}, {5, 1, 1}, {10, 2, 2}, {15, 2, 2}, {20, 2, 2}}, true},
		{"with too much time between", []say{{0, 1, 1}, {5, 1, 1}, {26, 1, 1}}, false},
	}
	for _, test := range tests {
		var s suspicion
		var got bool
		for _, w := range test.says {
			s.expire(w.tick, 10)
			got = s.add(w.from, w.term, 7, w.tick, 10)
		}
		if got != test.want {
			t.Errorf("%s: enough = %v, want %v", test.name, got, test.want)
		}
	}
}

// No frame uses up the terms.
func TestForgedTerm(t *testing.T) {
	for _, term := range []uint64{math.MaxUint64, maxTerm + 1, maxTerm, 1 + maxTermRise + 1} {
		for _, kind := range []raftpb.MessageType{
			raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote,
			raftpb.MsgPreVoteResp, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow,
		} {
			g := newGroup(t, Config{}, 1, 2, 3)
			leader := g.elect(1)
			for _, m := range g.members {
				forged := &raftpb.Message{Type: kind.Enum(), From: new(m.cfg.ID%3 + 1), To: new(m.cfg.ID), Term: new(term)}
				if err := m.Step(forged); !errors.Is(err, ErrMessage) {
					t.Errorf("Step(%v of term %d) = %v, want ErrMessage", kind, term, err)
				}
			}
			g.tick(leader, 2)
			for _, m := range g.members {
				if m.Term() != 1 || m.Leader() != 1 || m.log.hard.GetTerm() != 1 {
					t.Errorf("after a %v of term %d: term %d, saved %d, leader %d", kind, term, m.Term(), m.log.hard.GetTerm(), m.Leader())
				}
			}
		}
	}
}

// The highest term that is taken costs the group an election.
func TestHighestTerm(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	g.tick(g.elect(1), 1)
	g.tick(g.member(2), 10) // from here on the bound counts from term 1
	if err := g.member(2).Step(forge(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}, 1, 1+maxTermRise)); err != nil {
		t.Fatal(err)
	}
	// Many frames at once raise it no further.
	if err := g.member(2).Step(forge(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}, 1, 2+maxTermRise)); !errors.Is(err, ErrMessage) {
		t.Errorf("Step() = %v, want ErrMessage", err)
	}
	g.agree(60)
}

// A forger that goes on raises the term little by little.
func TestForgedTermsInARow(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	g.elect(1)
	m := g.member(2)
	for tick := uint64(1); tick <= 100; tick++ {
		_ = m.Step(forge(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}, 1, maxTerm))
		m.Tick()
		m.answers(t, true)
		if limit := 10 + (1+tick/10)*maxTermRise; m.Term() > limit {
			t.Fatalf("term %d after %d ticks, want at most %d", m.Term(), tick, limit)
		}
	}
	g.agree(500)
}

// A member that forged frames have brought far beyond the others' terms brings them
// along, and one that begins long after the others follows them.
func TestTermsFarApart(t *testing.T) {
	const far = 3 * maxTermRise
	for _, ahead := range [][]uint64{{1}, {2, 3}, {1, 2}} {
		g := &group{t: t}
		for id := uint64(1); id <= 3; id++ {
			st := State{Conf: voters(1, 2, 3)}
			for _, a := range ahead {
				if a == id {
					st.Hard = &raftpb.HardState{Term: new(uint64(far))}
				}
			}
			g.members = append(g.members, newMember(t, Config{ID: id}, st, &recordLog{}))
		}
		g.agree(500)
	}
}

// agree lets time pass until all members have one leader.
func (g *group) agree(ticks int) {
	g.t.Helper()
	for range ticks {
		for _, m := range g.members {
			m.Tick()
		}
		g.settle()
		first := g.members[0]
		ok := first.Leader() != 0
		for _, m := range g.members {
			ok = ok && m.Leader() == first.Leader() && m.Term() == first.Term()
		}
		if ok {
			return
		}
	}
	for _, m := range g.members {
		g.t.Errorf("member %d: term %d, leader %d", m.cfg.ID, m.Term(), m.Leader())
	}
}

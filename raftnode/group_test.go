package raftnode

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
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
	ended   error // ErrLost or ErrDiverged
}

// group is a set of members with a network that loses nothing but what is sent
// to members that are down.
type group struct {
	t         *testing.T
	members   []*member
	delivered int // messages that reached a member
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
	for _, e := range c.Entries {
		if cc := change(e); cc != nil {
			m.ApplyConfChange(cc)
		}
	}
	m.Applied(c)
}

// change is the configuration change in an entry; nil in any other.
func change(e *raftpb.Entry) *raftpb.ConfChange {
	if e.GetType() != raftpb.EntryConfChange {
		return nil
	}
	cc := &raftpb.ConfChange{}
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		panic(err)
	}
	return cc
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
	turns := 0
	for busy := true; busy; turns++ {
		if busy = false; turns == 10_000 {
			g.t.Fatal("the members talk without end")
		}
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
		to := g.member(m.GetTo())
		if to == nil || to.down {
			continue
		}
		g.delivered++
		g.checkAck(m, to)
		err := to.Step(m) // a refused message is as good as lost
		if errors.Is(err, ErrLost) || errors.Is(err, ErrDiverged) {
			to.ended, to.down = err, true
		}
	}
}

// checkAck checks that a member has what it acknowledges: durable, and the same as
// its leader, as far as both logs go back.
func (g *group) checkAck(m *raftpb.Message, leader *member) {
	g.t.Helper()
	from := g.member(m.GetFrom())
	if m.GetType() != raftpb.MsgAppResp || m.GetReject() || m.GetTerm() != leader.Term() || from == nil {
		return
	}
	if last, _ := from.mem.LastIndex(); m.GetIndex() > last {
		g.t.Fatalf("member %d acknowledges entry %d, its durable log ends at %d", from.cfg.ID, m.GetIndex(), last)
	}
	for i := m.GetIndex(); i > 0; i-- {
		own, err := from.mem.Term(i)
		theirs, err2 := leader.mem.Term(i)
		if err != nil || err2 != nil {
			return
		}
		if own != theirs {
			g.t.Fatalf("member %d acknowledges entry %d, but its entry %d is of term %d, the leader's of term %d",
				from.cfg.ID, m.GetIndex(), i, own, theirs)
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

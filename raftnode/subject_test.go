package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// subject is the member under test. Its disk and its applier work only when the test
// lets them, it may crash at any time, and everything it promises is checked.
type subject struct {
	t    *testing.T
	id   uint64
	core *Core
	w    *Writer
	disk subjectDisk
	ckpt subjectCheckpoint
	over error // ErrLost or ErrDiverged in this life

	appends    []Append
	applies    []Committed
	installing bool

	applied   uint64
	committed map[uint64]*raftpb.Entry // all that was ever applied
	commit    uint64                   // of this life
	grants    map[uint64]uint64        // votes by term
	told      map[claim]bool           // what leaders have said of their logs
	word      map[[2]uint64]uint64     // the same, the entry's term by term of leadership and index
	forked    map[uint64]bool          // terms of which leaders have said different things
	verified  map[[2]uint64]uint64     // by leader and term: what was rightly acknowledged
	reads     uint64
}

// claim is a leader's word that an entry of its log is of a term.
type claim struct{ leader, leads, index, term uint64 }

type subjectCheckpoint struct {
	index, term uint64
	conf        *raftpb.ConfState
}

// subjectDisk is a log that forgets nothing and checks what it is given.
type subjectDisk struct {
	recordLog
	t *testing.T
}

func (d *subjectDisk) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	if old := d.hard; hard != nil {
		if hard.GetTerm() < old.GetTerm() || hard.GetTerm() > maxTerm {
			d.t.Fatalf("saves term %d after %d", hard.GetTerm(), old.GetTerm())
		}
		if hard.GetTerm() == old.GetTerm() && old.GetVote() != 0 && hard.GetVote() != old.GetVote() {
			d.t.Fatalf("saves vote %d in term %d after vote %d", hard.GetVote(), hard.GetTerm(), old.GetVote())
		}
	}
	if len(entries) > 0 {
		if first := entries[0].GetIndex(); first <= d.prevIndex || first > d.last()+1 || first <= d.hard.GetCommit() {
			d.t.Fatalf("saves entries from %d in a log of (%d, %d], committed %d", first, d.prevIndex, d.last(), d.hard.GetCommit())
		}
	}
	if err := d.recordLog.Save(hard, entries); err != nil {
		return err
	}
	if hard != nil {
		d.hard = hard
	}
	return nil
}

func (d *subjectDisk) last() uint64 { return d.prevIndex + uint64(len(d.entries)) }

// term is that of a durable entry; false when it is not there.
func (d *subjectDisk) term(index uint64) (uint64, bool) {
	switch {
	case index == d.prevIndex:
		return d.prevTerm, true
	case index < d.prevIndex || index > d.last():
		return 0, false
	}
	return d.entries[index-d.prevIndex-1].GetTerm(), true
}

func newSubject(t *testing.T, id uint64, conf *raftpb.ConfState) *subject {
	s := &subject{
		t: t, id: id, ckpt: subjectCheckpoint{conf: conf}, disk: subjectDisk{t: t},
		committed: map[uint64]*raftpb.Entry{}, grants: map[uint64]uint64{}, told: map[claim]bool{}, word: map[[2]uint64]uint64{}, forked: map[uint64]bool{}, verified: map[[2]uint64]uint64{},
	}
	s.start()
	return s
}

func (s *subject) config() Config {
	return Config{ID: s.id, Election: 4, TailEntries: 2, MaxMessageBytes: 100, MaxInflightMessages: 3, MaxUncommittedBytes: 500, MaxApplyingBytes: 200}
}

// start begins a life with what is durable.
func (s *subject) start() {
	var err error
	s.core, s.w, err = NewCore(s.config(), s.disk.state(s.ckpt.conf, s.ckpt.index, s.ckpt.term), &s.disk)
	if err != nil {
		s.t.Fatalf("does not start again: %v", err)
	}
	s.appends, s.applies, s.installing, s.over = nil, nil, false, nil
	s.applied, s.commit = s.ckpt.index, s.core.Commit()
	for i := range s.committed { // what was not known to be committed for certain
		if i > s.commit {
			delete(s.committed, i)
		}
	}
	s.pump()
}

func (s *subject) step(m *raftpb.Message) {
	s.hear(m)
	err := s.core.Step(m)
	if errors.Is(err, ErrLost) || errors.Is(err, ErrDiverged) {
		s.over = err
		s.start() // the operator tries again
	}
}

// hear notes what a leader says of its log.
func (s *subject) hear(m *raftpb.Message) {
	say := func(index, term uint64) {
		s.told[claim{m.GetFrom(), m.GetTerm(), index, term}] = true
		at := [2]uint64{m.GetTerm(), index}
		if old, ok := s.word[at]; ok && old != term {
			s.forked[m.GetTerm()] = true
		}
		s.word[at] = term
	}
	switch m.GetType() {
	case raftpb.MsgApp:
		say(m.GetIndex(), m.GetLogTerm())
		for _, e := range m.GetEntries() {
			say(e.GetIndex(), e.GetTerm())
		}
	case raftpb.MsgSnap:
		say(m.GetSnapshot().GetMetadata().GetIndex(), m.GetSnapshot().GetMetadata().GetTerm())
	}
}

// pump has the work done that takes no time.
func (s *subject) pump() {
	for range 1000 {
		w, ok := s.core.Work()
		if s.core.Commit() < s.commit {
			s.t.Fatalf("commit index %d after %d", s.core.Commit(), s.commit)
		}
		s.commit = s.core.Commit()
		if !ok {
			return
		}
		for _, m := range w.Send {
			s.sent(m)
		}
		if w.Append != nil {
			s.appends = append(s.appends, *w.Append)
		}
		if w.Apply != nil {
			s.applies = append(s.applies, *w.Apply)
		}
		for _, r := range w.Reads {
			if r.Round <= s.reads && s.core.Suspicious() {
				s.t.Fatalf("answers round %d again, or while it is suspicious", r.Round)
			}
		}
	}
	s.t.Fatal("finds work for ever")
}

// sent checks the promises in what leaves the member.
func (s *subject) sent(m *raftpb.Message) {
	if m.GetFrom() != s.id || m.GetTo() == s.id || m.GetTo() == 0 {
		if m.GetType() != raftpb.MsgReadIndex { // which is passed on
			s.t.Fatalf("sends a %v from %d to %d", m.GetType(), m.GetFrom(), m.GetTo())
		}
	}
	switch m.GetType() {
	case raftpb.MsgAppResp:
		if !m.GetReject() && m.GetIndex() > 0 {
			s.acknowledged(m.GetTo(), m.GetTerm(), m.GetIndex())
		}
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			s.voted(m.GetTerm(), m.GetTo())
		}
	case raftpb.MsgVote:
		s.voted(m.GetTerm(), s.id)
	case raftpb.MsgHeartbeatResp:
		if bytes.Equal(m.GetContext(), verifiedContext) {
			s.t.Fatal("answers its own heartbeat")
		}
	}
}

func (s *subject) acknowledged(to, term, index uint64) {
	own, ok := s.disk.term(index)
	leader := [2]uint64{to, term}
	switch {
	case term < s.disk.hard.GetTerm():
		// It may be late. What replaced the entries is of a leader that was elected
		// without this member's word, or had them.
	case index > s.disk.last():
		s.t.Fatalf("acknowledges entry %d to %d, durable up to %d", index, to, s.disk.last())
	case s.forked[term], index < s.disk.prevIndex: // nobody can tell any more
	case ok && s.told[claim{to, term, index, own}]:
		s.verified[leader] = max(s.verified[leader], index)
	case index <= s.verified[leader]:
	default:
		s.t.Fatalf("acknowledges entry %d of term %d to %d, which leads in term %d and has not told of it", index, own, to, term)
	}
}

func (s *subject) voted(term, vote uint64) {
	if old := s.grants[term]; old != 0 && old != vote {
		s.t.Fatalf("votes for %d in term %d, has voted for %d", vote, term, old)
	}
	s.grants[term] = vote
	if hard := s.disk.hard; hard.GetTerm() < term || hard.GetTerm() == term && hard.GetVote() != vote {
		s.t.Fatalf("votes for %d in term %d, durable is vote %d in term %d", vote, term, hard.GetVote(), hard.GetTerm())
	}
}

// save is the writer's turn.
func (s *subject) save() {
	n := 0
	for n < len(s.appends) && s.appends[n].Snapshot == nil {
		n++
	}
	switch {
	case s.installing || len(s.appends) == 0:
		return
	case n == 0:
		s.installing = true
		s.applies = append(s.applies, Committed{Snapshot: s.appends[0].Snapshot})
		return
	}
	responses, err := s.w.Save(s.appends[:n])
	if err != nil {
		s.t.Fatal(err)
	}
	s.appends = s.appends[n:]
	s.core.Saved(responses)
}

// apply is the applier's turn. With crash, a snapshot is durable and the log is not.
func (s *subject) apply(crash bool) {
	if len(s.applies) == 0 {
		return
	}
	c := s.applies[0]
	s.applies = s.applies[1:]
	if c.Snapshot != nil {
		s.install(c.Snapshot.GetMetadata(), crash)
		return
	}
	for _, e := range c.Entries {
		i := e.GetIndex()
		if i != s.applied+1 {
			s.t.Fatalf("applies entry %d after %d", i, s.applied)
		}
		if old := s.committed[i]; old != nil && (old.GetTerm() != e.GetTerm() || !bytes.Equal(old.GetData(), e.GetData())) {
			s.t.Fatalf("applies entry %d of term %d, which was of term %d", i, e.GetTerm(), old.GetTerm())
		}
		if own, ok := s.disk.term(i); !ok || own != e.GetTerm() {
			s.t.Fatalf("applies entry %d of term %d, durable is term %d", i, e.GetTerm(), own)
		}
		s.applied, s.committed[i] = i, e
		if cc := change(e); cc != nil && fits(s.core.Conf(), cc) {
			s.core.ApplyConfChange(cc)
		}
	}
	s.core.Applied(c)
}

func (s *subject) install(meta *raftpb.SnapshotMetadata, crash bool) {
	if meta.GetIndex() <= s.applied {
		s.t.Fatalf("installs a snapshot at %d, has applied %d", meta.GetIndex(), s.applied)
	}
	s.ckpt = subjectCheckpoint{meta.GetIndex(), meta.GetTerm(), meta.GetConfState()}
	s.applied = meta.GetIndex()
	if crash {
		s.start()
		return
	}
	responses, err := s.w.Install(s.appends[0])
	if err != nil {
		s.t.Fatal(err)
	}
	s.appends, s.installing = s.appends[1:], false
	s.core.Saved(responses)
}

// checkpoint makes what is applied durable.
func (s *subject) checkpoint() {
	e := s.committed[s.applied]
	if e == nil || s.applied <= s.ckpt.index || s.installing {
		return
	}
	s.ckpt = subjectCheckpoint{s.applied, e.GetTerm(), s.core.Conf()}
	if _, err := s.core.Compact(s.applied, s.ckpt.conf); err != nil {
		s.t.Fatal(err)
	}
}

// newest are the entries that are saved last.
func (s *subject) newest() *Append {
	for i := len(s.appends) - 1; i >= 0; i-- {
		if a := &s.appends[i]; a.Snapshot != nil || len(a.Entries) > 0 {
			return a
		}
	}
	return nil
}

// end is where the log will end.
func (s *subject) end() uint64 {
	switch a := s.newest(); {
	case a == nil:
		return s.disk.last()
	case len(a.Entries) > 0:
		return a.Entries[len(a.Entries)-1].GetIndex()
	default:
		return a.Snapshot.GetMetadata().GetIndex()
	}
}

// term is that of an entry of the log, as far as it has been handed out; 0 when
// there is none.
func (s *subject) term(index uint64) uint64 {
	for i := len(s.appends) - 1; i >= 0; i-- {
		for _, e := range s.appends[i].Entries {
			if e.GetIndex() == index {
				return e.GetTerm()
			}
		}
		if meta := s.appends[i].Snapshot.GetMetadata(); meta.GetIndex() == index {
			return meta.GetTerm()
		}
	}
	term, _ := s.disk.term(index)
	return term
}

// fits reports whether a change can be made, which the state machine decides.
func fits(conf *raftpb.ConfState, cc *raftpb.ConfChange) (ok bool) {
	defer func() { ok = recover() == nil && ok }()
	next := changed(conf, cc)
	return len(next.GetVoters()) > 0 && cc.GetNodeId() != 0
}

func (s *subject) String() string {
	return fmt.Sprintf("member %d: term %d, commit %d, applied %d, durable (%d, %d]", s.id, s.core.Term(), s.commit, s.applied, s.disk.prevIndex, s.disk.last())
}

// rest lets everything come to an end: disk, applier, messages.
func (s *subject) rest() {
	for range 50 {
		s.pump()
		s.save()
		s.pump()
		s.apply(false)
	}
}

func learners(conf *raftpb.ConfState, ids ...uint64) *raftpb.ConfState {
	conf.Learners = slices.Clone(ids)
	return conf
}

package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/wal"
)

func seededDisk(seed uint64) *sim.Disk { return sim.NewDisk(rand.New(rand.NewPCG(seed, 2))) }

// model is what a log must hold.
type model struct {
	term, vote uint64
	commit     uint64 // the last saved; the log may be behind, down to durable
	durable    uint64
	base       uint64 // superseded by a snapshot up to here
	baseTerm   uint64
	released   uint64
	entries    []*raftpb.Entry // behind base
}

func (m model) last() uint64 { return m.base + uint64(len(m.entries)) }

func (m model) termAt(index uint64) uint64 {
	if index == m.base {
		return m.baseTerm
	}
	return m.entries[index-m.base-1].GetTerm()
}

// saved is the model after a Save.
func (m model) saved(term, vote, commit uint64, es []*raftpb.Entry) model {
	wrote := len(es) > 0 || term != m.term || vote != m.vote
	m.term, m.vote, m.commit = term, vote, commit
	if wrote {
		m.durable = commit
	}
	if len(es) > 0 {
		m.entries = append(slices.Clone(m.entries[:es[0].GetIndex()-m.base-1]), es...)
	}
	return m
}

// restarted is the model after a Restart.
func (m model) restarted(index, term uint64) model {
	m.base, m.baseTerm, m.entries = index, term, nil
	m.commit = max(m.commit, index)
	m.durable = m.commit
	if m.term < term {
		m.term, m.vote = term, 0
	}
	return m
}

// check tells what of an opened log the model does not allow.
func (m model) check(st wal.State) error {
	switch hs := st.Hard; {
	case hs.GetTerm() != m.term || hs.GetVote() != m.vote:
		return fmt.Errorf("term %d and vote %d, want %d and %d", hs.GetTerm(), hs.GetVote(), m.term, m.vote)
	case hs.GetCommit() < m.durable || hs.GetCommit() > m.commit:
		return fmt.Errorf("commit %d, want %d to %d", hs.GetCommit(), m.durable, m.commit)
	case st.PrevIndex < m.base || st.PrevIndex > max(m.base, m.released):
		return fmt.Errorf("log begins after %d, want %d to %d", st.PrevIndex, m.base, m.released)
	case st.PrevTerm != m.termAt(st.PrevIndex):
		return fmt.Errorf("term %d before the first entry, want %d", st.PrevTerm, m.termAt(st.PrevIndex))
	}
	want := m.entries[st.PrevIndex-m.base:]
	if len(st.Entries) != len(want) {
		return fmt.Errorf("%d entries after %d, want %d", len(st.Entries), st.PrevIndex, len(want))
	}
	for i, e := range st.Entries {
		w := want[i]
		if e.GetIndex() != w.GetIndex() || e.GetTerm() != w.GetTerm() || e.GetType() != w.GetType() ||
			string(e.GetData()) != string(w.GetData()) {
			return fmt.Errorf("entry %v, want %v", e, w)
		}
	}
	return nil
}

// story is one seeded life of a log.
type story struct {
	rng  *rand.Rand
	disk *sim.Disk
	cfg  wal.Config
	log  *wal.Log
	is   model
	may  []model // what a failed call may have left
	full int     // times that the disk was full
}

func newStory(t *testing.T, seed uint64) *story {
	s := &story{rng: rand.New(rand.NewPCG(seed, 3)), disk: seededDisk(seed)}
	s.cfg = wal.Config{Dir: dir, FS: s.disk, SegmentBytes: 1500}
	s.log = mustCreate(t, s.cfg)
	return s
}

// step does one thing at random.
func (s *story) step() error {
	switch n := s.rng.IntN(100); {
	case n < 60:
		return s.save()
	case n < 65:
		return s.restart()
	case n < 75:
		return s.release()
	case n < 80:
		s.disk.StopAfter(s.rng.IntN(12))
	case n < 82:
		s.disk.FailSync(1 + s.rng.IntN(4))
	case n < 84:
		s.disk.FailWrite(1 + s.rng.IntN(4))
	case n < 86:
		s.disk.SetFull(s.rng.Int64N(4000))
	case n < 88:
		s.disk.SetFull(-1)
	case n < 92:
		s.disk.Kill()
		return s.open()
	case n < 98:
		s.disk.Crash()
		return s.open()
	default:
		if s.log.Close() == nil && s.may == nil {
			s.is.durable = s.is.commit
		}
		s.disk.Kill()
		return s.open()
	}
	return nil
}

// did takes a call's outcome into the model: all of it, or, when it failed, all or
// nothing, to be seen at the next open.
func (s *story) did(err error, after model) {
	if err == nil {
		s.is = after
		return
	}
	if !errors.Is(err, sim.ErrDown) || len(s.may) == 0 {
		s.may = append(s.may, after)
	}
}

func (s *story) save() error {
	if s.may != nil {
		return s.refuses()
	}
	m := s.is
	term, vote, commit := m.term, m.vote, m.commit
	if s.rng.IntN(5) == 0 {
		term, vote = term+1, s.rng.Uint64N(4)
	}
	var es []*raftpb.Entry
	first := m.last() + 1
	if floor := max(m.commit, m.base, m.released); m.last() > floor && s.rng.IntN(8) == 0 {
		first = floor + 1 + s.rng.Uint64N(m.last()-floor)
	}
	for i := range s.rng.Uint64N(4) {
		data := make([]byte, s.rng.IntN(1+s.rng.IntN(1200)))
		if s.rng.IntN(3) > 0 {
			for j := range data {
				data[j] = byte(s.rng.Uint32())
			}
		}
		es = append(es, entry(first+i, max(term, 1), raftpb.EntryType(s.rng.IntN(3)), data))
	}
	last := m.last()
	if len(es) > 0 {
		last = es[len(es)-1].GetIndex()
	}
	if commit < last {
		commit += s.rng.Uint64N(last - commit + 1)
	}
	var hs *raftpb.HardState
	if term != m.term || vote != m.vote || commit != m.commit {
		hs = hard(term, vote, commit)
	}
	err := s.log.Save(hs, es)
	if errors.Is(err, wal.ErrFull) {
		s.full++ // nothing has happened, and the story goes on
		return nil
	}
	s.did(err, m.saved(term, vote, commit, es))
	return nil
}

// refuses checks that a log which failed once does not go on.
func (s *story) refuses() error {
	if err := s.log.Save(hard(1<<40, 1, 0), nil); err == nil {
		return errors.New("Save works again after a failure")
	}
	if err := s.log.Restart(1<<40, 1<<40); err == nil {
		return errors.New("Restart works after a failure")
	}
	return nil
}

func (s *story) restart() error {
	if s.may != nil {
		return s.refuses()
	}
	index, term := max(s.is.commit, s.is.base, s.is.released)+s.rng.Uint64N(10), s.is.term+s.rng.Uint64N(2)
	s.did(s.log.Restart(index, term), s.is.restarted(index, term))
	return nil
}

func (s *story) release() error {
	index := max(s.is.commit, s.is.base)
	s.is.released = max(s.is.released, index)
	for i := range s.may {
		s.may[i].released = max(s.may[i].released, index)
	}
	// Failing costs room only, and the disk may well be down.
	_ = s.log.Release(index)
	return nil
}

func (s *story) open() error {
	s.disk.SetFull(-1)
	l, st, err := wal.Open(s.cfg)
	if err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	s.log = l
	wrong := s.is.check(st)
	for _, m := range s.may {
		if wrong == nil {
			break
		}
		if wrong = m.check(st); wrong == nil {
			s.is = m
		}
	}
	s.may = nil
	// What has been read is durable now, and the commit index is as read.
	s.is.commit, s.is.durable = st.Hard.GetCommit(), st.Hard.GetCommit()
	return wrong
}

func TestStories(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	full := 0
	for seed := range seeds {
		s := newStory(t, seed)
		for i := range 80 {
			if err := s.step(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		full += s.full
	}
	if full == 0 {
		t.Error("no story met a full disk")
	}
}

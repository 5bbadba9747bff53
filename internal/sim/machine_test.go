package sim_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/raftnode"
	"etcd2/store"
	"etcd2/wal"
)

// storeConfig keeps the history short, so that it moves on within a run.
func storeConfig() store.Config { return store.Config{HistoryEvents: 50} }

// machine is one member and its disk. The disk and the checkpoint survive a
// crash, everything else is made anew by start.
type machine struct {
	id      uint64
	cluster *cluster
	disk    *sim.Disk
	ckpt    *checkpoint // durable; nil before the first
	saved   *saved      // what the log has promised to keep
	crashes int

	slowDisk, slowApply, slowClock int // stand still until this step

	up      bool
	log     *wal.Log
	core    *raftnode.Core
	writer  *raftnode.Writer
	store   *store.Store
	applied uint64
	term    uint64 // of the entry at applied
	conf    *raftpb.ConfState

	appends    []raftnode.Append    // for the writer
	installing bool                 // the writer waits for the applier
	applies    []raftnode.Committed // for the applier
	cutting    *cut                 // a checkpoint that is being written
	writes     map[uint64]*request  // by id, proposed here
	reads      []*request           // asked here, in order of their rounds
}

// saved is what a log must still hold after any crash.
type saved struct {
	first      uint64   // index of terms[0]
	terms      []uint64 // of the entries
	term, vote uint64
}

func newMachine(c *cluster, id uint64) *machine {
	return &machine{
		id:      id,
		cluster: c,
		disk:    sim.NewDisk(rand.New(rand.NewPCG(c.seed, id))),
		saved:   &saved{first: 1},
	}
}

func (m *machine) walConfig() wal.Config {
	return wal.Config{Dir: "/member/wal", FS: m.disk, SegmentBytes: 8 << 10}
}

// start brings a machine up from its disk.
func (m *machine) start() error {
	log, st, err := wal.Open(m.walConfig())
	if errors.Is(err, wal.ErrNoLog) {
		log, err = wal.Create(m.walConfig(), nil)
	}
	if err != nil {
		return err
	}
	if err := m.saved.check(st, m.ckpt); err != nil {
		return err
	}
	state := raftnode.State{
		Hard: st.Hard, Entries: st.Entries, PrevIndex: st.PrevIndex, PrevTerm: st.PrevTerm,
		Conf: &raftpb.ConfState{Voters: m.cluster.ids()},
	}
	m.store = store.New(storeConfig())
	if m.ckpt != nil {
		if m.store, err = m.ckpt.load(storeConfig()); err != nil {
			return err
		}
		state.Conf, state.Applied, state.AppliedTerm = m.ckpt.conf, m.ckpt.index, m.ckpt.term
	}
	m.core, m.writer, err = raftnode.NewCore(m.cluster.core(m.id), state, keeper{log, m.saved})
	if err != nil {
		return err
	}
	m.log, m.up = log, true
	m.applied, m.term, m.conf = state.Applied, state.AppliedTerm, state.Conf
	m.appends, m.installing, m.applies, m.cutting = nil, false, nil, nil
	m.writes, m.reads = map[uint64]*request{}, nil
	return nil
}

// keeper notes what a log has promised.
type keeper struct {
	log   *wal.Log
	saved *saved
}

// Save is raftnode.Log's.
func (k keeper) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	if err := k.log.Save(hard, entries); err != nil {
		return err
	}
	if hard != nil {
		k.saved.term, k.saved.vote = hard.GetTerm(), hard.GetVote()
	}
	if len(entries) > 0 {
		k.saved.terms = k.saved.terms[:entries[0].GetIndex()-k.saved.first]
		for _, e := range entries {
			k.saved.terms = append(k.saved.terms, e.GetTerm())
		}
	}
	return nil
}

// Restart is raftnode.Log's.
func (k keeper) Restart(index, term uint64) error {
	if err := k.log.Restart(index, term); err != nil {
		return err
	}
	k.saved.first, k.saved.terms = index+1, nil
	return nil
}

// holds tells whether the log has an entry, or a checkpoint that includes it.
func (m *machine) holds(index, term uint64) bool {
	if m.ckpt != nil && index <= m.ckpt.index {
		return true
	}
	i := index - m.saved.first
	return index >= m.saved.first && i < uint64(len(m.saved.terms)) && m.saved.terms[i] == term
}

// check compares what was found in a log with what was promised. A save that
// was under way may have reached the disk as well; then there is more, or other
// entries of a later term in place of a suffix.
func (s *saved) check(st wal.State, ckpt *checkpoint) error {
	if st.Hard.GetTerm() < s.term || st.Hard.GetTerm() == s.term && s.vote != 0 && st.Hard.GetVote() != s.vote {
		return fmt.Errorf("log has term %d and vote %d, saved were %d and %d", st.Hard.GetTerm(), st.Hard.GetVote(), s.term, s.vote)
	}
	found := st.PrevIndex + uint64(len(st.Entries))
	replaced := false
	for i, term := range s.terms {
		index := s.first + uint64(i)
		switch {
		case ckpt != nil && index <= ckpt.index:
			continue
		case index > found && !replaced:
			return fmt.Errorf("log ends at %d, saved up to %d", found, s.first+uint64(len(s.terms))-1)
		case index > found || index <= st.PrevIndex:
			continue
		}
		got := st.Entries[index-st.PrevIndex-1].GetTerm()
		if got < term {
			return fmt.Errorf("log has term %d at %d, saved was %d", got, index, term)
		}
		replaced = replaced || got > term
	}
	*s = saved{first: st.PrevIndex + 1, term: st.Hard.GetTerm(), vote: st.Hard.GetVote()}
	for _, e := range st.Entries {
		s.terms = append(s.terms, e.GetTerm())
	}
	return nil
}

// crash ends the member; with power lost, unsynced bytes are at the mercy of the
// disk.
func (m *machine) crash(power bool) {
	m.crashes++
	m.up = false
	if power {
		m.disk.Crash()
	} else {
		m.disk.Kill()
	}
}

// pump carries out what costs no time and queues the rest.
func (m *machine) pump() {
	for m.up {
		w, ok := m.core.Work()
		if !ok {
			return
		}
		m.cluster.send(m, w.Send)
		if w.Append != nil {
			m.appends = append(m.appends, *w.Append)
		}
		if w.Apply != nil {
			m.applies = append(m.applies, *w.Apply)
		}
		for _, r := range w.Reads {
			for _, q := range m.reads {
				if q.round <= r.Round && q.readIndex == 0 {
					q.readIndex = r.Index
				}
			}
			m.finishReads()
		}
	}
}

// save is the writer's turn: all appends up to the next snapshot.
func (m *machine) save() {
	if len(m.appends) == 0 || m.installing {
		return
	}
	n := 0
	for n < len(m.appends) && m.appends[n].Snapshot == nil {
		n++
	}
	if n == 0 {
		m.installing = true
		m.applies = append(m.applies, raftnode.Committed{Snapshot: m.appends[0].Snapshot})
		return
	}
	responses, err := m.writer.Save(m.appends[:n])
	if err != nil {
		m.fail(err)
		return
	}
	m.appends = m.appends[n:]
	m.core.Saved(responses)
}

// apply is the applier's turn: one batch.
func (m *machine) apply() {
	if len(m.applies) == 0 {
		return
	}
	c := m.applies[0]
	m.applies = m.applies[1:]
	if c.Snapshot != nil {
		m.install(c.Snapshot)
		return
	}
	for _, e := range c.Entries {
		m.applyEntry(e)
	}
	m.core.Applied(c)
	m.finishReads()
}

// install puts a received checkpoint in place of the own one, then lets the
// writer go on. In between, the power may fail.
func (m *machine) install(s *raftpb.Snapshot) {
	ckpt := m.cluster.checkpoints[binary.LittleEndian.Uint64(s.GetData())]
	if ckpt.index <= m.applied {
		m.cluster.t.Fatalf("%v: member %d gets a snapshot at %d, has applied %d", m.cluster, m.id, ckpt.index, m.applied)
	}
	var err error
	if m.store, err = ckpt.load(storeConfig()); err != nil {
		m.cluster.t.Fatalf("%v: member %d cannot load a checkpoint: %v", m.cluster, m.id, err)
	}
	m.ckpt, m.cutting = ckpt, nil
	m.applied, m.term, m.conf = ckpt.index, ckpt.term, ckpt.conf
	if m.cluster.faults.CrashPer10k > 0 && m.cluster.rng.IntN(5) == 0 {
		m.crash(true)
		return
	}
	responses, err := m.writer.Install(m.appends[0])
	if err == nil {
		err = m.log.Release(ckpt.index)
	}
	if err != nil {
		m.fail(err)
		return
	}
	m.appends, m.installing = m.appends[1:], false
	m.core.Saved(responses)
	m.finishReads()
}

func (m *machine) applyEntry(e *raftpb.Entry) {
	if e.GetIndex() != m.applied+1 {
		m.cluster.t.Fatalf("%v: member %d applies %d after %d", m.cluster, m.id, e.GetIndex(), m.applied)
	}
	m.cluster.history.commit(m, e)
	m.applied, m.term = e.GetIndex(), e.GetTerm()
	id, op := decode(m.cluster.t, e)
	if id != 0 {
		_, _ = m.store.Apply(op) // a refusal is an outcome like any other
	}
	m.cluster.history.compare(m)
	if q := m.writes[id]; q != nil {
		delete(m.writes, id)
		m.cluster.history.finish(m, q, e.GetIndex())
	}
}

// finishReads answers the reads whose index has been applied.
func (m *machine) finishReads() {
	for len(m.reads) > 0 && m.reads[0].readIndex > 0 && m.reads[0].readIndex <= m.applied {
		q := m.reads[0]
		m.reads = m.reads[1:]
		m.cluster.history.finish(m, q, m.applied)
	}
}

// checkpoint begins a checkpoint or ends the one begun before.
func (m *machine) checkpoint() {
	switch {
	case m.cutting == nil && m.applied > 0:
		delta := m.store.Cut()
		if m.ckpt == nil {
			delta = m.store.CutFull()
		}
		m.cutting = &cut{delta: delta, index: m.applied, term: m.term, conf: m.conf}
	case m.cutting != nil:
		if m.ckpt == nil {
			m.ckpt = &checkpoint{}
		}
		m.ckpt = m.ckpt.with(*m.cutting)
		m.cutting = nil
		released, err := m.core.Compact(m.ckpt.index, m.ckpt.conf)
		if err == nil && released > 0 {
			err = m.log.Release(released)
		}
		if err != nil {
			m.fail(err)
		}
	}
}

// fail is what a member does when its disk fails it: it stops.
func (m *machine) fail(err error) {
	if !m.cluster.diskFails {
		m.cluster.t.Fatalf("%v: member %d: %v", m.cluster, m.id, err)
	}
	m.crash(m.cluster.rng.IntN(2) == 0)
}

func encode(id uint64, op store.Op) []byte {
	return op.AppendBinary(binary.LittleEndian.AppendUint64(nil, id))
}

// decode returns id 0 for the empty entry of a new leader.
func decode(t fataler, e *raftpb.Entry) (id uint64, op store.Op) {
	if len(e.GetData()) == 0 {
		return 0, op
	}
	op, err := store.ParseOp(e.GetData()[8:])
	if err != nil {
		t.Fatalf("entry %d: %v", e.GetIndex(), err)
	}
	return binary.LittleEndian.Uint64(e.GetData()), op
}

type fataler interface {
	Fatalf(format string, args ...any)
}

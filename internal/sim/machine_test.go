package sim_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/internal/sim"
	"etcd2/localstate"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
	"etcd2/wal"
)

// historyEvents is short, so that the history moves on within a run.
const historyEvents = 50

func storeConfig() store.Config {
	return store.Config{HistoryEvents: historyEvents, WatchQueue: 20}
}

// machine is one member and its disk. The disk and the checkpoint survive a
// crash, everything else is made anew by start.
type machine struct {
	id      uint64
	cluster *cluster
	disk    *sim.Disk
	ckpt    *checkpoint // durable; nil before the first
	saved   *saved      // what the log has promised to keep
	crashes int
	life    int // starts so far
	clocks  localClock
	note    replica.Reading // cluster time as noted on the disk
	noteDue int64           // real time of the next note

	slowDisk, slowApply, slowClock int // stand still until this step

	awaited bool // not started before the group has added it
	gone    bool // removed and stopped for good, or lost with its disk
	// excluded says that the machine came back without its data, or as a cluster of its
	// own. It runs, and the group must refuse it. Excluded machines may make a group among
	// themselves, so what they apply is not judged; that they have no part in the group is.
	excluded bool
	forced   bool // excluded since an operator made it a cluster of its own

	local   *localstate.File // nil before the first start
	session string
	backup  *backup // nil for none
	lost    *backup // what it had before it lost its data; nil for one that did not

	up      bool
	log     *wal.Log
	core    *raftnode.Core
	writer  *raftnode.Writer
	replica *replica.Replica
	clock   replica.Clock
	heard   []heartbeat // that raft has accepted in this life
	applied uint64
	term    uint64            // of the entry at applied
	conf    *raftpb.ConfState // raft's
	role    role
	fresh   heartbeat // the latest of the leader of the last entry's term, as long as that lasts
	expiry  int64     // real time before which no other expiry is proposed

	appends    []raftnode.Append    // for the writer
	installing bool                 // the writer waits for the applier
	applies    []raftnode.Committed // for the applier
	received   []*checkpoint        // announced by appends, in order
	cutting    *cut                 // a checkpoint that is being written

	queue   []proposal          // for the leader, whoever that is
	refused []proposal          // by the leader, for the queue again at the next tick
	writes  map[uint64]*request // by id, waiting here for their outcome
	reads   []*request          // asked here, in order of their rounds
	changes map[uint64]*change  // by request, waiting here for their outcome
}

func newMachine(c *cluster, id uint64) *machine {
	return &machine{
		id:      id,
		cluster: c,
		disk:    sim.NewDisk(rand.New(rand.NewPCG(c.seed, id))),
		saved:   &saved{first: 1},
		clocks:  newLocalClock(c),
	}
}

func (m *machine) walConfig() wal.Config {
	return wal.Config{Dir: "/member/wal", FS: m.disk, SegmentBytes: 8 << 10}
}

// start brings a machine up from its disk. A founder whose log is empty begins
// with the founding entries; a member that joins has nothing, and learns from the
// others even who they are.
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
	if err := m.openLocal(); err != nil {
		return err
	}
	founders, cfg := m.cluster.founders, m.cluster.core(m.id)
	if len(st.Entries) == 0 && st.PrevIndex == 0 && m.ckpt == nil && slices.Contains(founders, m.id) {
		cfg.Founding = true
		st.Entries, st.Hard = founding(founders)
		if err := (keeper{log, m.saved}).Save(st.Hard, st.Entries); err != nil {
			return err
		}
	}
	state := raftnode.State{Hard: st.Hard, Entries: st.Entries, PrevIndex: st.PrevIndex, PrevTerm: st.PrevTerm}
	tree := store.New(storeConfig())
	if m.ckpt != nil {
		if tree, err = m.ckpt.load(storeConfig()); err != nil {
			return err
		}
		state.Conf, state.Applied, state.AppliedTerm = m.ckpt.conf, m.ckpt.index, m.ckpt.term
	}
	m.replica, err = replica.New(tree, replica.Position{Index: state.Applied, Term: state.AppliedTerm}, state.Conf)
	if err != nil {
		return err
	}
	if m.forced {
		if err := m.forceLog(&st, log); err != nil {
			return err
		}
		state.Hard, state.Entries = st.Hard, st.Entries
	}
	m.core, m.writer, err = raftnode.NewCore(cfg, state, keeper{log, m.saved})
	if err != nil {
		return err
	}
	m.log, m.up = log, true
	m.life++
	m.applied, m.term, m.conf = state.Applied, state.AppliedTerm, state.Conf
	m.startClock()
	m.appends, m.installing, m.applies, m.received, m.cutting = nil, false, nil, nil, nil
	m.queue, m.refused, m.writes, m.reads, m.changes = nil, nil, map[uint64]*request{}, nil, map[uint64]*change{}
	return nil
}

// forceLog makes the log that of a cluster with one member.
func (m *machine) forceLog(st *wal.State, log *wal.Log) error {
	if len(st.Entries) > 0 && st.Entries[len(st.Entries)-1].GetIndex() <= m.replica.Position().Index {
		return nil // the checkpoint is of the forced cluster
	}
	forced, err := replica.ForcedLog(replica.Log{
		Hard: st.Hard, Entries: st.Entries, PrevIndex: st.PrevIndex,
		Applied: m.replica.Position(), AppliedConf: m.replica.Conf(), Self: replica.RecordOf(memberOf(m.id)),
	})
	if err != nil {
		return err
	}
	st.Entries = append(st.Entries[:len(st.Entries)-forced.Drop], forced.Entries...)
	st.Hard = forced.Hard
	return keeper{log, m.saved}.Save(forced.Hard, forced.Entries)
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

// shutDown ends the member the way an operator does.
func (m *machine) shutDown() {
	m.noteTime()
	if err := m.log.Close(); err != nil {
		m.fail(err)
		return
	}
	m.up = false
	m.disk.Kill()
}

// fail is what a member does when its disk fails it: it stops.
func (m *machine) fail(err error) {
	if !errors.Is(err, sim.ErrDown) && !errors.Is(err, syscall.EIO) {
		m.cluster.Fatalf("member %d: %v", m.id, err)
	}
	m.crash(m.cluster.rng.IntN(2) == 0)
}

// tick tells the member that time passes.
func (m *machine) tick() {
	m.core.Tick()
	m.queue = append(m.queue, m.refused...)
	m.refused = nil
}

// pump carries out what costs no time and queues the rest.
func (m *machine) pump() {
	for m.up {
		w, ok := m.core.Work()
		m.followRole()
		if !ok {
			return
		}
		m.addPayload(w.Send)
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
		if !m.up {
			return
		}
	}
	m.core.Applied(c)
	m.finishReads()
}

// install puts a received checkpoint in place of the own one, then lets the
// writer go on. In between, the power may fail.
func (m *machine) install(s *raftpb.Snapshot) {
	at := slices.IndexFunc(m.received, func(r *checkpoint) bool { return r.index == s.GetMetadata().GetIndex() })
	if at < 0 {
		m.cluster.Fatalf("member %d installs a snapshot at %d that it was not sent", m.id, s.GetMetadata().GetIndex())
	}
	ckpt := m.received[at]
	m.received = m.received[at+1:]
	if ckpt.index <= m.applied {
		m.cluster.Fatalf("member %d gets a snapshot at %d, has applied %d", m.id, ckpt.index, m.applied)
	}
	content, err := ckpt.load(storeConfig())
	if err != nil {
		m.cluster.Fatalf("member %d cannot load a checkpoint: %v", m.id, err)
	}
	if err := m.replica.Install(content, replica.Position{Index: ckpt.index, Term: ckpt.term}, ckpt.conf); err != nil {
		m.cluster.Fatalf("member %d cannot install a checkpoint: %v", m.id, err)
	}
	m.ckpt, m.cutting = ckpt, nil
	m.applied, m.term, m.conf = ckpt.index, ckpt.term, ckpt.conf
	m.clock.Applied(replica.Reading{Time: m.store().Clock()}, m.mono())
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
		m.cluster.Fatalf("member %d applies %d after %d", m.id, e.GetIndex(), m.applied)
	}
	if !m.excluded {
		m.cluster.history.commit(m, e)
	}
	effects, err := m.replica.Apply(e)
	if err != nil {
		m.cluster.Fatalf("member %d cannot apply %d: %v", m.id, e.GetIndex(), err)
	}
	m.applied, m.term = e.GetIndex(), e.GetTerm()
	if effects.Time > 0 {
		m.clock.Applied(replica.Reading{Term: m.term, Time: effects.Time}, m.mono())
	}
	if e.GetType() == raftpb.EntryConfChange {
		m.changed(effects)
		return
	}
	if m.excluded {
		return
	}
	m.cluster.history.compare(m)
	if q := m.writes[effects.Request]; q != nil {
		delete(m.writes, q.id)
		q.answer = answerOf(effects)
		m.cluster.history.finish(m, q, e.GetIndex())
	}
}

// changed does what a change of members asks for: raft hears of it unless it was
// refused. A removed member stops once that is safe.
func (m *machine) changed(effects replica.Effects) {
	if effects.Conf != nil {
		m.conf = m.core.ApplyConfChange(effects.Conf)
	}
	if m.excluded {
		return
	}
	m.cluster.history.compareConf(m)
	if ch := m.changes[effects.Request]; ch != nil {
		delete(m.changes, ch.request)
		ch.answered = true
		m.cluster.trace("change", m.id, ch.request, m.applied)
	}
	if m.replica.Cluster().Removed(membership.ID(m.id)) {
		m.cluster.retire(m)
	}
}

// counts reports whether the group can count on the machine.
func (m *machine) counts() bool { return !m.gone && !m.excluded }

func (m *machine) store() *store.Store { return m.replica.Tree() }

// finishReads answers the reads whose index has been applied.
func (m *machine) finishReads() {
	for len(m.reads) > 0 && m.reads[0].readIndex > 0 && m.reads[0].readIndex <= m.applied {
		q := m.reads[0]
		m.reads = m.reads[1:]
		q.answer = look(m.store(), q.op.Path)
		m.cluster.history.finish(m, q, m.applied)
	}
}

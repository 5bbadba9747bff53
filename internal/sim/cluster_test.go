package sim_test

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/raftnode"
	"etcd2/store"
)

// faults say what goes wrong during a run. Zero is a perfect world.
type faults struct {
	Drop        int  // messages lost, in percent
	Duplicate   int  // messages delivered twice, in percent
	Reorder     bool // messages overtake each other
	CrashPer10k int  // crashes of a member, in 10000 steps
	CutPer10k   int  // links that fail in one direction, or members that lose all links, in 10000 steps
	SlowPer10k  int  // members whose disk, applier or clock stands still for a while, in 10000 steps
	DiskPer10k  int  // writes of a log that fail or stop half way, in 10000 steps
	Power       bool // a crash loses what was not synced
}

// cluster is a number of machines, the messages between them and a source of
// chance that decides what happens next. Nothing else does: a seed is a story.
type cluster struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	faults  faults
	members []*machine
	bag     []*raftpb.Message
	cut     map[[2]uint64]int // links from, to carry nothing until this step

	checkpoints map[uint64]*checkpoint // on their way to other members
	history     *history
	hash        hash.Hash64
	step        int
	requests    uint64
	snapshots   int
	diskFails   bool // a failing disk was asked for, once at least
}

// newCluster makes n members that have never run. It takes over the randomness
// of the process until the end of the test.
func newCluster(t *testing.T, seed uint64, n int) *cluster {
	cryptotest.SetGlobalRandom(t, seed)
	c := &cluster{
		t:           t,
		seed:        seed,
		rng:         rand.New(rand.NewPCG(seed, uint64(n))),
		cut:         map[[2]uint64]int{},
		checkpoints: map[uint64]*checkpoint{},
		hash:        fnv.New64a(),
	}
	c.history = newHistory(c)
	for id := range uint64(n) {
		c.members = append(c.members, newMachine(c, id+1))
	}
	for _, m := range c.members {
		c.boot(m)
	}
	return c
}

// String says how to see the run again.
func (c *cluster) String() string {
	return fmt.Sprintf("SIM_SEED=%d, %d members, step %d", c.seed, len(c.members), c.step)
}

func (c *cluster) ids() []uint64 {
	ids := make([]uint64, len(c.members))
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	return ids
}

// core is the configuration of a member: small limits, so that they are met.
func (c *cluster) core(id uint64) raftnode.Config {
	return raftnode.Config{
		ID: id, TailEntries: 10, MaxMessageBytes: 300, MaxInflightMessages: 4,
		MaxUncommittedBytes: 2000, MaxApplyingBytes: 500,
	}
}

func (c *cluster) boot(m *machine) {
	if err := m.start(); err != nil {
		c.t.Fatalf("%v: member %d does not start: %v", c, m.id, err)
	}
	m.pump()
}

// chance is true p times in a million.
func (c *cluster) chance(p int) bool { return p > 0 && c.rng.IntN(1_000_000) < p }

// trace adds an event to the hash that tells runs apart.
func (c *cluster) trace(kind string, numbers ...uint64) {
	b := append(make([]byte, 0, 64), kind...)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	c.hash.Write(b) // never fails
}

// run lets that many things happen.
func (c *cluster) run(steps int, f faults) {
	c.faults = f
	for range steps {
		c.step++
		c.misfortune()
		m := c.members[c.anyID()-1]
		if !m.up {
			if c.chance(20_000) {
				c.trace("boot", m.id)
				c.boot(m)
			}
			continue
		}
		c.turn(m)
	}
}

// turn lets one member do one thing.
func (c *cluster) turn(m *machine) {
	switch n := c.rng.IntN(100); {
	case n < 12:
		if c.step >= m.slowClock {
			m.core.Tick()
		}
	case n < 50:
		for range c.rng.IntN(4) {
			c.deliverOne()
		}
	case n < 65:
		if c.step >= m.slowDisk {
			m.save()
		}
	case n < 80:
		if c.step >= m.slowApply {
			m.apply()
		}
	case n < 90:
		c.write(m)
	case n < 97:
		c.read(m)
	default:
		if c.rng.IntN(3) == 0 {
			m.checkpoint()
		}
	}
	m.pump()
}

func (c *cluster) misfortune() {
	f := c.faults
	if c.chance(f.CrashPer10k * 100) {
		if m := c.members[c.anyID()-1]; m.up {
			c.trace("crash", m.id)
			m.crash(f.Power && c.rng.IntN(2) == 0)
		}
	}
	if c.chance(f.DiskPer10k * 100) {
		if m := c.members[c.anyID()-1]; m.up {
			c.diskFails = true
			switch c.rng.IntN(3) {
			case 0:
				m.disk.StopAfter(c.rng.IntN(3))
			case 1:
				m.disk.FailSync(1)
			default:
				m.disk.FailWrite(1)
			}
		}
	}
	until := c.step + 100 + c.rng.IntN(2000)
	if c.chance(f.CutPer10k * 100) {
		if from, to := c.anyID(), c.anyID(); c.rng.IntN(3) > 0 {
			c.cut[[2]uint64{from, to}] = until
		} else {
			c.isolate(from, until)
		}
	}
	if c.chance(f.SlowPer10k * 100) {
		m := c.members[c.anyID()-1]
		switch c.rng.IntN(3) {
		case 0:
			m.slowDisk = until
		case 1:
			m.slowApply = until
		default:
			m.slowClock = until
			if c.rng.IntN(2) == 0 { // does not notice how long it has been alone
				c.isolate(m.id, until)
			}
		}
	}
}

func (c *cluster) anyID() uint64 { return uint64(c.rng.IntN(len(c.members)) + 1) }

func (c *cluster) isolate(id uint64, until int) {
	for _, other := range c.ids() {
		c.cut[[2]uint64{id, other}], c.cut[[2]uint64{other, id}] = until, until
	}
}

// send puts messages in the bag. Those that raft may change on arrival are
// copied, as a network would.
func (c *cluster) send(m *machine, ms []*raftpb.Message) {
	for _, msg := range ms {
		if len(msg.GetEntries()) == 0 || msg.GetType() == raftpb.MsgReadIndex {
			msg = proto.CloneOf(msg)
		}
		if msg.GetType() == raftpb.MsgSnap {
			c.attach(m, msg)
		}
		c.bag = append(c.bag, msg)
	}
}

// attach sends the checkpoint along with the message that announces it.
func (c *cluster) attach(m *machine, msg *raftpb.Message) {
	meta := msg.GetSnapshot().GetMetadata()
	if m.ckpt == nil || m.ckpt.index != meta.GetIndex() || m.ckpt.term != meta.GetTerm() {
		c.t.Fatalf("%v: member %d announces a snapshot at %d that is not its checkpoint", c, m.id, meta.GetIndex())
	}
	c.snapshots++
	number := uint64(len(c.checkpoints) + 1)
	c.checkpoints[number] = m.ckpt
	msg.Snapshot.Data = binary.LittleEndian.AppendUint64(nil, number)
}

// deliverOne takes a message from the bag; it may arrive once, twice or never.
func (c *cluster) deliverOne() {
	if len(c.bag) == 0 {
		return
	}
	i := 0
	if c.faults.Reorder {
		i = c.rng.IntN(min(len(c.bag), 20))
	}
	msg := c.bag[i]
	if !c.chance(c.faults.Duplicate * 10_000) {
		c.bag = slices.Delete(c.bag, i, i+1)
	} else if len(msg.GetEntries()) == 0 || msg.GetType() == raftpb.MsgReadIndex {
		c.bag[i] = proto.CloneOf(msg)
	}
	lost := c.chance(c.faults.Drop*10_000) || c.step < c.cut[[2]uint64{msg.GetFrom(), msg.GetTo()}]
	c.deliver(msg, !lost)
}

func (c *cluster) deliver(msg *raftpb.Message, arrives bool) {
	from, to := c.members[msg.GetFrom()-1], c.members[msg.GetTo()-1]
	arrives = arrives && to.up
	if arrives {
		c.trace("msg", msg.GetFrom(), msg.GetTo(), uint64(msg.GetType()), msg.GetTerm(), msg.GetIndex(), uint64(len(msg.GetEntries())))
		_ = to.core.Step(msg) // a refused message is as good as lost
		to.pump()
	}
	if msg.GetType() == raftpb.MsgSnap && from.up {
		from.core.ReportSnapshot(to.id, arrives)
		from.pump()
	}
}

func keys() []string { return []string{"/1/a", "/1/b", "/1/c"} }

func (c *cluster) write(m *machine) {
	if !m.core.IsLeader() {
		return
	}
	var batch [][]byte
	var requests []*request
	for range 1 + c.rng.IntN(3) {
		c.requests++
		q := &request{id: c.requests, key: keys()[c.rng.IntN(3)], write: true}
		c.history.begin(q)
		batch = append(batch, encode(q.id, c.op(q)))
		requests = append(requests, q)
	}
	if err := m.core.Propose(batch); err != nil {
		return
	}
	for _, q := range requests {
		m.writes[q.id] = q
	}
}

// op draws what a write does.
func (c *cluster) op(q *request) store.Op {
	op := store.Op{Action: store.Set, Path: q.key, Value: fmt.Sprintf("%d-%040d", q.id, q.id), Now: int64(c.step) * int64(time.Second)}
	switch c.rng.IntN(10) {
	case 0:
		op = store.Op{Action: store.Delete, Path: q.key, Now: op.Now}
	case 1:
		op.HasTTL, op.TTL = true, time.Duration(c.rng.IntN(500))*time.Second
	case 2:
		op = store.Op{Action: store.Expire, Now: op.Now}
	case 3:
		op.Action, op.PrevIndex = store.CompareAndSwap, look(c.history.truth, q.key).modified
		if op.PrevIndex == 0 {
			op.Action = store.Create
		}
	}
	return op
}

func (c *cluster) read(m *machine) {
	q := &request{key: keys()[c.rng.IntN(3)]}
	round, ok := m.core.ReadIndex()
	if !ok {
		return
	}
	c.requests++
	q.id, q.round = c.requests, round
	c.history.begin(q)
	m.reads = append(m.reads, q)
}

// settle mends everything and waits until all members agree and a new write
// goes through.
func (c *cluster) settle() {
	c.faults = faults{}
	clear(c.cut)
	for range 1000 {
		c.step++
		for _, m := range c.members {
			if !m.up {
				c.boot(m)
			}
			m.core.Tick()
			m.pump()
		}
		c.exhaust()
		if c.settled() {
			c.history.end()
			return
		}
	}
	c.t.Fatalf("%v: no agreement 1000 ticks after all faults have ended", c)
}

// exhaust lets everything happen that can happen without time passing.
func (c *cluster) exhaust() {
	for busy := true; busy; {
		busy = false
		for len(c.bag) > 0 {
			msg := c.bag[0]
			c.bag = c.bag[1:]
			c.deliver(msg, true)
			busy = true
		}
		for _, m := range c.members {
			if m.up && (len(m.appends) > 0 && !m.installing || len(m.applies) > 0) {
				m.save()
				m.apply()
				m.pump()
				busy = true
			}
		}
	}
}

// settled tells that all members have applied everything and that the leader
// has taken a write since the faults ended.
func (c *cluster) settled() bool {
	for _, m := range c.members {
		if m.up && m.core.IsLeader() {
			before := len(c.history.acks)
			c.write(m)
			m.pump()
			c.exhaust()
			c.read(m)
			m.pump()
			c.exhaust()
			if len(c.history.acks) == before {
				return false
			}
		}
	}
	for _, m := range c.members {
		if !m.up || m.applied != uint64(len(c.history.entries)) || m.core.Leader() == 0 {
			return false
		}
	}
	return len(c.history.acks) > 0
}

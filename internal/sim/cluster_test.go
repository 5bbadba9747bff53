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

	"etcd2/raftnode"
)

// cluster is a number of machines, the parcels between them and a source of
// chance that decides what happens next. Nothing else does: a seed is a story.
type cluster struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	faults   faults
	founders []uint64
	machines []*machine // all that ever were, by ID
	bag      []parcel
	cut      map[[2]uint64]int   // links from, to carry nothing until this step
	met      map[[2]process]bool // whether they accept each other
	viewers  []*viewer
	changes  []*change

	history *history
	hash    hash.Hash64
	step    int
	mended  bool // all faults have ended

	snapshots, forwards, refusals, changesRefused, losses int
	refused, forgot, forced                               int // connections, and members that came back wrong
	leads, continued                                      int // begun, and from a heartbeat or a note
}

// newCluster founds a group of one, three or five members. It takes over the
// randomness of the process until the end of the test.
func newCluster(t *testing.T, seed uint64) *cluster {
	cryptotest.SetGlobalRandom(t, seed)
	c := &cluster{
		t:    t,
		seed: seed,
		rng:  rand.New(rand.NewPCG(seed, 1)),
		cut:  map[[2]uint64]int{},
		met:  map[[2]process]bool{},
		hash: fnv.New64a(),
	}
	c.history = newHistory(c)
	for id := range uint64([]int{1, 3, 3, 3, 5}[c.rng.IntN(5)]) {
		c.founders = append(c.founders, id+1)
		c.machines = append(c.machines, newMachine(c, id+1))
	}
	for _, m := range c.machines {
		c.boot(m)
	}
	c.viewers = newViewers(c)
	return c
}

// Fatalf fails the test with the way to see the run again.
func (c *cluster) Fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%v: %s", c, fmt.Sprintf(format, args...))
}

// String says how to see the run again.
func (c *cluster) String() string {
	return fmt.Sprintf("SIM_SEED=%d go test -run '^TestSim$' ./internal/sim: step %d", c.seed, c.step)
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
		c.Fatalf("member %d does not start: %v", m.id, err)
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

// present are the machines that run or may be started.
func (c *cluster) present() []*machine {
	return slices.DeleteFunc(slices.Clone(c.machines), func(m *machine) bool { return m.gone || m.awaited })
}

// anyone is one of the present machines.
func (c *cluster) anyone() *machine {
	all := c.present()
	return all[c.rng.IntN(len(all))]
}

// run lets that many things happen.
func (c *cluster) run(steps int, f faults) {
	c.faults = f
	for range steps {
		c.step++
		c.misfortune()
		m := c.anyone()
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
			m.tick()
		}
	case n < 48:
		for range c.rng.IntN(2 + len(c.machines)) {
			c.deliverOne()
		}
	case n < 62:
		if c.step >= m.slowDisk {
			m.save()
		}
	case n < 76:
		if c.step >= m.slowApply {
			m.apply()
		}
	case n < 86:
		if !m.excluded {
			c.write(m)
		}
	case n < 92:
		if !m.excluded {
			c.read(m)
		}
	case n < 97:
		c.viewers[c.rng.IntN(len(c.viewers))].turn()
	default:
		if c.rng.IntN(3) == 0 {
			m.checkpoint()
		}
	}
	if m.up && !m.excluded && c.chance(c.faults.ChangePer10k*100*len(c.machines)) {
		c.operate(m) // if it is the one that leads
	}
	if m.up && !m.excluded && len(m.conf.GetLearners()) > 0 && c.rng.IntN(10) == 0 {
		c.promote(m)
	}
	m.keepTime()
	m.flush()
	m.pump()
}

// settle mends everything and waits until all members agree and a new write
// goes through.
func (c *cluster) settle() {
	c.faults, c.mended = faults{}, true
	clear(c.cut)
	for range 1000 {
		c.step += 25 // a tick; clients whose writes were lost give up
		for _, m := range c.present() {
			if !m.up {
				c.boot(m)
			}
			m.tick()
			m.keepTime()
			m.flush()
			m.pump()
		}
		c.exhaust()
		if c.settled() {
			return
		}
	}
	c.Fatalf("no agreement 1000 ticks after all faults have ended, the log ends at %d with %+v:%s", len(c.history.entries), c.history.roster, c.describe())
}

// describe tells where each machine stands.
func (c *cluster) describe() string {
	text := ""
	for _, m := range c.machines {
		text += fmt.Sprintf("\nmember %d: awaited %v, gone %v, up %v", m.id, m.awaited, m.gone, m.up)
		if m.up {
			text += fmt.Sprintf(", term %d, leader %d, log up to %d, committed %d, applied %d, %v",
				m.core.Term(), m.core.Leader(), m.saved.last(), m.core.Commit(), m.applied, m.conf)
		}
	}
	return text
}

// exhaust lets everything happen that can happen without time passing.
func (c *cluster) exhaust() {
	deliveries := 0
	for busy := true; busy; {
		busy = false
		for len(c.bag) > 0 {
			if deliveries++; deliveries > 100_000 {
				c.Fatalf("members send each other parcels without end, the last one %+v:%s", c.bag[0], c.describe())
			}
			p := c.bag[0]
			c.bag = c.bag[1:]
			c.deliver(p, true)
			busy = true
		}
		for _, m := range c.present() {
			if m.up && (len(m.appends) > 0 && !m.installing || len(m.applies) > 0) {
				m.save()
				m.apply()
				m.pump()
				busy = true
			}
		}
	}
}

// members are the machines of the group that are not lost.
func (c *cluster) members() []*machine {
	return slices.DeleteFunc(c.present(), func(m *machine) bool { return m.excluded || !c.history.roster.knows(m.id) })
}

// settled tells that all members have applied everything and that a member has
// taken a write and a read since the faults ended.
func (c *cluster) settled() bool {
	for _, m := range c.members() {
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
	for _, m := range c.members() {
		if !m.up || m.applied != uint64(len(c.history.entries)) || m.core.Leader() == 0 || len(m.queue)+len(m.refused) > 0 {
			return false
		}
	}
	return len(c.history.acks) > 0
}

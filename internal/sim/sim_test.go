package sim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"etcd2/internal/sim"
)

// TestSim lets clusters live through bad days, 200 seeds of each size, or 20
// with -short: a run has one goroutine, so the race detector finds nothing in it
// and makes it slow. SIM_SEEDS asks for more, SIM_SEED for one alone.
func TestSim(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprintf("members=%d", members), func(t *testing.T) {
			total := tally{}
			for seed := range sim.Seeds(t, seeds) {
				c := live(t, seed, members)
				total.add(c)
			}
			t.Log(total)
			total.demand(t, members)
		})
	}
}

// live runs a cluster through the bad days that belong to its seed.
func live(t *testing.T, seed uint64, members int) *cluster {
	t.Helper()
	c := newCluster(t, seed, members)
	c.run(2000+2000*members, badDay(seed))
	c.settle()
	return c
}

// badDay draws a mix of faults: seeds differ in what goes wrong most.
func badDay(seed uint64) faults {
	rng := rand.New(rand.NewPCG(seed, 0))
	return faults{
		Drop:        rng.IntN(3) * rng.IntN(15),
		Duplicate:   rng.IntN(2) * rng.IntN(15),
		Reorder:     rng.IntN(2) == 0,
		CrashPer10k: rng.IntN(3) * 10,
		CutPer10k:   rng.IntN(2) * rng.IntN(20),
		SlowPer10k:  rng.IntN(2) * rng.IntN(20),
		DiskPer10k:  rng.IntN(2) * 10,
		Power:       rng.IntN(3) > 0,
	}
}

// tally tells whether the seeds met what they were made for.
type tally struct{ runs, writes, reads, crashes, snapshots, entries int }

func (s *tally) add(c *cluster) {
	s.runs++
	s.writes += len(c.history.acks)
	s.reads += c.history.reads
	s.entries += len(c.history.entries)
	s.snapshots += c.snapshots
	for _, m := range c.members {
		s.crashes += m.crashes
	}
}

func (s tally) String() string {
	return fmt.Sprintf("%d runs: %d entries, %d acknowledged writes, %d reads, %d crashes, %d snapshots sent",
		s.runs, s.entries, s.writes, s.reads, s.crashes, s.snapshots)
}

// demand fails when a full round was too quiet to prove anything.
func (s tally) demand(t *testing.T, members int) {
	t.Helper()
	if s.runs < 100 {
		return // a replay
	}
	if s.writes < 50*s.runs || s.reads < 20*s.runs || s.crashes < s.runs || members > 1 && s.snapshots < s.runs/10 {
		t.Errorf("too quiet: %v", s)
	}
}

// TestSeedIsTheWholeStory runs seeds twice and compares all that happened.
func TestSeedIsTheWholeStory(t *testing.T) {
	for _, members := range []int{1, 3} {
		for seed := range uint64(5) {
			first := live(t, seed, members).hash.Sum64()
			second := live(t, seed, members).hash.Sum64()
			if first != second {
				t.Errorf("%d members: seed %d gave %x and then %x", members, seed, first, second)
			}
			if other := live(t, seed+1000, members).hash.Sum64(); other == first {
				t.Errorf("%d members: seeds %d and %d gave the same run", members, seed, seed+1000)
			}
		}
	}
}

package sim_test

import "math/rand/v2"

// faults say what goes wrong during a run. Zero is a perfect world.
type faults struct {
	Drop          int  // messages lost, in percent
	Duplicate     int  // messages delivered twice, in percent
	Reorder       bool // messages overtake each other
	CrashPer10k   int  // crashes of a member, in 10000 steps
	CutPer10k     int  // links that fail in one direction, or members that lose all links, in 10000 steps
	SlowPer10k    int  // members whose disk, applier or clock stands still for a while, in 10000 steps
	DiskPer10k    int  // writes of a log that fail or stop half way, in 10000 steps
	LossPer10k    int  // machines that are lost with their disk, in 10000 steps, as long as a quorum remains
	AmnesiaPer10k int  // the same, but the machine comes back without its data or with an older copy of it
	ForcePer10k   int  // the same, but the member comes back as a cluster of its own
	ChangePer10k  int  // changes of members that are asked for, in 10000 steps
	ClockPer10k   int  // clocks that are set or stand still, in 10000 steps
	Power         bool // a crash loses what was not synced
}

// badDay draws a mix of faults: seeds differ in what goes wrong most.
func badDay(seed uint64) faults {
	rng := rand.New(rand.NewPCG(seed, 0))
	return faults{
		Drop:          rng.IntN(3) * rng.IntN(15),
		Duplicate:     rng.IntN(2) * rng.IntN(15),
		Reorder:       rng.IntN(2) == 0,
		CrashPer10k:   rng.IntN(3) * 10,
		CutPer10k:     rng.IntN(2) * rng.IntN(20),
		SlowPer10k:    rng.IntN(2) * rng.IntN(20),
		DiskPer10k:    rng.IntN(2) * 10,
		LossPer10k:    rng.IntN(2) * rng.IntN(10),
		AmnesiaPer10k: rng.IntN(2) * rng.IntN(40),
		ForcePer10k:   rng.IntN(3) / 2 * rng.IntN(10),
		ChangePer10k:  rng.IntN(4) * 15,
		ClockPer10k:   rng.IntN(2) * rng.IntN(20),
		Power:         rng.IntN(3) > 0,
	}
}

// misfortune lets something go wrong, or not.
func (c *cluster) misfortune() {
	f := c.faults
	if c.chance(f.CrashPer10k * 100) {
		if m := c.anyone(); m.up {
			c.trace("crash", m.id)
			if c.rng.IntN(4) == 0 {
				m.shutDown()
			} else {
				m.crash(f.Power && c.rng.IntN(2) == 0)
			}
		}
	}
	if c.chance(f.LossPer10k * 100) {
		c.lose(c.anyone())
	}
	if c.chance(f.AmnesiaPer10k * 100) {
		c.forget(c.anyone())
	}
	if c.chance(f.AmnesiaPer10k * 100) {
		c.anyone().copyDisk()
	}
	if c.chance(f.ForcePer10k * 100) {
		c.force(c.anyone())
	}
	if c.chance(f.DiskPer10k * 100) {
		if m := c.anyone(); m.up {
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
	if c.chance(f.ClockPer10k * 100) {
		c.disturbClock(c.anyone())
	}
	until := c.step + 100 + c.rng.IntN(2000)
	if c.chance(f.CutPer10k * 100) {
		if from, to := c.anyone(), c.anyone(); c.rng.IntN(3) > 0 {
			c.cut[[2]uint64{from.id, to.id}] = until
		} else {
			c.isolate(from, until)
		}
	}
	if c.chance(f.SlowPer10k * 100) {
		c.slow(c.anyone(), until)
	}
}

// slow lets a part of a machine stand still.
func (c *cluster) slow(m *machine, until int) {
	switch c.rng.IntN(3) {
	case 0:
		m.slowDisk = until
	case 1:
		m.slowApply = until
	default:
		m.slowClock = until
		if c.rng.IntN(2) == 0 { // does not notice how long it has been alone
			c.isolate(m, until)
		}
	}
}

func (c *cluster) isolate(m *machine, until int) {
	for _, other := range c.machines {
		c.cut[[2]uint64{m.id, other.id}], c.cut[[2]uint64{other.id, m.id}] = until, until
	}
}

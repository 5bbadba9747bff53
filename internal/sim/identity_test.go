package sim_test

import (
	"maps"
	"math/rand/v2"
	"slices"

	"etcd2/identity"
	"etcd2/internal/sim"
	"etcd2/localstate"
)

// process is one life of a machine.
type process struct {
	id   uint64
	life int
}

// backup is a copy of all that a machine has on its disk.
type backup struct {
	files  map[string][]byte
	ckpt   *checkpoint
	saved  saved
	starts uint64
}

// openLocal opens what the machine keeps for itself, and counts the start.
func (m *machine) openLocal() error {
	local, err := localstate.Open(localstate.Config{Dir: "/member", FS: m.disk})
	if err != nil {
		return err
	}
	if m.forced {
		if err := local.SetGeneration(localstate.NewGeneration()); err != nil {
			return err
		}
	}
	m.local = local
	m.session, err = local.Begin()
	return err
}

// identity is what the machine tells of itself when a connection begins.
func (m *machine) identity() identity.Identity {
	s, last := m.local.State(), m.saved.last()
	if m.ckpt != nil {
		last = max(last, m.ckpt.index)
	}
	return identity.Identity{
		Incarnation: s.Incarnation, Start: s.Starts, Session: m.session, Generation: s.Generation,
		Past: s.Past(), Term: m.saved.term, Last: last, Committed: min(m.saved.commit, last),
	}
}

// meet reports whether two processes accept each other. That is settled when a
// connection begins; now and then one begins again.
func (c *cluster) meet(p parcel, from, to *machine) bool {
	pair := [2]process{{p.from, p.life}, {p.to, to.life}}
	accepted, met := c.met[pair]
	if met && (!from.up || from.life != p.life || c.rng.IntN(50) > 0) {
		return accepted
	}
	if !from.up || from.life != p.life {
		return false // nobody is left to begin a connection
	}
	accepted = to.accepts(from) && from.accepts(to) && from.isAccepted(to) && to.isAccepted(from)
	c.met[pair] = accepted
	return accepted
}

// accepts reports whether this member takes the other one for the one it has met, and
// remembers it durably.
func (m *machine) accepts(other *machine) bool {
	told := other.identity()
	if !identity.SameGeneration(told.Generation, m.local.State().Generation) || m.local.Seen(other.id).Check(told) != nil {
		m.cluster.refused++
		return false
	}
	err := m.local.Update(func(s *localstate.State) { s.Seen[other.id] = s.Seen[other.id].With(told, 0) })
	if err != nil {
		m.fail(err)
	}
	return err == nil
}

// isAccepted records that the other member has accepted this session.
func (m *machine) isAccepted(by *machine) bool {
	if err := m.local.Update(func(s *localstate.State) { s.Accepted[by.id] = m.session }); err != nil {
		m.fail(err)
		return false
	}
	return true
}

// copyDisk keeps a copy of a machine that does not run.
func (m *machine) copyDisk() {
	if m.up || m.local == nil || m.excluded {
		return
	}
	m.backup = &backup{m.disk.Files(), m.ckpt, m.saved.clone(), m.local.State().Starts}
}

func (s *saved) clone() saved {
	c := *s
	c.terms = slices.Clone(s.terms)
	return c
}

// forget has a machine come back without its data, or with an older copy of it, if the
// group can do without it and all others have met it since.
func (c *cluster) forget(m *machine) {
	starts := uint64(0)
	if c.rng.IntN(2) == 0 && m.backup != nil {
		starts = m.backup.starts + 1
	}
	if m.excluded || m.local == nil || !c.dispensable(m) || !c.allHaveMet(m, starts) {
		return
	}
	c.trace("forget", m.id, starts)
	c.forgot++
	if m.up {
		m.crash(true)
	}
	m.excluded, m.awaited = true, false
	m.lost = &backup{saved: m.saved.clone(), ckpt: m.ckpt}
	m.disk = sim.NewDisk(rand.New(rand.NewPCG(c.seed, 1000+uint64(c.step))))
	m.ckpt, m.saved, m.note = nil, &saved{first: 1}, heartbeat{}
	if starts == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m.backup.files)) {
		m.disk.WriteFile(name, m.backup.files[name])
	}
	m.ckpt, m.saved = m.backup.ckpt, new(m.backup.saved.clone())
}

// allHaveMet reports whether every other machine of the group has met this one after
// more starts than that.
func (c *cluster) allHaveMet(m *machine, starts uint64) bool {
	for _, other := range c.machines {
		if other == m || !other.counts() {
			continue
		}
		if other.awaited || other.local == nil || other.local.Seen(m.id).Start <= starts {
			return false
		}
	}
	return true
}

// force starts a member as a cluster of its own, by mistake. The others go on.
func (c *cluster) force(m *machine) {
	if m.excluded || m.local == nil || m.applied == 0 || !c.dispensable(m) {
		return
	}
	c.trace("force", m.id)
	c.forced++
	if m.up {
		m.crash(false)
	}
	m.excluded, m.forced = true, true
	m.lost = &backup{saved: m.saved.clone(), ckpt: m.ckpt}
}

package sim_test

import (
	"errors"
	"slices"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
)

// maxMachines bounds those that ever belong to a group; IDs never return.
const maxMachines = 9

// change is a change of members that somebody has asked for.
type change struct {
	request  uint64
	kind     membership.ChangeKind
	id       uint64
	term     uint64 // in which it was proposed
	applied  bool   // by somebody
	answered bool   // where it was asked for
	accepted bool
}

// operate is what an operator asks of the member that leads.
func (c *cluster) operate(m *machine) {
	if !m.core.IsLeader() {
		return
	}
	r := rosterOf(m.replica)
	switch n := c.rng.IntN(10); {
	case n < 4:
		// A new member has met no other, and would accept an excluded one.
		if len(r.voters)+len(r.learners) < 6 && len(c.machines) < maxMachines && !c.hasExcluded(r) {
			joiner := newMachine(c, uint64(len(c.machines)+1))
			if c.ask(m, membership.Add, joiner.id) {
				joiner.awaited = true
				c.machines = append(c.machines, joiner)
			}
		}
	case n < 7:
		c.askRemoval(m)
	case n < 8: // new URLs, for a member or for somebody who is not one any more
		c.ask(m, membership.Update, uint64(1+c.rng.IntN(len(c.machines))))
	case n < 9: // in vain, for one that was removed or is a member
		c.ask(m, membership.Add, uint64(1+c.rng.IntN(len(c.machines))))
	default:
		m.core.TransferLeader(r.voters[c.rng.IntN(len(r.voters))])
	}
}

// promote is what the member that leads does for a learner that has caught up.
func (c *cluster) promote(m *machine) {
	for _, id := range m.conf.GetLearners() {
		if c.caughtUp(m, id) && c.quorumOf(append(slices.Clone(m.conf.GetVoters()), id)) {
			c.ask(m, membership.Promote, id)
			return
		}
	}
}

// askRemoval removes a member that is lost, or any other, the leader too.
//
// A removed member stops for good as soon as it learns of it, perhaps before the
// others have learned that the removal is committed. They can find that out only
// with a quorum of the group as it was, so it has to be left.
func (c *cluster) askRemoval(m *machine) {
	id := c.superfluous(rosterOf(m.replica))
	if len(c.living(without(m.conf.GetVoters(), id))) >= rosterOf(m.replica).quorum() {
		c.ask(m, membership.Remove, id)
	}
}

// superfluous is a member that is lost, or any other.
func (c *cluster) superfluous(r roster) uint64 {
	all := slices.Concat(r.voters, r.learners)
	for _, id := range all {
		if !c.machines[id-1].counts() {
			return id
		}
	}
	return all[c.rng.IntN(len(all))]
}

// ask proposes a change of members, and tells whether the leader has taken it.
func (c *cluster) ask(m *machine, kind membership.ChangeKind, id uint64) bool {
	ch := &change{request: uint64(len(c.changes) + 1), kind: kind, id: id, term: m.core.Term()}
	c.trace("ask", m.id, uint64(kind), id)
	what := membership.Change{Kind: kind, Member: memberOf(id)}
	if err := replica.AdmitChange(what); err != nil {
		c.Fatalf("an ordinary change of member %d is not admitted: %v", id, err)
	}
	cc, err := replica.EncodeChange(ch.request, what)
	if err != nil {
		c.Fatalf("%v", err)
	}
	switch err := m.core.ProposeConfChange(cc); {
	case err == nil:
		c.changes = append(c.changes, ch)
		m.changes[ch.request] = ch
		return true
	case !errors.Is(err, raftnode.ErrChangePending) && !errors.Is(err, raftnode.ErrBusy):
		c.Fatalf("member %d leads and refuses a change of members: %v", m.id, err)
	default:
		c.changesRefused++
	}
	return false
}

// caughtUp tells whether a learner has nearly all that the leader knows to be
// committed, and is not lost.
func (c *cluster) caughtUp(m *machine, id uint64) bool {
	p := m.core.Progress()[id]
	return c.machines[id-1].counts() && !p.SendingSnapshot && p.Match > 0 && p.Match+10 >= m.core.Commit()
}

// quorumOf tells whether those voters that are not lost can decide.
func (c *cluster) quorumOf(voters []uint64) bool {
	return len(c.living(voters)) >= roster{voters: voters}.quorum()
}

func (c *cluster) living(ids []uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return !c.machines[id-1].counts() })
}

// undecided tells whether a change may be in some log and not be applied yet.
// One that was proposed in an older term than that of a committed entry is either
// behind that entry or lost.
func (c *cluster) undecided() bool {
	return slices.ContainsFunc(c.changes, func(ch *change) bool { return !ch.applied && ch.term >= c.history.term() })
}

// hasExcluded reports whether a machine of a roster is excluded.
func (c *cluster) hasExcluded(r roster) bool {
	return slices.ContainsFunc(slices.Concat(r.voters, r.learners), func(id uint64) bool { return c.machines[id-1].excluded })
}

// dispensable reports whether the group can do without a machine: as it is now, and as
// it was before the last change, which may not be known to all.
func (c *cluster) dispensable(m *machine) bool {
	if c.undecided() {
		return false
	}
	for _, r := range []roster{c.history.before, c.history.roster} {
		if len(c.living(without(r.voters, m.id))) < r.quorum() {
			return false
		}
	}
	return true
}

// lose takes a machine away with its disk, if the group can do without it.
func (c *cluster) lose(m *machine) {
	if !c.dispensable(m) {
		return
	}
	c.trace("lose", m.id)
	c.losses++
	if m.up {
		m.crash(true)
	}
	m.gone = true
}

// retire stops a removed member for good.
func (c *cluster) retire(m *machine) {
	if m.gone {
		return
	}
	c.trace("retire", m.id)
	m.up, m.gone = false, true
	m.disk.Kill()
}

// shrink takes a group that has come to rest down to one member, one by one. Only
// when nothing goes wrong is that safe: between two and one a removed member is
// needed until the other knows.
func (c *cluster) shrink() {
	for len(c.history.roster.voters)+len(c.history.roster.learners) > 1 {
		for _, m := range c.members() {
			id := c.superfluous(rosterOf(m.replica))
			if rest := without(m.conf.GetVoters(), id); m.core.IsLeader() && len(rest) > 0 && c.quorumOf(rest) {
				c.ask(m, membership.Remove, id)
			}
		}
		c.settle()
	}
}

package sim_test

import (
	"encoding/json"
	"testing"

	"etcd2/membership"
)

// tally counts what happened in a number of runs, to tell whether the seeds met
// what they were made for.
type tally map[string]int

// count adds one run.
func (s tally) count(c *cluster) {
	s["runs"]++
	s["entries"] += len(c.history.entries)
	s["writes"] += len(c.history.acks)
	s["reads"] += c.history.reads
	s["snapshots"] += c.snapshots
	s["forwarded"] += c.forwards
	s["sent back"] += c.refusals
	s["changes put off"] += c.changesRefused
	s["machines lost"] += c.losses
	s["machines without memory"] += c.forgot
	s["forced clusters"] += c.forced
	s["connections refused"] += c.refused
	s["leaders"] += c.leads
	s["leaders that continue from a heartbeat"] += c.continued
	s["keys expired"] += c.history.deadlines.expired
	for _, m := range c.machines {
		s["crashes"] += m.crashes
	}
	for _, q := range c.history.requests {
		if _, done := c.history.outcomes[q.id]; done && q.ret == 0 {
			s["unanswered writes"]++
		}
	}
	for _, v := range c.viewers {
		s["events watched"] += v.seen
		s["watches resumed"] += v.resumed
		s["histories cleared"] += v.cleared
	}
	for _, ch := range c.changes {
		if ch.applied {
			s[ch.outcome()]++
		}
	}
}

func (ch *change) outcome() string {
	switch {
	case !ch.accepted:
		return "changes refused"
	case ch.kind == membership.Add:
		return "members added"
	case ch.kind == membership.Promote:
		return "members promoted"
	case ch.kind == membership.Remove:
		return "members removed"
	}
	return "members updated"
}

// add adds what another process has counted.
func (s tally) add(other tally) {
	for what, n := range other {
		s[what] += n
	}
}

func (s tally) String() string {
	text, err := json.Marshal(s) // in the order of the names
	if err != nil {
		panic(err)
	}
	return string(text)
}

// demand fails when a full round was too quiet to prove anything.
func (s tally) demand(t *testing.T) {
	t.Helper()
	if s["runs"] < 100 {
		return // a replay
	}
	atLeast := map[string]float64{ // for each run
		"writes": 50, "reads": 20, "unanswered writes": 5, "forwarded": 20, "sent back": 1,
		"crashes": 2, "machines lost": 0.1, "machines without memory": 0.2, "forced clusters": 0.1, "connections refused": 5, "snapshots": 0.5,
		"members added": 0.5, "members promoted": 0.5, "members removed": 0.5, "changes refused": 0.05, "changes put off": 0.1,
		"leaders": 2, "leaders that continue from a heartbeat": 0.3, "keys expired": 2,
		"events watched": 50, "watches resumed": 5, "histories cleared": 0.5,
	}
	for what, n := range atLeast {
		if float64(s[what]) < n*float64(s["runs"]) {
			t.Errorf("too quiet: %d %s in %d runs, want %v in each", s[what], what, s["runs"], n)
		}
	}
}

package sim_test

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/store"
)

// ttl draws a TTL, short enough to end within a run.
func (c *cluster) ttl() time.Duration {
	most := 8000
	if c.rng.IntN(3) > 0 { // or most keys are written again before
		most = 400
	}
	return time.Duration(50+c.rng.IntN(most)) * time.Millisecond
}

// deadlines judges TTLs by real time: no key goes early, whatever the clocks of the
// machines did. That none goes later than it must is judged where a member begins to
// lead: it forgets no time that was shown to it.
type deadlines struct {
	c       *cluster
	stamped map[stamp]int64 // real time at which an entry was stamped
	timed   map[string]timed
	clock   int64 // cluster time of the last entry that has one

	expired int
}

// stamp tells proposals of one request apart: each has the time of its leader.
type stamp struct {
	request uint64
	time    int64
}

// timed is a key with a TTL.
type timed struct {
	set int64 // real time
	ttl int64 // nanoseconds
}

func newDeadlines(c *cluster) *deadlines {
	return &deadlines{c: c, stamped: map[stamp]int64{}, timed: map[string]timed{}}
}

// applied takes an entry that was applied for the first time, and the keys that
// expired with it.
func (d *deadlines) applied(e *raftpb.Entry, effects replica.Effects, expired map[string]uint64) {
	if effects.Time == 0 {
		return
	}
	at, _ := replica.StampOf(e.GetData())
	if at < d.clock {
		d.c.Fatalf("entry %d is stamped %d, an entry before it %d", e.GetIndex(), at, d.clock)
	}
	d.clock = at
	real, known := d.stamped[stamp{effects.Request, at}]
	if !known {
		d.c.Fatalf("entry %d has a stamp %d that no leader has given to request %d", e.GetIndex(), at, effects.Request)
	}
	if n := effects.Event.Node; n != nil {
		delete(d.timed, n.Path)
		if n.Expires != 0 && effects.Event.Action != store.Delete {
			d.timed[n.Path] = timed{set: real, ttl: n.Expires - at}
		}
	}
	for key := range expired {
		k, known := d.timed[key]
		if !known {
			d.c.Fatalf("entry %d removes %s, which has no TTL", e.GetIndex(), key)
		}
		// A clock that is fast by driftPPM ends a TTL early by that much, no more.
		if lived := real - k.set; lived < k.ttl-k.ttl/1_000_000*driftPPM {
			d.c.Fatalf("entry %d ends the TTL of %s early: %v after %v of %v", e.GetIndex(), key,
				time.Duration(k.ttl-lived), time.Duration(lived), time.Duration(k.ttl))
		}
		delete(d.timed, key)
		d.expired++
	}
}

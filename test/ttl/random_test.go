package ttl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"etcd2/test/expiry"
	"etcd2/test/network"
	"etcd2/test/proc"
)

// Shape of the random run.
const (
	defaultRun   = 20 * time.Second
	writers      = 6
	writePause   = 20 * time.Millisecond
	writeTimeout = time.Second // a paused member holds a writer up for so long
	outageMin    = 300 * time.Millisecond
	outageMax    = 3 * time.Second
	calmMax      = 1500 * time.Millisecond
)

// TestRandomFaults writes keys with a TTL all the time, at all members, while leaders
// are paused and killed and all members are cut off from each other.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	length, seed := proc.FaultRun(t, defaultRun)
	t.Logf("CHAOS=%v CHAOS_SEED=%d", length, seed)
	links := network.New(t)
	c := start(t, 3, proc.Options{Advertise: links.Gate})
	c.line.Continuous = true
	links.Name(c.members...)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	crew := make([]*writer, writers)
	for i := range crew {
		crew[i] = &writer{c: c, id: i, rng: rand.New(rand.NewPCG(seed, uint64(i)+1))}
		writing.Go(func() { crew[i].run(ctx) })
	}
	f := &faults{c: c, links: links, rng: rand.New(rand.NewPCG(seed, 0)), count: map[string]int{}}
	began := time.Now()
	f.run(length)
	stop()
	writing.Wait()
	reads := 0
	for _, w := range crew {
		reads += w.reads
	}
	t.Logf("faults %v, %v of %v without a leader, %d keys read", f.count,
		c.line.Leaderless(began, time.Now()).Round(time.Millisecond), time.Since(began).Round(time.Millisecond), reads)
	// A member that was paused or cut off shows its own estimate of an expiration until it
	// hears from the new leader, so that is judged elsewhere.
	c.judge(expiry.Limits{Early: limits.Early, Late: limits.Late, Shown: time.Hour})
}

// faults lets one thing after the other go wrong.
type faults struct {
	c     *cluster
	links *network.Network
	rng   *rand.Rand
	count map[string]int
}

// fault is one thing that goes wrong and is mended again.
type fault struct {
	name string
	do   func(leader *proc.Member)
}

func (f *faults) run(length time.Duration) {
	kinds := []fault{{"kill the leader", f.kill}, {"cut off all", f.cutAll}, {"cut off the leader", f.cutLeader}}
	if proc.CanPause {
		kinds = append(kinds, fault{"pause the leader", f.pause})
	}
	var next []int // all kinds come before one comes again
	for end := time.Now().Add(length); time.Now().Before(end); {
		f.c.pass(time.Duration(f.rng.Int64N(int64(calmMax))))
		leader := proc.Leader(f.c.members...)
		if leader == nil {
			continue
		}
		if len(next) == 0 {
			next = f.rng.Perm(len(kinds))
		}
		kind := kinds[next[0]]
		next = next[1:]
		f.count[kind.name]++
		kind.do(leader)
	}
}

// outage lets something stay broken for a while.
func (f *faults) outage() {
	f.c.pass(outageMin + time.Duration(f.rng.Int64N(int64(outageMax-outageMin))))
}

func (f *faults) pause(leader *proc.Member) {
	f.c.fault(leader.Pause)
	f.outage()
	if err := leader.Resume(); err != nil {
		f.c.t.Fatal(err)
	}
}

func (f *faults) kill(leader *proc.Member) {
	f.c.fault(func() error { leader.Kill(); return nil })
	f.outage()
	if err := leader.Restart(); err != nil {
		f.c.t.Fatalf("%s does not start again: %v", leader.Name, err)
	}
}

func (f *faults) cutLeader(leader *proc.Member) {
	f.c.fault(func() error { f.links.Isolate(leader.Name, f.c.members); return nil })
	f.outage()
	f.links.Mend()
}

func (f *faults) cutAll(*proc.Member) {
	f.c.fault(func() error {
		for _, m := range f.c.members {
			f.links.Isolate(m.Name, f.c.members)
		}
		return nil
	})
	f.outage()
	f.links.Mend()
}

// writer gives one key after the other a TTL, and reads those that are there.
type writer struct {
	c      *cluster
	id     int
	rng    *rand.Rand
	serial int
	key    string // the last one that was acknowledged; "" when it is not to be written again
	reads  int    // of keys that were there
}

func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(writePause)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		w.write()
		w.read(w.rng.IntN(w.serial) + 1)
	}
}

// write sets a new key, or gives the last one another TTL.
func (w *writer) write() {
	member, ttl := w.c.member(w.rng.IntN(len(w.c.members))), 1+w.rng.IntN(4)
	form := url.Values{"value": {"x"}}
	switch n := w.rng.IntN(6); {
	case n == 0 && w.key != "":
		form = url.Values{"refresh": {"true"}, "prevExist": {"true"}}
	case n == 1 && w.key != "":
		form.Set("prevValue", "x")
	default:
		w.serial++
		w.key = w.name(w.serial)
	}
	if _, ok := w.c.write(member, writeTimeout, http.MethodPut, w.key, ttl, form); !ok {
		w.key = ""
	}
}

func (w *writer) name(serial int) string { return fmt.Sprintf("%s/w%d-%d", dir, w.id, serial) }

// read looks at a key at any member. One that is there must not have its expiration in
// the past.
func (w *writer) read(serial int) {
	member := w.c.member(w.rng.IntN(len(w.c.members)))
	a, err := w.c.ask(member, writeTimeout, http.MethodGet, w.name(serial), nil)
	if err != nil || a.Code != 0 {
		return
	}
	w.reads++
	if a.Node.Expiration.Before(a.call) {
		w.c.t.Errorf("%s shows that %s expired %v before the request", member.Name, a.Node.Key, a.call.Sub(a.Node.Expiration))
	}
}

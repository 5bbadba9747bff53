package etcdserver

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
)

// TestRepairAtRandom plants differences in members at random, while others write, and
// crashes members meanwhile. In the end all have the same tree and serve it, and no
// write that was acknowledged is lost.
func TestRepairAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { repairAtRandom(t, seed) })
		})
	}
}

func repairAtRandom(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	g := newComparing(t, 3)
	g.tune(func(c *Config) { c.CheckpointEntries = 50 })
	slow := time.Duration(rnd.IntN(4)) * time.Second
	var fetches atomic.Int32
	g.onFetch(func(*Server, membership.ID) error { fetches.Add(1); time.Sleep(slow); return nil })
	defer g.endAll()
	g.startAll()
	acknowledged := map[string]string{}
	write := func(n int) {
		for range n {
			r := g.members[rnd.IntN(3)]
			key, value := fmt.Sprintf("k%d", rnd.IntN(40)), fmt.Sprint(rnd.Uint32())
			if err := r.try(t.Context(), key, value); err == nil {
				acknowledged[key] = value
			} else {
				delete(acknowledged, key) // nobody knows
			}
		}
	}
	for range 4 {
		write(rnd.IntN(60))
		g.settle()
		wrong := rnd.IntN(3)
		g.members[wrong].plant(fmt.Sprintf("k%d", rnd.IntN(40)), "wrong")
		write(rnd.IntN(20))
		time.Sleep(time.Duration(rnd.IntN(8000)) * time.Millisecond)
		write(rnd.IntN(20))
		if rnd.IntN(2) == 0 {
			g.crash(wrong)
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			g.launch(wrong)
		}
		time.Sleep(4*checkEvery + 3*repairRetry)
		g.leader()
		g.settle()
	}
	if fetches.Load() == 0 {
		t.Error("nobody fetched a copy: this run tells nothing")
	}
	for _, r := range g.members {
		if a := r.Agreement(); a.Refused != "" {
			t.Errorf("member %s: %+v", r.cfg.Name, a)
		}
		for key, value := range acknowledged {
			if got := r.value(key); got != value {
				t.Errorf("member %s: %s is %s, want %s", r.cfg.Name, key, got, value)
			}
		}
	}
}

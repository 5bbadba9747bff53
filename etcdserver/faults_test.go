package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/peer"
	"etcd2/raftnode"
	"etcd2/store"
)

// cause is the text of a refused request, "" when there is none.
func cause(err error) string {
	var e *store.Error
	if errors.As(err, &e) {
		return e.Cause
	}
	return fmt.Sprint(err)
}

// A leader that others cannot hear, that cannot hear them, or neither, is
// replaced; a write asked for meanwhile waits, and is answered.
func TestLeaderIsCutOff(t *testing.T) {
	for _, n := range []int{3, 5} {
		for _, way := range []string{"both", "to", "from"} {
			t.Run(fmt.Sprintf("%s of %d", way, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGroup(t, n)
					defer g.endAll()
					g.startAll()
					old := g.leader()
					for i, b := range g.beds {
						if i != old && way != "from" {
							g.wire.cut(b.self.ID, g.beds[old].self.ID, true)
						}
						if i != old && way != "to" {
							g.wire.cut(g.beds[old].self.ID, b.self.ID, true)
						}
					}
					time.Sleep(2 * g.members[old].cfg.Election)
					var others []int
					for i := range g.members {
						if i != old {
							others = append(others, i)
						}
					}
					now := g.leader(others...)
					start := time.Now()
					g.members[now].set("foo", "bar", 0)
					if took := time.Since(start); took > time.Second {
						t.Errorf("a write at the new leader took %v", took)
					}
					if got := cause(g.members[old].try(t.Context(), "foo", "old")); !strings.HasPrefix(got, "etcdserver: request timed out") {
						t.Errorf("a write at the member that is cut off = %s, want a time-out", got)
					}
					for i := range g.members {
						g.wire.cut(g.beds[i].self.ID, g.beds[old].self.ID, false)
						g.wire.cut(g.beds[old].self.ID, g.beds[i].self.ID, false)
					}
					g.settle()
					g.members[old].set("foo", "back", 0)
					g.settle()
				})
			})
		}
	}
}

// All members lose power at a time. What was acknowledged is there.
func TestCrashOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.tune(func(c *Config) { c.CheckpointEntries = 7 })
		g.startAll()
		for round := range 5 {
			for i := range 10 {
				g.members[i%3].set(fmt.Sprintf("k%d-%d", round, i), "v", 0)
			}
			for i := range g.members {
				g.crash(i)
			}
			g.startAll()
			for i := range 10 {
				if got := g.members[i%3].value(fmt.Sprintf("k%d-%d", round, i)); got != "v" {
					t.Errorf("after the crash k%d-%d = %s, want v", round, i, got)
				}
			}
		}
		g.settle()
	})
}

// The words for a request that got no answer tell why.
func TestTimeouts(t *testing.T) {
	const timedOut = "etcdserver: request timed out"
	t.Run("no leader", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, 3)
			defer g.endAll()
			g.startAll()
			g.crash(g.follower())
			g.crash(g.follower())
			start := time.Now()
			r := g.members[g.leftover()]
			if got := cause(r.try(t.Context(), "x", "")); got != timedOut {
				t.Errorf("a write without a quorum = %s, want %s", got, timedOut)
			}
			if took := time.Since(start); took != r.cfg.requestTimeout() {
				t.Errorf("it took %v, want %v", took, r.cfg.requestTimeout())
			}
			if _, _, err := r.QuorumGet(t.Context(), "/1"); cause(err) != timedOut {
				t.Errorf("a quorum read without a quorum = %v, want %s", err, timedOut)
			}
			if _, _, err := r.Get("/1"); err != nil {
				t.Errorf("a local read without a quorum = %v", err)
			}
		})
	})
	t.Run("leader failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, 3)
			defer g.endAll()
			g.startAll()
			l, f := g.leader(), g.follower()
			g.wire.cut(g.beds[f].self.ID, g.beds[l].self.ID, true)
			failed, start := make(chan error), time.Now()
			go func() { failed <- g.members[f].try(context.Background(), "x", "") }()
			synctest.Wait() // the write is lost on its way to the leader
			g.wire.cut(g.beds[f].self.ID, g.beds[l].self.ID, false)
			g.crash(l)
			got, want := cause(<-failed), timedOut+", possibly due to previous leader failure"
			if g.members[f].SelfStats().LeaderSince.Sub(start) > 2*time.Second {
				want = timedOut // the election took too long for the failure to be the reason
			}
			if got != want {
				t.Errorf("a write that went down with the leader = %s, want %s", got, want)
			}
		})
	})
	t.Run("connection lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, 3)
			defer g.endAll()
			g.startAll()
			l, f := g.leader(), g.follower()
			time.Sleep(10 * time.Second)
			g.wire.cut(g.beds[f].self.ID, g.beds[l].self.ID, true)
			if got, want := cause(g.members[f].try(t.Context(), "x", "")), timedOut+", possibly due to connection lost"; got != want {
				t.Errorf("a write that cannot reach the leader = %s, want %s", got, want)
			}
		})
	})
}

// leftover is a member that runs, whoever leads.
func (g *group) leftover() int {
	for i, r := range g.members {
		if r != nil {
			return i
		}
	}
	return 0
}

// In contact with a quorum means all the time since the request began.
func TestConnected(t *testing.T) {
	start := time.Now()
	before, after := start.Add(-time.Second), start.Add(time.Second)
	status := raftnode.Status{Leader: 2, Conf: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
	s := &Server{id: 1}
	for name, tt := range map[string]struct {
		leads bool
		links map[membership.ID]peer.Link
		want  bool
	}{
		"leader with all":          {true, map[membership.ID]peer.Link{2: {Active: true, Since: before}, 3: {Active: true, Since: before}}, true},
		"leader with one of two":   {true, map[membership.ID]peer.Link{2: {Active: true, Since: before}, 3: {Since: before}}, true},
		"leader with new links":    {true, map[membership.ID]peer.Link{2: {Active: true, Since: after}, 3: {Active: true, Since: after}}, false},
		"leader alone":             {true, nil, false},
		"follower with its leader": {false, map[membership.ID]peer.Link{2: {Active: true, Since: before}}, true},
		"follower without":         {false, map[membership.ID]peer.Link{3: {Active: true, Since: before}}, false},
	} {
		s.leads.Store(tt.leads)
		s.peers = &fixedLinks{links: tt.links}
		if got := s.connected(status, start); got != tt.want {
			t.Errorf("%s: connected = %v, want %v", name, got, tt.want)
		}
	}
}

type fixedLinks struct {
	nobody
	links map[membership.ID]peer.Link
}

func (f *fixedLinks) Links() map[membership.ID]peer.Link { return f.links }

// clients write to all members at a time and remember what became of it.
type clients struct {
	g *group

	mu      sync.Mutex // guards the fields below
	written map[string]bool
	failed  int
}

// write adds values to a queue, each under a key of its own, one after the other.
func (c *clients) write(name string, until time.Time) {
	for i := 0; time.Now().Before(until); i++ {
		value := fmt.Sprintf("%s-%d", name, i)
		r := c.g.member(i % len(c.g.members))
		if r == nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_, err := r.Do(context.Background(), store.Op{Action: store.CreateInOrder, Path: "/1/queue", Value: value})
		c.mu.Lock()
		if err == nil {
			c.written[value] = true
		} else {
			c.failed++
		}
		c.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// Members fail, links fail, messages are late and lost: every write that was
// acknowledged is there, once, and those that were not are there once at most.
func TestNoWriteIsLostOrDoubled(t *testing.T) {
	for _, n := range []int{3, 5} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d members, seed %d", n, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { misfortunes(t, n, seed) })
			})
		}
	}
}

func misfortunes(t *testing.T, n int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	g := newGroup(t, n)
	defer g.endAll()
	g.tune(func(c *Config) { c.CheckpointEntries, c.TailEntries = 200, 100 })
	g.startAll()
	c := &clients{g: g, written: map[string]bool{}}
	var writing sync.WaitGroup
	end := time.Now().Add(30 * time.Second)
	for i := range 8 {
		writing.Go(func() { c.write(fmt.Sprint(i), end) })
	}
	for time.Now().Before(end) {
		g.wire.fault(time.Duration(rng.IntN(20))*time.Millisecond, rng.IntN(5))
		i := rng.IntN(n)
		if rng.IntN(2) == 0 {
			i = g.leader()
		}
		switch rng.IntN(4) {
		case 0:
			g.crash(i)
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
			g.launch(i)
		case 1:
			g.isolate(i, true)
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
			g.isolate(i, false)
		case 2:
			other := rng.IntN(n)
			g.wire.cut(g.beds[i].self.ID, g.beds[other].self.ID, true)
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
			g.wire.cut(g.beds[i].self.ID, g.beds[other].self.ID, false)
		case 3:
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			g.members[i].HandOver(ctx)
			cancel()
		}
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
	writing.Wait()
	g.wire.fault(0, 0)
	g.settle()
	found := map[string]int{}
	for node := range g.members[0].store.Snapshot().All("/1/queue") {
		found[node.Value]++
	}
	for value := range c.written {
		if found[value] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", value, found[value])
		}
	}
	for value, times := range found {
		if times > 1 {
			t.Errorf("%s is there %d times", value, times)
		}
	}
	if len(c.written) < 200 {
		t.Errorf("%d of %d writes were acknowledged, want some more", len(c.written), len(c.written)+c.failed)
	}
}

package etcdserver

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

// A wall clock that was set back between two runs makes no TTL longer, whether
// the time before it is in the checkpoint or only in the log: each bubble begins
// at the same moment, so the second run starts an hour before the first one ended.
func TestClockSetBackBetweenRuns(t *testing.T) {
	for name, entries := range map[string]uint64{"log": 1000, "checkpoint": 1} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.tune = func(c *Config) { c.CheckpointEntries = entries }
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				time.Sleep(time.Hour)
				r := b.start()
				r.set("foo", "bar", 10*time.Second)
				synctest.Wait()
				r.end()
			})
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				r := b.start()
				defer r.end()
				if got := r.value("foo"); got != "bar" {
					t.Errorf("before its TTL foo = %s, want bar", got)
				}
				time.Sleep(11 * time.Second)
				synctest.Wait()
				if got := r.StoreStats().ExpireCount; got != 1 {
					t.Errorf("%d keys expired after 11s, want the one with a TTL of 10s", got)
				}
			})
		})
	}
}

// expires waits until the key goes and tells how long that took, as member r sees it.
func (r *running) expires(key string) time.Duration {
	r.t.Helper()
	start := time.Now()
	w, _, err := r.Watch("/1/"+key, store.WatchOptions{Stream: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer w.Close()
	for {
		d, err := w.Next(context.Background())
		if err != nil {
			r.t.Fatal(err)
		}
		if d.Event.Action == store.Expire {
			return time.Since(start)
		}
	}
}

// Without a leader no TTL runs on; otherwise keys go within 50 ms of their time.
func TestLeaderChangeExtendsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		g.members[f].set("first", "v", 5*time.Second)
		g.members[f].set("second", "v", 20*time.Second)
		if took := g.members[f].expires("first"); took < 5*time.Second || took > 5*time.Second+expiryPause {
			t.Errorf("a TTL of 5s took %v", took)
		}
		lost := time.Now()
		g.crash(l)
		g.leader()
		// The leader's last sign of life may have come one tick before it died, and
		// g.leader looks every 100ms.
		outage := time.Since(lost)
		synctest.Wait() // the new leader tells its time, though nobody writes
		var shown []time.Duration
		for _, r := range g.members {
			if r != nil {
				shown = append(shown, time.Duration(r.Now()-lost.UnixNano()))
			}
		}
		if apart := (shown[0] - shown[1]).Abs(); apart > g.members[f].cfg.Tick {
			t.Errorf("after the election the members' clocks are %v apart", apart)
		}
		took := outage + g.members[f].expires("second")
		if short := 15*time.Second + outage - took; short > 100*time.Millisecond || short < -g.members[f].cfg.Tick-expiryPause {
			t.Errorf("a TTL with 15s to go took %v, want 15s and the %v without a leader", took, outage)
		}
	})
}

// Whatever the wall clocks of the members show, a TTL takes its time: at the
// leader, and at a follower that becomes the leader.
func TestWallClocksPlayNoPart(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 3)
				defer g.endAll()
				for i, b := range g.beds {
					b.skew = skew * time.Duration(i-1) // one behind, one right, one ahead
				}
				g.startAll()
				for range 3 {
					l := g.leader()
					key := fmt.Sprintf("led-by-%d", l)
					g.members[l].set(key, "v", 20*time.Second)
					start := time.Now()
					g.crash(l)
					next := g.leader()
					outage := time.Since(start)
					g.members[next].expires(key)
					if took := time.Since(start); took < 20*time.Second || took > 20*time.Second+outage+time.Second {
						t.Errorf("a TTL of 20s took %v over an outage of %v", took, outage)
					}
					g.launch(l).await()
				}
			})
		})
	}
}

// A cluster with nothing to do but to wait for a deadline writes nothing.
func TestIdleClusterIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		g.members[g.follower()].set("foo", "v", 2*time.Hour)
		time.Sleep(10 * time.Minute) // what was written is compared, once
		g.settle()
		at := g.members[0].progress.position()
		time.Sleep(10 * time.Minute)
		if now := g.members[0].progress.position(); now != at {
			t.Errorf("ten idle minutes moved the log from %v to %v", at, now)
		}
	})
}

// Cluster time falls behind the wall clock with every change of leaders. A restart of
// all members does not give that time back.
func TestRestartAfterLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		for range 10 {
			l := g.leader()
			g.isolate(l, true)
			next := g.leader((l+1)%3, (l+2)%3)
			g.members[next].set("moved", "v", 0)
			g.isolate(l, false)
			g.settle()
		}
		g.members[g.leader()].set("key", "v", 8*time.Second)
		start := time.Now()
		for i := range g.members {
			g.crash(i)
		}
		for i := range g.members {
			g.launch(i)
		}
		l := g.leader()
		outage := time.Since(start)
		g.members[l].expires("key")
		if took := time.Since(start); took < 8*time.Second || took > 8*time.Second+outage+200*time.Millisecond {
			t.Errorf("a TTL of 8s took %v over an outage of %v", took, outage)
		}
	})
}

// What answers show as expiration is the wall time at which the key goes, the same on
// every member, though cluster time lags behind by now.
func TestExpirationIsWallTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		for range 3 {
			l := g.leader()
			g.isolate(l, true)
			time.Sleep(20 * time.Second)
			g.isolate(l, false)
			g.settle()
		}
		l := g.leader()
		g.members[l].set("key", "v", 5*time.Second)
		time.Sleep(2 * g.members[l].cfg.Tick) // a heartbeat
		g.settle()
		var shown []int64
		for _, r := range g.members {
			v, _, err := r.Get("/1/key")
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, v.Node.Expires+r.WallOffset())
		}
		if shown[0] != shown[1] || shown[1] != shown[2] {
			t.Errorf("the members show the expirations %v, want the same", shown)
		}
		g.members[l].expires("key")
		if off := time.Since(time.Unix(0, shown[0])); off.Abs() > 100*time.Millisecond {
			t.Errorf("the key went %v after its expiration", off)
		}
	})
}

// An idle cluster that is stopped forgets no time, and one that is killed forgets ten
// seconds at most: members note cluster time beside the log.
func TestTimeOfAnIdleClusterIsNoted(t *testing.T) {
	for name, stop := range map[string]struct {
		end    func(g *group, i int)
		forget time.Duration
	}{
		"stopped": {(*group).end, 200 * time.Millisecond},
		"killed":  {(*group).crash, timeNotePeriod + 200*time.Millisecond},
	} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d members", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGroup(t, n)
					defer g.endAll()
					g.startAll()
					g.members[g.leader()].set("key", "v", 4*time.Minute)
					set := time.Now()
					time.Sleep(2*time.Minute + 7*time.Second)
					down := time.Now()
					for i := range g.members {
						stop.end(g, i)
					}
					time.Sleep(time.Minute)
					for i := range g.members {
						g.launch(i)
					}
					l := g.leader()
					outage := time.Since(down)
					g.members[l].expires("key")
					late := time.Since(set) - 4*time.Minute - outage
					if late < -outage || late > stop.forget {
						t.Errorf("beyond an outage of %v the TTL was extended by %v, want at most %v", outage, late, stop.forget)
					}
				})
			})
		}
	}
}

// A member without others sends no heartbeats. Its expirations follow its wall clock all
// the same.
func TestExpirationFollowsTheWallClockOfALoneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		defer r.end()
		before := r.WallOffset()
		b.skew = time.Hour
		if moved := r.WallOffset() - before; moved != int64(time.Hour) {
			t.Errorf("after the wall clock was set forward by an hour the offset moved by %v", time.Duration(moved))
		}
	})
}

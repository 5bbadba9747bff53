package etcdserver

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

// force lets member i begin again as the only one.
func (g *group) force(i int) *running {
	g.t.Helper()
	was := g.beds[i].tune
	g.beds[i].tune = func(c *Config) { was(c); c.ForceNewCluster = true }
	r := g.launch(i)
	g.beds[i].tune = was
	r.await()
	return r
}

// Of three members two are lost for ever. The third goes on alone with all that
// was acknowledged, and grows again.
func TestForceNewCluster(t *testing.T) {
	for _, count := range []uint64{10000, 3} {
		t.Run(fmt.Sprintf("checkpoint every %d", count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 3)
				defer g.endAll()
				g.tune(func(c *Config) { c.CheckpointEntries = count })
				g.startAll()
				for i := range 10 {
					g.members[i%3].set(fmt.Sprintf("k%d", i), "v", 0)
				}
				kept := g.follower()
				g.members[g.leader()].set("last", "acknowledged", 0)
				synctest.Wait() // the entry has arrived; that it is committed may not be on the disk
				id, cluster := g.beds[kept].self.ID, g.members[kept].ClusterID()
				for i := range g.members {
					g.crash(i)
				}
				for range 2 { // again does no harm
					r := g.force(kept)
					if got := r.Members(); len(got) != 1 || got[0].ID != id || r.ID() != id || r.ClusterID() != cluster {
						t.Errorf("member %s in cluster %s with %v, want %s in %s alone", r.ID(), r.ClusterID(), got, id, cluster)
					}
					if got := r.value("last"); got != "acknowledged" {
						t.Errorf("the last key reads %s, want what was acknowledged", got)
					}
					if got := r.value("k9"); got != "v" {
						t.Errorf("k9 reads %s, want v", got)
					}
					r.set("new", "v", 0)
					g.end(kept)
				}
				g.launch(kept).await()
				g.members[kept].set("newer", "v", 0)

				// Those that were given up are another cluster, should they come back.
				other := (kept + 1) % 3
				g.launch(other)
				time.Sleep(time.Minute)
				if err := g.members[other].Ready(); err == nil || g.members[other].Status().Leader != 0 {
					t.Errorf("a member given up: Ready() = %v, %+v, want no leader", err, g.members[other].Status())
				}
				g.end(other)
				n := g.add(kept)
				g.launch(n).await()
				g.voters(kept, 2)
				g.settle()
			})
		})
	}
}

// A write that was never acknowledged may be kept, and an own removal that was
// not carried out is not.
func TestForceNewClusterWithATail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2)
		defer g.endAll()
		g.startAll()
		l := g.leader()
		g.isolate(l, true)
		r := g.members[l]
		go r.try(t.Context(), "tail", "v")
		synctest.Wait()
		go r.RemoveMember(t.Context(), r.id)
		synctest.Wait()
		g.crash(1 - l)
		g.crash(l)
		r = g.force(l)
		if got := r.value("tail"); got != "v" {
			t.Errorf("what may have been acknowledged reads %s, want v", got)
		}
		if got := len(r.Members()); got != 1 {
			t.Errorf("%d members, want 1", got)
		}
	})
}

// A member without a vote gets one.
func TestForceNewClusterOfALearner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		g.tune(func(c *Config) { c.CheckpointEntries = 5 })
		g.startAll()
		for i := range 20 {
			g.members[0].set(fmt.Sprintf("k%d", i), "v", 0)
		}
		n := g.add(0)
		g.launch(n)
		for g.members[n].progress.index.Load() < 20 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if !g.members[n].Status().Learner {
			t.Fatal("the new member has a vote already")
		}
		g.end(0)
		g.end(n)
		r := g.force(n)
		if got := r.value("k19"); got != "v" {
			t.Errorf("k19 reads %s, want v", got)
		}
		if st := r.Status(); st.Learner || st.Voters != 1 || st.Learners != 0 {
			t.Errorf("Status = %+v, want one voter", st)
		}
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/x"}); err != nil {
			t.Error(err)
		}
	})
}

// What was removed stays removed.
func TestForceNewClusterOfARemovedMember(t *testing.T) {
	for _, count := range []uint64{10000, 1} {
		t.Run(fmt.Sprintf("checkpoint every %d", count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 1)
				g.tune(func(c *Config) { c.CheckpointEntries = count })
				g.startAll()
				g.remove(0, 0)
				g.crash(0)
				b := g.beds[0]
				b.tune = func(c *Config) { c.ForceNewCluster = true }
				for range 2 {
					s, err := b.open()
					if err == nil {
						err = s.Run(t.Context())
					}
					if !errors.Is(err, ErrRemoved) {
						t.Errorf("forced on the data of a removed member: %v, want ErrRemoved", err)
					}
				}
			})
		})
	}
}

// Without data there is nothing to force.
func TestForceNewClusterWithoutData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		if got := g.force(0).set("foo", "bar", 0).Index; got != 4 {
			t.Errorf("the first key has index %d, want 4", got)
		}
	})
}

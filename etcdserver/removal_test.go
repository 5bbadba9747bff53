package etcdserver

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestReplaceDeadMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.strict()
		g.startAll()
		dead := g.follower()
		g.crash(dead)
		time.Sleep(2 * time.Second)
		at := g.follower()
		g.remove(at, dead)
		n := g.add(at)
		g.launch(n).await()
		g.voters(g.leader(), 3)
		g.members[n].set("foo", "bar", 0)
		g.settle()
	})
}

// A removal waits for an addition that is under way, and both happen.
func TestRemoveWhileAnotherChangeIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		g.isolate(l, true) // nothing is committed until it is let back
		errs := make(chan error, 2)
		go func() { errs <- second(g.members[l].AddMember(t.Context(), []string{"http://new:1"})) }()
		synctest.Wait()
		go func() { errs <- g.members[l].RemoveMember(t.Context(), g.beds[f].self.ID) }()
		time.Sleep(300 * time.Millisecond)
		if len(errs) > 0 {
			t.Errorf("a change without a quorum ended with %v", <-errs)
		}
		g.isolate(l, false)
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got := len(g.members[l].Members()); got != 3 {
			t.Errorf("%d members, want 3: one more and one less", got)
		}
		if err := g.gone(f); !errors.Is(err, ErrRemoved) {
			t.Errorf("Run = %v, want ErrRemoved", err)
		}
		g.settle()
	})
}

// The leader gives way before it is removed, so writes go on without an election.
func TestRemoveLeader(t *testing.T) {
	for _, tt := range []struct {
		who string
		of  int
	}{{"leader", 3}, {"follower", 3}, {"leader", 2}, {"follower", 2}} {
		t.Run(fmt.Sprintf("of %d, asked at the %s", tt.of, tt.who), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, tt.of)
				defer g.endAll()
				g.strict()
				g.startAll()
				l := g.leader()
				at := l
				if tt.who == "follower" {
					at = g.follower()
				}
				start := time.Now()
				g.remove(at, l)
				f := (l + 1) % tt.of
				g.members[f].set("foo", "bar", 0)
				if took := time.Since(start); took > 500*time.Millisecond {
					t.Errorf("removal of the leader and a write took %v", took)
				}
				if err := g.gone(l); !errors.Is(err, ErrRemoved) {
					t.Errorf("Run = %v, want ErrRemoved", err)
				}
				g.voters(f, tt.of-1)
				g.settle()
			})
		})
	}
}

// Whoever stays behind alone needs nobody once the removal is answered, not even
// after a crash.
func TestRemovalOutlivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		g.remove(l, f)
		g.crash(l)
		g.crash(f)
		g.launch(l).await()
		g.members[l].set("foo", "bar", 0)
	})
}

// A removed member ends, and says so again whenever its data are opened, be the
// others there or not.
func TestRestartOfARemovedMember(t *testing.T) {
	for _, count := range []uint64{10000, 1} {
		t.Run(fmt.Sprintf("checkpoint every %d", count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 3)
				defer g.endAll()
				g.tune(func(c *Config) { c.CheckpointEntries = count })
				g.startAll()
				f := g.follower()
				g.remove(f, f)
				if err := g.gone(f); !errors.Is(err, ErrRemoved) {
					t.Fatalf("Run = %v, want ErrRemoved", err)
				}
				// What it knows itself is enough once it has applied its removal; else the
				// others tell it.
				for range 2 {
					s, err := g.beds[f].open()
					if err == nil {
						g.wire.join(s)
						err = s.Run(t.Context())
						g.wire.leave(s.id)
					}
					if !errors.Is(err, ErrRemoved) {
						t.Errorf("again: %v, want ErrRemoved", err)
					}
				}
				g.settle()
			})
		})
	}
}

// The strict check keeps the last voter. Without it the last member may be removed,
// too.
func TestRemoveLastMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		was := g.beds[0].tune
		g.strict()
		g.startAll()
		if err := g.members[0].RemoveMember(t.Context(), g.beds[0].self.ID); !errors.Is(err, ErrUnsafeChange) {
			t.Errorf("RemoveMember of the last voter under the strict check = %v, want ErrUnsafeChange", err)
		}
		g.members[0].set("foo", "bar", 0)
		g.end(0)
		g.beds[0].tune = was
		g.launch(0).await()
		g.remove(0, 0)
		start := time.Now()
		if err := g.gone(0); !errors.Is(err, ErrRemoved) || time.Since(start) > removalGrace {
			t.Errorf("Run = %v after %v, want ErrRemoved within %v", err, time.Since(start), removalGrace)
		}
		start = time.Now()
		s, err := g.beds[0].open()
		if err == nil {
			err = s.Run(t.Context())
		}
		if !errors.Is(err, ErrRemoved) || time.Since(start) > removalGrace {
			t.Errorf("again: %v after %v, want ErrRemoved at once, though nobody else is there", err, time.Since(start))
		}
	})
}

// The only voter stays as long as there are members that could never get a vote
// without it.
func TestLastVoterStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		g.startAll()
		n := g.add(0)
		if err := g.members[0].RemoveMember(t.Context(), g.beds[0].self.ID); !errors.Is(err, ErrUnsafeChange) {
			t.Errorf("RemoveMember of the only voter = %v, want ErrUnsafeChange", err)
		}
		g.remove(0, n)
		g.members[0].set("foo", "bar", 0)
	})
}

// A member that was made a cluster of its own by mistake does not end those that go
// on as a quorum without it.
func TestForcedMemberDoesNotExpelTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		gone := g.follower()
		g.end(gone)
		g.members[g.leader()].set("x", "1", 0)
		g.force(gone).await()
		time.Sleep(10 * time.Second)
		l := g.leader((gone+1)%3, (gone+2)%3)
		g.members[l].set("x", "2", 0)
		if got := g.members[gone].value("x"); got == "2" {
			t.Error("the forced member still belongs to the others")
		}
	})
}

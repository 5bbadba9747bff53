package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

// fetching is a way to the others that tells before it fetches a checkpoint.
type fetching struct {
	*end
	before func(s *Server, from membership.ID) error
}

func (f fetching) Fetch(ctx context.Context, from membership.ID, atLeast uint64, read func(io.Reader) error) error {
	if err := f.before(f.self, from); err != nil {
		return err
	}
	return f.end.Fetch(ctx, from, atLeast, read)
}

// onFetch has all members call f before they fetch a checkpoint.
func (g *group) onFetch(f func(s *Server, from membership.ID) error) {
	g.tune(func(c *Config) {
		was := c.Peers
		c.Peers = func(s *Server) Peers { return fetching{was(s).(*end), f} }
	})
}

// refuses checks that a member answers nothing but that its data is wrong.
func (r *running) refuses(where string) {
	r.t.Helper()
	want := "etcdserver: this member's data differs from the quorum's (first at " + where + "); it fetches a new copy"
	check := func(what string, err error) {
		r.t.Helper()
		var e *store.Error
		if !errors.As(err, &e) || e.Code != store.RaftInternal || e.Cause != want {
			r.t.Errorf("%s of a member whose data is wrong = %v, want %q", what, err, want)
		}
	}
	ctx := r.t.Context()
	_, _, err := r.Get("/1/foo")
	check("Get", err)
	_, _, err = r.QuorumGet(ctx, "/1/foo")
	check("QuorumGet", err)
	_, err = r.Do(ctx, store.Op{Action: store.Set, Path: "/1/foo"})
	check("Do", err)
	_, _, err = r.Watch("/1/foo", store.WatchOptions{})
	check("Watch", err)
	check("Health", r.Health(ctx))
	check("Ready", r.Ready())
	_, err = r.OpenSnapshot(ctx, 1)
	check("OpenSnapshot", err)
	if got := r.Agreement().Refused; got != want {
		r.t.Errorf("Agreement().Refused = %q, want %q", got, want)
	}
}

// A member whose data differs from the quorum's serves nothing until it has a copy
// of another one, and then all of it; a leader hands over before.
func TestMemberThatDiffersIsRepaired(t *testing.T) {
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newComparing(t, 3)
				let := make(chan struct{})
				var asked atomic.Int32
				g.onFetch(func(*Server, membership.ID) error {
					if asked.Add(1) == 1 {
						return errUnreachable
					}
					<-let
					return nil
				})
				defer g.endAll()
				g.startAll()
				wrong := g.leader()
				if who == "follower" {
					wrong = g.follower()
				}
				r, other := g.members[wrong], g.members[(wrong+1)%3]
				other.set("foo", "bar", 0)
				g.settle()
				r.plant("foo", "wrong")
				w, _, err := r.Watch("/1/foo", store.WatchOptions{Stream: true})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(checkEvery + time.Second)
				synctest.Wait()
				r.refuses("/1/foo")
				if d, err := w.Next(t.Context()); err != io.EOF {
					t.Errorf("a watch at the member that is wrong goes on with %v, %v", d, err)
				}
				if r.leading() {
					t.Error("the member that is wrong leads")
				}
				for i := range 20 { // which it finds in the log, and in the copy
					other.set(fmt.Sprintf("meanwhile%d", i), "v", 0)
				}
				if got := other.matches()[r.cfg.Name]; got != Differs {
					t.Errorf("another member says of it: %s, want differs", got)
				}
				close(let)
				time.Sleep(2 * repairRetry)
				g.settle()
				if got := r.value("foo"); got != "bar" {
					t.Errorf("the member reads %s after its repair, want bar", got)
				}
				if err := errors.Join(r.Ready(), r.Health(t.Context())); err != nil {
					t.Errorf("after its repair the member is not ready: %v", err)
				}
				if a := r.Agreement(); a.Refetches != 1 || a.Divergences != 1 || a.Refused != "" {
					t.Errorf("after its repair: %+v", a)
				}
				r.set("after", "v", 0)
				g.awaitCheck()
				for _, m := range g.members {
					for name, match := range m.matches() {
						if match != Agrees {
							t.Errorf("after the repair member %s says of %s: %s", m.cfg.Name, name, match)
						}
					}
				}
				g.settle()
			})
		})
	}
}

// While a member waits for its copy, members come and go. It passes over the
// changes that the copy holds, and raft follows them.
func TestRepairOverChangesOfMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		var once sync.Once
		var change func(from membership.ID)
		g.onFetch(func(_ *Server, from membership.ID) error {
			once.Do(func() { change(from) })
			return nil
		})
		defer g.endAll()
		g.startAll()
		wrong := g.follower()
		r, other := g.members[wrong], g.members[(wrong+1)%3]
		change = func(from membership.ID) {
			ctx := context.Background()
			if _, err := other.AddMember(ctx, []string{"http://127.0.0.1:9001"}); err != nil {
				t.Errorf("AddMember: %v", err)
			}
			gone, err := other.AddMember(ctx, []string{"http://127.0.0.1:9002"})
			if err != nil {
				t.Errorf("AddMember: %v", err)
			}
			if _, err := other.AddMember(ctx, []string{"http://127.0.0.1:9001"}); !errors.Is(err, membership.ErrPeerURLExists) && !errors.Is(err, membership.ErrIDExists) {
				t.Errorf("AddMember with a URL that is taken = %v", err)
			}
			if err := other.RemoveMember(ctx, gone.ID); err != nil {
				t.Errorf("RemoveMember: %v", err)
			}
			other.set("bar", "v", 0)
			s := g.wire.at(from)
			snapshot, err := s.OpenSnapshot(ctx, s.progress.index.Load()) // so that the copy holds all that
			if err != nil {
				t.Errorf("OpenSnapshot: %v", err)
				return
			}
			snapshot.Close()
		}
		other.set("foo", "bar", 0)
		g.settle()
		r.plant("foo", "wrong")
		g.awaitCheck()
		time.Sleep(2 * repairRetry)
		g.settle()
		if r.Agreement().Refetches != 1 {
			t.Fatalf("%+v, want one copy fetched", r.Agreement())
		}
		synctest.Wait()
		for _, m := range g.members {
			if err := m.node.Status().Conf.Equivalent(m.replica.Conf()); err != nil {
				t.Errorf("member %s: raft and the server differ about the members: %v", m.cfg.Name, err)
			}
			if got := len(m.replica.Conf().GetLearners()); got != 1 {
				t.Errorf("member %s has %d learners, want 1", m.cfg.Name, got)
			}
			if got := len(m.Members()); got != 4 {
				t.Errorf("member %s knows %d members, want 4", m.cfg.Name, got)
			}
		}
	})
}

// A copy from further on than what raft knows to be committed here is not put into
// place: raft might later bring in something older. The member waits for the log.
func TestRepairWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		var ahead func(from membership.ID)
		g.onFetch(func(_ *Server, from membership.ID) error { ahead(from); return nil })
		defer g.endAll()
		g.startAll()
		wrong := g.follower()
		r, other := g.members[wrong], g.members[(wrong+1)%3]
		deaf := func(cut bool) {
			for i, b := range g.beds {
				if i != wrong {
					g.wire.cut(b.self.ID, r.id, cut)
				}
			}
		}
		var fetches atomic.Int32
		ahead = func(from membership.ID) {
			if fetches.Add(1) > 1 {
				return
			}
			deaf(true)
			other.set("bar", "v", 0)
			s := g.wire.at(from)
			snapshot, err := s.OpenSnapshot(t.Context(), other.progress.index.Load())
			if err != nil {
				t.Fatal(err)
			}
			snapshot.Close()
		}
		other.set("foo", "bar", 0)
		g.settle()
		r.plant("foo", "wrong")
		g.awaitCheck()
		time.Sleep(r.cfg.requestTimeout() + time.Second)
		if fetches.Load() == 0 || r.Agreement().Refused == "" {
			t.Fatalf("after %d fetches of a copy ahead of the log: %+v, want the member to wait", fetches.Load(), r.Agreement())
		}
		deaf(false)
		time.Sleep(2 * repairRetry)
		g.settle()
		if r.Agreement().Refused != "" || r.value("bar") != "v" {
			t.Errorf("once the log is there: %+v", r.Agreement())
		}
	})
}

// A crash right after the copy was put into place loses nothing of it.
func TestCrashAfterRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		defer g.endAll()
		g.startAll()
		wrong := g.follower()
		r, other := g.members[wrong], g.members[(wrong+1)%3]
		other.set("foo", "bar", 0)
		g.settle()
		r.plant("foo", "wrong")
		for r.Agreement().Refetches == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		g.crash(wrong)
		other.set("bar", "v", 0)
		g.launch(wrong).await()
		g.settle()
		if got := g.members[wrong].value("foo") + g.members[wrong].value("bar"); got != "barv" {
			t.Errorf("after the crash the member reads %s, want barv", got)
		}
		g.members[wrong].set("foo", "again", 0)
		g.awaitCheck()
		if a := g.members[wrong].Agreement(); a.Checks == 0 || a.Divergences != 0 {
			t.Errorf("after the crash: %+v, want checks without a difference", a)
		}
	})
}

// Whoever waits for a write when the member stops serving is told at once.
func TestWaitingWriteIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		g.onFetch(func(*Server, membership.ID) error { return errUnreachable })
		defer g.endAll()
		g.startAll()
		r := g.members[g.follower()]
		r.set("foo", "bar", 0)
		g.settle()
		r.plant("foo", "wrong")
		held := make(chan struct{})
		defer close(held)
		g.wire.onForwarded(func(membership.ID, membership.ID, [][]byte) error { <-held; return nil })
		time.Sleep(checkEvery - time.Second)
		outcome := make(chan error, 1)
		go func() { outcome <- r.try(context.Background(), "bar", "v") }()
		for r.Agreement().Refused == "" {
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case err := <-outcome:
			if err == nil || !strings.Contains(err.Error(), "differs from the quorum") {
				t.Errorf("the write that waited ends with %v, want the refusal", err)
			}
		case <-time.After(time.Second):
			t.Error("the write that waited still waits")
		}
	})
}

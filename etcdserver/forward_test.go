package etcdserver

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/store"
)

// Writes that a leader sends back are tried again after a tick, as long as their
// client waits; each enters the log once.
func TestRefusedWritesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		f := g.members[g.follower()]
		var refusals atomic.Int32
		refusals.Store(3)
		g.wire.onForwarded(func(_, _ membership.ID, _ [][]byte) error {
			if refusals.Add(-1) >= 0 {
				return errors.New("busy")
			}
			return nil
		})
		start := time.Now()
		if _, err := f.Do(t.Context(), store.Op{Action: store.CreateInOrder, Path: "/1/q", Value: "v"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 3*f.cfg.Tick {
			t.Errorf("three refusals cost %v, want three ticks", took)
		}
		g.settle()
		if v, _, err := f.Get("/1/q"); err != nil || count(v) != 1 {
			t.Errorf("the queue holds %d, %v; want one value", count(v), err)
		}

		refusals.Store(1 << 30)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.try(ctx, "x", ""); err == nil {
			t.Error("a write was acknowledged that the leader refuses")
		}
		time.Sleep(time.Second)
		refusals.Store(0)
		time.Sleep(time.Second)
		if _, ok := f.store.Lookup("/1/x"); ok {
			t.Error("a write was made after its client had left")
		}
	})
}

func count(v store.View) int {
	n := 0
	for range v.All(v.Node.Path) {
		n++
	}
	return n
}

// A write that comes while nobody leads waits for a leader.
func TestWriteWaitsForALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		r := g.launch(0)
		done := make(chan error, 1)
		go func() { done <- r.try(context.Background(), "x", "early") }()
		time.Sleep(3 * time.Second)
		g.startAll()
		if err := <-done; err != nil {
			t.Errorf("a write before there was a leader = %v", err)
		}
		g.settle()
	})
}

// A write whose client was told that it timed out, because its member had no
// leader, does not appear when the member is back, over what others wrote since.
func TestWriteThatFoundNoLeaderIsDropped(t *testing.T) {
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 3)
				defer g.endAll()
				g.startAll()
				cut := g.leader()
				if who == "follower" {
					cut = g.follower()
				}
				g.isolate(cut, true)
				time.Sleep(10 * time.Second)
				if err := g.members[cut].try(t.Context(), "x", "stale"); err == nil {
					t.Error("a write was acknowledged without a quorum")
				}
				g.members[g.leader((cut+1)%3, (cut+2)%3)].set("x", "new", 0)
				late := make(chan error, 1)
				go func() { late <- g.member(cut).try(context.Background(), "y", "late") }()
				time.Sleep(time.Second)
				g.isolate(cut, false)
				if err := <-late; err != nil {
					t.Errorf("a write whose client waits = %v", err)
				}
				g.settle()
				if got := g.members[cut].value("x"); got != "new" {
					t.Errorf("x = %s, want new: the client of the other write was told that it timed out", got)
				}
			})
		})
	}
}

// What could not be applied would stop every member and keep it from starting
// again, so it does not get into the log, whoever sends it.
func TestForwardedWritesAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.members[g.leader()], g.members[g.follower()]
		write := func(a store.Action, path, value string) []byte {
			return replica.EncodeWrite(7, store.Op{Action: a, Path: path, Value: value, Recursive: true, Dir: a == store.Delete})
		}
		good := write(store.Set, "/1/x", "v")
		for name, bad := range map[string][]byte{
			"short":        good[:16],
			"cut off":      good[:19],
			"mark":         replica.EncodeBarrier(),
			"no path":      write(store.Set, "1/x", ""),
			"all":          write(store.Delete, "/", ""),
			"cluster":      write(store.Delete, "/0", ""),
			"members":      write(store.Delete, "/0/members", ""),
			"no member":    write(store.Set, "/0/members/zz/attributes", "{}"),
			"peer URLs":    write(store.Set, membership.RaftAttributesPath(f.id), "{}"),
			"attributes":   write(store.Set, membership.AttributesPath(f.id), "{"),
			"no version":   write(store.Set, membership.VersionPath, "two"),
			"late version": write(store.Set, membership.VersionPath, "9.0.0"),
		} {
			if err := l.Forwarded(t.Context(), f.id, [][]byte{good, bad}); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
		for _, change := range []string{`{"kind":1,"request":1,"id":0,"peerURLs":["http://10.0.0.1:2380"]}`,
			`{"kind":1,"request":1,"id":5}`, `{"kind":3,"request":1,"id":5,"peerURLs":["::"]}`} {
			if _, err := l.Answer(t.Context(), f.id, questionChange, []byte(change)); err == nil {
				t.Errorf("change %s: taken", change)
			}
		}
		g.settle()
		if _, ok := l.store.Lookup("/1/x"); ok {
			t.Error("of a refused batch a write was taken")
		}
		f.set("x", "v", 0)
	})
}

// The disk of a follower counts for its clients, that of the leader for all. The
// members' own writes go on.
func TestSpaceOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2) // of more, another one would lead soon
		defer g.endAll()
		g.tune(func(c *Config) { c.MinFreeBytes = 1 << 20 })
		g.startAll()
		l, f := g.leader(), g.follower()
		looked := time.Since(g.members[l].started) % roomPeriod // ago: whether it has room
		time.Sleep(roomPeriod - looked + time.Millisecond)
		g.beds[l].free.Store(1<<20 - 1)
		time.Sleep(2 * spacePoll) // it knows, and looks again later
		for _, i := range []int{l, f} {
			start := time.Now()
			if got := cause(g.members[i].try(t.Context(), "x", "v")); !strings.Contains(got, "no space") || !strings.Contains(got, g.beds[l].dir) {
				t.Errorf("a write at member %d = %s, want that the leader's disk is full", i, got)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("the refusal took %v", took)
			}
		}
		op := store.Op{Action: store.Set, Path: membership.AttributesPath(g.members[f].id), Value: membership.Attributes(g.beds[f].self)}
		if _, err := g.members[f].doInternal(t.Context(), op); err != nil {
			t.Errorf("a follower's own write = %v", err)
		}
		g.beds[l].free.Store(1 << 40)
		g.beds[f].free.Store(1<<20 - 1)
		time.Sleep(2 * roomPeriod) // it may lead by now, and hands over again
		if got := cause(g.members[f].try(t.Context(), "x", "v")); !strings.Contains(got, g.beds[f].dir) {
			t.Errorf("a write at a follower without room = %s, want a refusal", got)
		}
		g.members[l].set("x", "v", 0)
		g.settle()
	})
}

// A leader of three without room has another one lead, which takes writes.
func TestLeaderWithoutRoomHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.tune(func(c *Config) { c.MinFreeBytes = 1 << 20 })
		g.startAll()
		l, f := g.leader(), g.follower()
		g.beds[l].free.Store(1<<20 - 1)
		time.Sleep(2 * roomPeriod)
		if now := g.leader(); now == l {
			t.Error("a leader without room still leads")
		}
		g.members[f].set("x", "v", 0)
		if got := cause(g.members[l].try(t.Context(), "x", "v")); !strings.Contains(got, g.beds[l].dir) {
			t.Errorf("a write at a member without room = %s, want a refusal", got)
		}
		for _, b := range g.beds {
			b.free.Store(1<<20 - 1)
		}
		time.Sleep(10 * time.Second)
		term := g.members[l].Status().Term
		time.Sleep(5 * roomRest)
		if n := g.members[l].Status().Term - term; n < 5 || n > 15 {
			t.Errorf("leadership moved %d times in five minutes when nobody had room, want once a minute and member at most", n)
		}
	})
}

// What is no write does not get into the log, from wherever it comes.
func TestForwardedRefusesOtherThings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		for _, w := range [][]byte{nil, {1, 2}, make([]byte, 17)} {
			if err := r.Forwarded(t.Context(), 1, [][]byte{w}); err == nil {
				t.Errorf("Forwarded(%x) = nil", w)
			}
		}
		if _, err := r.Answer(t.Context(), 1, "what", nil); err == nil {
			t.Error("a question nobody knows was answered")
		}
		if _, err := r.Answer(t.Context(), 1, questionRefused, []byte("other")); err == nil {
			t.Error("a refusal that is none was taken")
		}
	})
}

// A member that had a leader in an earlier run is in the right cluster, whatever a
// neighbour says before it has one again.
func TestMismatchAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		for i := range g.members {
			g.crash(i)
		}
		r := g.launch(0)
		r.Mismatch(5, 0xabc)
		time.Sleep(time.Second)
		select {
		case err := <-r.done:
			t.Errorf("Run = %v, want it to go on", err)
		default:
		}
	})
}

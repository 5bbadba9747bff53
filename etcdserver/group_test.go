package etcdserver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

// group is a cluster of members on one wire. A member that is down is nil.
type group struct {
	t       *testing.T
	wire    *wire
	beds    []*bed
	mu      sync.Mutex // held by the test's own goroutine when it changes members
	members []*running
}

// newGroup makes a cluster of n members that have never run. It belongs into the
// bubble in which they will.
func newGroup(t *testing.T, n int) *group {
	g := &group{t: t, wire: newWire(), members: make([]*running, n)}
	g.beds = newBeds(t, n)
	for _, b := range g.beds {
		g.connect(b)
	}
	return g
}

// connect puts a member on the wire.
func (g *group) connect(b *bed) {
	b.tune = func(c *Config) {
		c.Peers = func(s *Server) Peers { return &end{wire: g.wire, self: s} }
	}
}

// tune changes the configuration of all members from their next start on.
func (g *group) tune(f func(*Config)) {
	for _, b := range g.beds {
		was := b.tune
		b.tune = func(c *Config) { was(c); f(c) }
	}
}

// launch starts member i.
func (g *group) launch(i int) *running {
	g.t.Helper()
	r := g.beds[i].launch()
	g.wire.join(r.Server)
	g.put(i, r)
	return r
}

func (g *group) put(i int, r *running) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[i] = r
}

// member is for others than the test's own goroutine.
func (g *group) member(i int) *running {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[i]
}

// startAll starts the members that are down and waits until they are announced.
func (g *group) startAll() {
	g.t.Helper()
	for i, r := range g.members {
		if r == nil {
			g.launch(i)
		}
	}
	for _, r := range g.members {
		r.await()
	}
}

// end stops member i in good order.
func (g *group) end(i int) {
	g.t.Helper()
	g.wire.leave(g.members[i].id)
	g.members[i].end()
	g.put(i, nil)
}

// endAll stops everybody. A test ends with it.
func (g *group) endAll() {
	g.t.Helper()
	for i, r := range g.members {
		if r != nil {
			g.end(i)
		}
	}
	time.Sleep(time.Minute) // what is under way arrives nowhere
}

// crash cuts the power of member i: it says no more, and what its log had not
// synced may be lost.
func (g *group) crash(i int) {
	g.t.Helper()
	r := g.members[i]
	g.wire.leave(r.id)
	g.beds[i].log.StopAfter(0)
	g.beds[i].snaps.Open() // whoever had it is cut off
	r.stop()
	<-r.done
	g.beds[i].log.Crash()
	g.put(i, nil)
}

// isolate cuts a member off from all others, or lets it back.
func (g *group) isolate(i int, cut bool) {
	for j, b := range g.beds {
		if j != i {
			g.wire.cut(g.beds[i].self.ID, b.self.ID, cut)
			g.wire.cut(b.self.ID, g.beds[i].self.ID, cut)
		}
	}
}

// leader waits until one of the given members, or of all, leads and is followed by
// a quorum; it returns its number.
func (g *group) leader(among ...int) int {
	g.t.Helper()
	for range 300 {
		followers := map[membership.ID]int{}
		for _, r := range g.members {
			if r != nil {
				followers[r.Status().Leader]++
			}
		}
		for i, r := range g.members {
			if r != nil && (len(among) == 0 || slices.Contains(among, i)) && r.leading() && followers[r.id] > len(g.members)/2 {
				return i
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.t.Fatal("no leader in 30s")
	return 0
}

// follower is a member that runs and does not lead.
func (g *group) follower() int {
	g.t.Helper()
	l := g.leader()
	for i, r := range g.members {
		if r != nil && i != l {
			return i
		}
	}
	g.t.Fatal("no follower")
	return 0
}

// settle waits until all running members have applied the same, and compares
// their trees.
func (g *group) settle() {
	g.t.Helper()
	for range 300 {
		synctest.Wait()
		if g.settled() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, r := range g.members {
		if r != nil {
			g.t.Errorf("member %s: %+v", r.cfg.Name, r.Status())
		}
	}
	g.t.Fatal("the members do not settle in 30s")
}

func (g *group) settled() bool {
	var first *running
	for _, r := range g.members {
		switch {
		case r == nil:
		case first == nil:
			first = r
		case r.progress.position() != first.progress.position():
			return false
		}
	}
	for _, r := range g.members {
		if r != nil && string(r.dump()) != string(first.dump()) {
			g.t.Fatalf("members %s and %s differ at %v", r.cfg.Name, first.cfg.Name, r.progress.position())
		}
	}
	return true
}

// add asks member at for a new member and gives it a place, from which it is not
// started yet. It returns the number of the new member.
func (g *group) add(at int) int {
	g.t.Helper()
	n := len(g.beds)
	m := numbered(n)
	added, err := g.members[at].AddMember(g.t.Context(), m.PeerURLs)
	if err != nil {
		g.t.Fatalf("AddMember(%v) at %s: %v", m.PeerURLs, g.beds[at].self.Name, err)
	}
	added.Name = m.Name
	b := newBedOf(g.t, added, nil)
	remotes, cluster := g.members[at].Members(), g.members[at].ClusterID()
	g.connect(b)
	was := b.tune
	b.tune = func(c *Config) {
		was(c)
		c.Join, c.Remotes, c.ClusterID, c.StrictReconfig = true, remotes, cluster, true
	}
	g.beds, g.members = append(g.beds, b), append(g.members, nil)
	return n
}

// strict makes all founding members refuse unsafe changes.
func (g *group) strict() { g.tune(func(c *Config) { c.StrictReconfig = true }) }

// voters waits until a member knows this many voters and nobody without a vote.
func (g *group) voters(at, want int) {
	g.t.Helper()
	for range 300 {
		conf := g.members[at].node.Status().Conf
		if len(conf.GetVoters()) == want && len(conf.GetLearners()) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.t.Fatalf("member %s knows %v, want %d voters", g.beds[at].self.Name, g.members[at].node.Status().Conf, want)
}

// gone takes note of a member that has ended by itself, with why it did.
func (g *group) gone(i int) error {
	g.t.Helper()
	r := g.members[i]
	var err error
	select {
	case err = <-r.done:
	case <-time.After(30 * time.Second):
		g.t.Fatalf("member %s does not end", r.cfg.Name)
	}
	r.stop()
	g.wire.leave(r.id)
	g.members[i] = nil
	return err
}

// remove removes a member and fails the test if that is refused.
func (g *group) remove(at, i int) {
	g.t.Helper()
	if err := g.members[at].RemoveMember(g.t.Context(), g.beds[i].self.ID); err != nil {
		g.t.Fatalf("RemoveMember(%s) at %s: %v", g.beds[i].self.Name, g.beds[at].self.Name, err)
	}
}

// follower0 is a follower, or the only member there is.
func (g *group) follower0() int {
	if len(g.members) == 1 {
		return 0
	}
	return g.follower()
}

// join adds a member and starts it.
func (g *group) join(at int) { g.launch(g.add(at)).await() }

// try is a write that may fail.
func (r *running) try(ctx context.Context, key, value string) error {
	_, err := r.Do(ctx, store.Op{Action: store.Set, Path: "/1/" + key, Value: value})
	return err
}

func TestThreeMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		f := g.members[g.follower()]
		if got := f.set("foo", "bar", 0).Index; got != 8 {
			t.Errorf("the first key of three members has index %d, want 8", got)
		}
		for _, r := range g.members {
			if got := r.value("foo"); got != "bar" {
				t.Errorf("member %s reads %s, want bar", r.cfg.Name, got)
			}
			if got := len(r.Members()); got != 3 {
				t.Errorf("member %s knows %d members, want 3", r.cfg.Name, got)
			}
			if got := len(r.peers.(*end).set()); got != 3 {
				t.Errorf("member %s reaches %d members, want 3", r.cfg.Name, got)
			}
		}
		g.settle()
	})
}

// One of three members may crash at any time; with its disk it comes back, and
// what was written meanwhile comes to it.
func TestCrashOfOneMember(t *testing.T) {
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 3)
				defer g.endAll()
				g.startAll()
				for i := range 20 {
					g.members[i%3].set(fmt.Sprintf("a%d", i), "v", 0)
				}
				gone := g.leader()
				if who == "follower" {
					gone = g.follower()
				}
				g.crash(gone)
				f := g.members[g.follower()]
				for i := range 20 {
					f.set(fmt.Sprintf("b%d", i), "v", 0)
				}
				g.launch(gone).await()
				g.settle()
				if got := g.members[gone].value("b19"); got != "v" {
					t.Errorf("the member that crashed reads %s, want v", got)
				}
			})
		})
	}
}

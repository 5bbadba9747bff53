package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

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

// From one member to five, one after the other, and two of them may die, the
// leader among them.
func TestGrowFromOneToFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		g.strict()
		g.startAll()
		index := g.members[0].set("before", "1", 0).Index
		for range 4 {
			at := g.follower0()
			n := g.add(at)
			if got := g.members[at].set("added", "1", 0).Index; got != index+2 {
				t.Fatalf("index after adding a member is %d, want %d: one more for it", got, index+2)
			}
			g.launch(n).await()
			g.voters(g.leader(), n+1)
			index = g.members[n].set("joined", "1", 0).Index
			if got := g.members[n].value("before"); got != "1" {
				t.Errorf("the new member reads %s, want 1", got)
			}
		}
		g.settle()
		if got := len(g.members[0].Members()); got != 5 {
			t.Fatalf("%d members, want 5", got)
		}
		for _, m := range g.members[0].Members() {
			if m.Name == "" || len(m.ClientURLs) == 0 {
				t.Errorf("member %s has not published itself: %v", m.ID, m)
			}
		}
		g.crash(g.leader())
		g.crash(g.follower())
		start := time.Now()
		f := g.members[g.follower()]
		f.set("after", "1", 0)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("writes went on after %v", took)
		}
		g.settle()
	})
}

// follower0 is a follower, or the only member there is.
func (g *group) follower0() int {
	if len(g.members) == 1 {
		return 0
	}
	return g.follower()
}

// While a new member does not run, the cluster goes on as before: it has no vote.
func TestAddedMemberCostsNothingUntilItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		g.startAll()
		n := g.add(0)
		time.Sleep(time.Minute)
		g.members[0].set("foo", "bar", 0)
		st := g.members[0].Status()
		if st.Voters != 1 || st.Learners != 1 || st.Learner {
			t.Errorf("Status = %+v, want one voter and one learner", st)
		}
		g.launch(n)
		time.Sleep(100 * time.Millisecond)
		g.members[n].await()
		g.voters(0, 2)
		synctest.Wait()
		if st := g.members[n].Status(); st.Voters != 2 || st.Learners != 0 || st.Learner {
			t.Errorf("Status of the new member = %+v, want two voters", st)
		}
	})
}

// A member that has a long way to go gets its vote at the end of it.
func TestPromotionOnlyAfterCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		defer g.endAll()
		g.startAll()
		for i := range 3 * promoteLag {
			g.members[0].set(fmt.Sprintf("k%d", i%10), strings.Repeat("v", 100), 0)
		}
		n := g.add(0)
		g.wire.fault(200*time.Millisecond, 0)
		g.launch(n)
		for range 2000 {
			time.Sleep(10 * time.Millisecond)
			progress, err := g.members[0].node.Progress(t.Context())
			if err != nil {
				continue
			}
			st := g.members[0].node.Status()
			if p := progress[uint64(g.beds[n].self.ID)]; !p.Learner {
				if p.Match+promoteLag < st.Commit {
					t.Errorf("promoted at %d of %d", p.Match, st.Commit)
				}
				g.members[n].await()
				return
			}
		}
		t.Error("never promoted")
	})
}

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

// What a change of members does to the index is part of the API.
func TestIndexOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		index := g.members[f].set("foo", "bar", 0).Index
		step := func(what string, by uint64) {
			t.Helper()
			index += by + 1
			if got := g.members[f].set("foo", "bar", 0).Index; got != index {
				t.Errorf("index after %s is %d, want %d", what, got, index)
			}
		}
		n := g.add(f)
		step("an addition", 1)
		if err := g.members[f].UpdateMember(t.Context(), g.beds[n].self.ID, []string{"http://z:1", "http://b:1"}); err != nil {
			t.Fatal(err)
		}
		step("an update", 1)
		for _, r := range []*running{g.members[f], g.members[l]} {
			synctest.Wait()
			m, _ := r.cluster.Load().Member(g.beds[n].self.ID)
			if fmt.Sprint(m.PeerURLs) != "[http://b:1 http://z:1]" {
				t.Errorf("peer URLs at %s are %v, want the two new ones in order", r.cfg.Name, m.PeerURLs)
			}
		}
		g.remove(f, n)
		step("a removal", 2)
		g.settle()
	})
}

// An update keeps the name of the member, and everybody reaches it at its new
// URLs at once.
func TestUpdateMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		f := g.members[g.follower()]
		if err := f.UpdateMember(t.Context(), f.id, []string{"http://new:1"}); err != nil {
			t.Fatal(err)
		}
		g.settle()
		for _, r := range g.members {
			for _, m := range r.peers.(*end).set() {
				if m.ID == f.id && (m.Name != f.cfg.Name || fmt.Sprint(m.PeerURLs) != "[http://new:1]") {
					t.Errorf("%s reaches %v", r.cfg.Name, m)
				}
			}
		}
	})
}

func TestRefusedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		n := g.add(f)
		g.remove(f, n)
		removed, known := g.beds[n].self, g.beds[l].self
		for _, at := range []int{f, l} { // asked at a follower, and at the leader itself
			r := g.members[at]
			tests := []struct {
				what string
				err  error
				want error
			}{
				{"add a URL in use", second(r.AddMember(t.Context(), known.PeerURLs)), membership.ErrPeerURLExists},
				{"add again within the second", second(r.AddMember(t.Context(), removed.PeerURLs)), membership.ErrIDExists},
				{"update a URL in use", r.UpdateMember(t.Context(), g.beds[f].self.ID, known.PeerURLs), membership.ErrPeerURLExists},
				{"update an unknown member", r.UpdateMember(t.Context(), 77, []string{"http://z:1"}), membership.ErrIDNotFound},
				{"update a removed member", r.UpdateMember(t.Context(), removed.ID, []string{"http://z:1"}), membership.ErrIDRemoved},
				{"remove an unknown member", r.RemoveMember(t.Context(), 77), membership.ErrIDNotFound},
				{"remove a removed member", r.RemoveMember(t.Context(), removed.ID), membership.ErrIDRemoved},
			}
			for _, tt := range tests {
				if !errors.Is(tt.err, tt.want) {
					t.Errorf("%s at %s: %v, want %v", tt.what, r.cfg.Name, tt.err, tt.want)
				}
			}
		}
		g.settle()
	})
}

func second[T any](_ T, err error) error { return err }

// Of requests that race only one can win, wherever they are asked for.
func TestChangesThatRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		const each = 5
		errs := make(chan error, 3*each)
		for i, r := range g.members {
			for j := range each {
				go func() {
					urls := []string{fmt.Sprintf("http://new:%d", j+1), fmt.Sprintf("http://of%d:%d", i, j)}
					_, err := r.AddMember(t.Context(), urls)
					errs <- err
				}()
			}
		}
		won := 0
		for range cap(errs) {
			switch err := <-errs; {
			case err == nil:
				won++
			case !errors.Is(err, membership.ErrPeerURLExists):
				t.Errorf("AddMember = %v", err)
			}
		}
		if members := g.members[0].Members(); won != each || len(members) != 3+each {
			t.Errorf("%d additions won and %d members, want %d and %d", won, len(members), each, 3+each)
		}
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

// A member without a vote takes requests like any other.
func TestChangeAskedAtALearner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		n := g.add(0)
		r := g.launch(n)
		if err := r.RemoveMember(t.Context(), 77); !errors.Is(err, membership.ErrIDNotFound) {
			t.Errorf("RemoveMember = %v, want ErrIDNotFound", err)
		}
		g.remove(n, n)
		if err := g.gone(n); !errors.Is(err, ErrRemoved) {
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

// The last member may be removed, too.
func TestRemoveLastMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		g.strict()
		g.startAll()
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

// Strict members refuse what would leave fewer voters in contact than a quorum.
func TestStrictReconfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.strict()
		g.startAll()
		dead := g.follower()
		g.crash(dead)
		time.Sleep(2 * time.Second)
		l, f := g.leader(), g.follower()
		for _, at := range []int{l, f} {
			for _, who := range []int{l, f} {
				if err := g.members[at].RemoveMember(t.Context(), g.beds[who].self.ID); !errors.Is(err, ErrUnsafeChange) {
					t.Errorf("removal of a live member of two at %s = %v, want ErrUnsafeChange", g.beds[at].self.Name, err)
				}
			}
		}
		g.join(f) // needs no vote, so costs none
		g.remove(f, dead)
		g.members[f].set("foo", "bar", 0)
		g.settle()
	})
}

// join adds a member and starts it.
func (g *group) join(at int) { g.launch(g.add(at)).await() }

// Without a quorum a change is refused or times out like any write, and may not
// be there afterwards.
func TestChangeWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.strict()
		g.startAll()
		alone := g.leader()
		for i := range g.members {
			if i != alone {
				g.crash(i)
			}
		}
		start := time.Now()
		_, err := g.members[alone].AddMember(t.Context(), []string{"http://new:1"})
		var e *store.Error
		if !errors.As(err, &e) || e.Code != store.RaftInternal || time.Since(start) != 7*time.Second {
			t.Errorf("AddMember = %v after %v, want a time-out after 7s", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.members[alone].AddMember(ctx, []string{"http://new:1"}); !errors.As(err, &e) || e.Cause != "etcdserver: request cancelled" {
			t.Errorf("AddMember of a client that left = %v", err)
		}
		g.startAll()
		g.settle()
	})
}

// A change asked for during an election waits for the new leader.
func TestChangeDuringElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.strict()
		g.startAll()
		l := g.leader()
		g.crash(l)
		at := (l + 1) % 3
		g.remove(at, l)
		if got := len(g.members[at].Members()); got != 2 {
			t.Errorf("%d members, want 2", got)
		}
		g.settle()
	})
}

// An answer that got lost is not asked for again: what became of the change comes
// with the log.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		f := g.follower()
		r := g.members[f]
		lost := &losesAnswers{Peers: r.peers}
		r.peers = lost
		m, err := r.AddMember(t.Context(), []string{"http://new:1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, known := r.cluster.Load().Member(m.ID); !known || lost.asked != 1 {
			t.Errorf("member known: %v, asked %d times; want one question", known, lost.asked)
		}
		if err := r.RemoveMember(t.Context(), 77); !errors.Is(err, membership.ErrIDNotFound) {
			t.Errorf("RemoveMember = %v, want ErrIDNotFound", err)
		}
		g.settle()
	})
}

// losesAnswers is a way to the others on which no answer comes back.
type losesAnswers struct {
	Peers
	asked int
}

func (l *losesAnswers) Ask(ctx context.Context, to membership.ID, question string, body []byte) ([]byte, error) {
	l.asked++
	if _, err := l.Peers.Ask(ctx, to, question, body); err != nil {
		return nil, errUnreachable
	}
	return nil, errUnreachable
}

func TestTransferLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		third := g.members[3-l-f]
		start := time.Now()
		for _, at := range []*running{g.members[l], g.members[f], third} {
			if err := at.TransferLeader(t.Context(), third.id); err != nil || at.Status().Leader != third.id {
				t.Errorf("TransferLeader at %s = %v, leader %s, want %s", at.cfg.Name, err, at.Status().Leader, third.id)
			}
			if err := at.TransferLeader(t.Context(), g.members[l].id); err != nil {
				t.Errorf("TransferLeader back at %s = %v", at.cfg.Name, err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("six transfers took %v", took)
		}
		if got, ok := third.Leader(); !ok || got.ID != g.members[l].id {
			t.Errorf("Leader = %v, %v", got, ok)
		}
		n := g.add(l)
		g.settle() // the third member has heard of it
		if err := third.TransferLeader(t.Context(), g.beds[n].self.ID); !errors.Is(err, ErrLearner) {
			t.Errorf("TransferLeader to a learner = %v, want ErrLearner", err)
		}
		if err := third.TransferLeader(t.Context(), 77); !errors.Is(err, membership.ErrIDNotFound) {
			t.Errorf("TransferLeader to nobody = %v, want ErrIDNotFound", err)
		}
		g.crash(f)
		time.Sleep(2 * time.Second)
		var e *store.Error
		if err := third.TransferLeader(t.Context(), g.beds[f].self.ID); !errors.As(err, &e) || !strings.Contains(e.Cause, "not in contact") {
			t.Errorf("TransferLeader to a dead member = %v, want a word about contact", err)
		}
	})
}

// A leader that stops in good order leaves no gap.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		start := time.Now()
		g.members[l].HandOver(t.Context())
		g.end(l)
		g.members[f].set("foo", "bar", 0)
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("a write after the hand-over took %v", took)
		}
		g.members[g.follower()].HandOver(t.Context()) // has nothing to give
	})
}

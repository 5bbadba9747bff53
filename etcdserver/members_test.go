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

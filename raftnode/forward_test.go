package raftnode

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// startForwarding starts three members that forward to each other what the
// leader has to propose, and queue again what it refuses.
func (w *network) startForwarding(t *testing.T, cfg Config) []*running {
	t.Helper()
	var all []*running
	for id := range uint64(3) {
		cfg.ID = id + 1
		var self *running
		cfg.Forward = func(leader uint64, data [][]byte) {
			data = slices.Clone(data)
			to := all[leader-1]
			go func() {
				if to.ProposeAsLeader(context.Background(), data) == nil {
					return
				}
				time.Sleep(cfg.withDefaults().Tick)
				for _, d := range data {
					if err := self.Propose(context.Background(), d); err != nil && err != ErrStopped {
						t.Errorf("Propose again = %v", err)
					}
				}
			}()
		}
		self = w.start(t, cfg, State{Conf: voters(1, 2, 3)}, &slowLog{})
		all = append(all, self)
	}
	return all
}

func TestWritesOfEveryMemberEnterTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startForwarding(t, Config{})
		for _, r := range all {
			propose(t, r, fmt.Sprint("early at ", r.cfg.ID)) // nobody leads yet
		}
		leader(t, all)
		for _, r := range all {
			propose(t, r, fmt.Sprint("late at ", r.cfg.ID))
		}
		time.Sleep(time.Second)
		want := []string{"early at 1", "early at 2", "early at 3", "late at 1", "late at 2", "late at 3"}
		for _, r := range all {
			if got := slices.Sorted(slices.Values(r.applied())); !slices.Equal(got, want) {
				t.Errorf("member %d applied %q, want %q", r.cfg.ID, got, want)
			}
		}
		stopAll(t, all...)
	})
}

// What nobody waits for any more when a leader is found at last is dropped, however
// much of it there is; the rest goes on.
func TestUnwantedProposalsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		large := strings.Repeat("x", maxBatchBytes/2)
		cfg := Config{Wanted: func(d []byte) bool { return !strings.HasPrefix(string(d), "gone") }}
		var all []*running
		cfg.Forward = func(leader uint64, data [][]byte) {
			data = slices.Clone(data)
			go all[leader-1].ProposeAsLeader(context.Background(), data)
		}
		for id := range uint64(3) {
			cfg.ID = id + 1
			all = append(all, w.start(t, cfg, State{Conf: voters(1, 2, 3)}, &slowLog{}))
			if id == 0 {
				for i := range 4 {
					propose(t, all[0], fmt.Sprint("gone ", i, large))
					propose(t, all[0], fmt.Sprint("here ", i))
				}
				time.Sleep(time.Minute)
			}
		}
		leader(t, all)
		time.Sleep(time.Second)
		propose(t, all[0], "gone, but in time")
		time.Sleep(time.Second)
		want := []string{"gone, but in time", "here 0", "here 1", "here 2", "here 3"}
		for _, r := range all {
			if got := slices.Sorted(slices.Values(r.applied())); !slices.Equal(got, want) {
				t.Errorf("member %d applied %d proposals, want %q", r.cfg.ID, len(got), want)
			}
		}
		stopAll(t, all...)
	})
}

func TestTransferUnderLoadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startForwarding(t, Config{})
		leader(t, all)
		var stop atomic.Bool
		var proposing sync.WaitGroup
		var mu sync.Mutex
		var want []string // guarded by mu
		for _, r := range all {
			for client := range 2 {
				proposing.Go(func() {
					for i := 0; !stop.Load(); i++ {
						d := fmt.Sprintf("%d/%d/%04d", r.cfg.ID, client, i)
						propose(t, r, d)
						mu.Lock()
						want = append(want, d)
						mu.Unlock()
						time.Sleep(time.Millisecond)
					}
				})
			}
		}
		terms := map[uint64]bool{}
		for range 5 {
			l := leader(t, all)
			terms[l.Status().Term] = true
			l.disk.set(20*time.Millisecond, nil)
			next := l.cfg.ID%3 + 1
			if err := l.TransferLeader(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
			if got := all[next-1].Status().Leader; got != next {
				t.Errorf("leader = %d, want %d", got, next)
			}
			l.disk.set(0, nil)
		}
		stop.Store(true)
		proposing.Wait()
		time.Sleep(5 * time.Second)
		if len(terms) < 5 {
			t.Errorf("leadership moved %d times, want 5", len(terms))
		}
		slices.Sort(want)
		for _, r := range all {
			if got := slices.Sorted(slices.Values(r.applied())); !slices.Equal(got, want) {
				t.Errorf("member %d applied %d writes, want each of the %d once", r.cfg.ID, len(got), len(want))
			}
		}
		stopAll(t, all...)
	})
}

func TestProposeAsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newNetwork().start(t, Config{ID: 1, MaxUncommittedBytes: 100}, State{Conf: voters(1)}, &slowLog{})
		synctest.Wait()
		ctx := t.Context()
		if err := r.ProposeAsLeader(ctx, nil); err != nil {
			t.Errorf("ProposeAsLeader of nothing = %v", err)
		}
		r.disk.set(time.Second, nil)
		propose(t, r, "queued")
		big := make([]byte, 90)
		big[0] = 'b'
		if err := r.ProposeAsLeader(ctx, [][]byte{[]byte("a"), big}); err != nil {
			t.Errorf("ProposeAsLeader = %v", err)
		}
		time.Sleep(5 * time.Second)
		if got := slices.Sorted(slices.Values(r.applied())); !slices.Equal(got, []string{"a", string(big), "queued"}) {
			t.Errorf("applied %q, want a, b and queued", got)
		}
		stopAll(t, r)
		if err := r.ProposeAsLeader(ctx, [][]byte{{1}}); err != ErrStopped {
			t.Errorf("ProposeAsLeader after the end = %v, want ErrStopped", err)
		}
	})
}

func TestProposeAsLeaderIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startForwarding(t, Config{MaxUncommittedBytes: 100})
		l := leader(t, all)
		time.Sleep(time.Second)
		for _, r := range all {
			w.setCut(r.cfg.ID, true) // nothing is committed from now on
		}
		first := make([]byte, 60)
		if err := l.ProposeAsLeader(t.Context(), [][]byte{first}); err != nil {
			t.Errorf("ProposeAsLeader = %v", err)
		}
		if err := l.ProposeAsLeader(t.Context(), [][]byte{[]byte("small"), first}); err != ErrBusy {
			t.Errorf("ProposeAsLeader of too much = %v, want ErrBusy", err)
		}
		propose(t, l, "held")
		for _, r := range all {
			w.setCut(r.cfg.ID, false)
		}
		time.Sleep(time.Second)
		if got := l.applied(); !slices.Equal(got, []string{string(first), "held"}) {
			t.Errorf("applied %q, want the first and what was queued", got)
		}
		stopAll(t, all...)
	})
}

func TestNobodyWaitsForAMemberThatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{ID: 1}, State{Conf: voters(1)}, &slowLog{}, noSender{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.ProposeAsLeader(ctx, [][]byte{[]byte("withdrawn")}); err != context.DeadlineExceeded {
			t.Errorf("ProposeAsLeader = %v, want the deadline", err)
		}
		if _, err := n.StepSnapshot(ctx, &raftpb.Message{Type: raftpb.MsgSnap.Enum()}); err != context.DeadlineExceeded {
			t.Errorf("StepSnapshot = %v, want the deadline", err)
		}
		r := &running{Node: n, disk: &slowLog{}, err: make(chan error, 1)}
		ctx, r.stop = context.WithCancel(t.Context())
		go r.apply()
		go func() { r.err <- n.Run(ctx) }()
		synctest.Wait()
		if got := r.applied(); len(got) != 0 {
			t.Errorf("applied %q, which was withdrawn", got)
		}
		stopAll(t, r)
	})
}

func TestRoleIsToldBeforeAnythingIsProposedUnderIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Role
		var stamped int
		cfg := Config{
			ID:     1,
			OnRole: func(r Role) { told = append(told, r) },
			Stamp: func(data [][]byte) {
				stamped += len(data)
				if len(told) == 0 || !told[len(told)-1].Leads {
					t.Errorf("stamped after %v was told, want to lead", told)
				}
			},
		}
		r := newNetwork().start(t, cfg, State{Conf: voters(1)}, &slowLog{})
		propose(t, r, "a")
		synctest.Wait()
		if err := r.ProposeAsLeader(t.Context(), [][]byte{{1}, {2}}); err != nil {
			t.Error(err)
		}
		stopAll(t, r)
		if stamped != 3 || len(told) == 0 {
			t.Fatalf("stamped %d and told %+v, want 3 and a role", stamped, told)
		}
		if got := told[len(told)-1]; got.Term != 1 || got.Leader != 1 || !got.Leads || got.LastTerm != 0 {
			t.Errorf("told %+v, want to lead in term 1 behind an empty log", got)
		}
	})
}

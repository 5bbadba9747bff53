package raftnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

func TestOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newNetwork().start(t, Config{ID: 1}, State{Conf: voters(1)}, &slowLog{})
		propose(t, r, "a", "b")
		synctest.Wait()
		if got := r.applied(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("applied %q, want a and b", got)
		}
		s := r.Status()
		if s.Role != "StateLeader" || s.Leader != 1 || s.Commit != 3 || s.Applied != 3 || s.Applies != 0 || s.LeaderSince.IsZero() {
			t.Errorf("Status() = %+v, want the leader at 3", s)
		}
		if index, err := r.ReadIndex(t.Context()); index != 3 || err != nil {
			t.Errorf("ReadIndex() = %d, %v, want 3", index, err)
		}
		stopAll(t, r)
		if err := r.Propose(t.Context(), nil); err != ErrStopped {
			t.Errorf("Propose after the end = %v, want ErrStopped", err)
		}
		if _, err := r.ReadIndex(t.Context()); err != ErrStopped {
			t.Errorf("ReadIndex after the end = %v, want ErrStopped", err)
		}
		if _, err := r.ApplyConfChange(&raftpb.ConfChangeV2{}); err != ErrStopped {
			t.Errorf("ApplyConfChange after the end = %v, want ErrStopped", err)
		}
		if err := r.Step(t.Context(), nil); err != ErrStopped {
			t.Errorf("Step after the end = %v, want ErrStopped", err)
		}
	})
}

func TestThreeMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			propose(t, l, want[i])
		}
		time.Sleep(time.Second)
		for _, r := range all {
			if got := r.applied(); !slices.Equal(got, want) {
				t.Errorf("member %d applied %q", r.cfg.ID, got)
			}
			if index, err := r.ReadIndex(t.Context()); err != nil || index < l.Status().Commit {
				t.Errorf("member %d ReadIndex() = %d, %v, want at least %d", r.cfg.ID, index, err, l.Status().Commit)
			}
			if r != l {
				if err := r.ProposeAsLeader(t.Context(), [][]byte{{'x'}}); err != ErrNotLeader {
					t.Errorf("ProposeAsLeader at a follower = %v, want ErrNotLeader", err)
				}
			}
		}
		stopAll(t, all...)
	})
}

func TestLeaderThatIsCutOffIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		old := leader(t, all)
		w.setCut(old.cfg.ID, true)
		ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		if index, err := old.ReadIndex(ctx); err == nil {
			t.Errorf("ReadIndex() without a quorum = %d, want an error", index)
		}
		cancel()
		time.Sleep(5 * time.Second)
		if s := old.Status(); s.Leader != 0 || s.Role == "StateLeader" {
			t.Errorf("cut off, Status() = %+v, want no leader", s)
		}
		rest := slices.DeleteFunc(slices.Clone(all), func(r *running) bool { return r == old })
		l := leader(t, rest)
		propose(t, l, "while cut")
		w.setCut(old.cfg.ID, false)
		time.Sleep(5 * time.Second)
		if got := old.applied(); !slices.Equal(got, []string{"while cut"}) {
			t.Errorf("applied after the return: %q", got)
		}
		if got := old.Status().Leader; got != l.cfg.ID {
			t.Errorf("leader after the return = %d, want %d: pre-vote keeps it", got, l.cfg.ID)
		}
		stopAll(t, all...)
	})
}

func TestFailedSaveEndsTheMember(t *testing.T) {
	for _, members := range [][]uint64{{1}, {1, 2, 3}} {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork()
			var all []*running
			for _, id := range members {
				all = append(all, w.start(t, Config{ID: id}, State{Conf: voters(members...)}, &slowLog{}))
			}
			l := leader(t, all)
			time.Sleep(time.Second)
			full := errors.New("no space left")
			l.disk.set(0, full)
			propose(t, l, "lost")
			if err := <-l.err; !errors.Is(err, full) {
				t.Errorf("Run() = %v, want the log's error", err)
			}
			synctest.Wait()
			if got := l.applied(); len(got) != 0 {
				t.Errorf("applied %q, which was never saved", got)
			}
			if got := l.Status().Role; got == "StateLeader" {
				t.Error("still the leader after the end")
			}
			for _, r := range all {
				if r != l {
					stopAll(t, r)
				}
			}
		})
	}
}

// A member that has lost what it confirmed says so and ends, where raft would panic.
func TestMemberWithoutItsDataEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		propose(t, l, "x")
		time.Sleep(time.Second)
		lost := all[l.cfg.ID%3]
		stopAll(t, lost)
		again := w.start(t, Config{ID: lost.cfg.ID}, State{Conf: voters(1, 2, 3)}, &slowLog{})
		if err := <-again.err; !errors.Is(err, ErrLost) {
			t.Errorf("Run() = %v, want ErrLost", err)
		}
		for _, r := range all {
			if r != lost {
				stopAll(t, r)
			}
		}
	})
}

func TestSlowDiskDoesNotCostLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		time.Sleep(time.Second)
		term := l.Status().Term
		l.disk.set(3*time.Second, nil)
		propose(t, l, "a")
		time.Sleep(time.Second)
		for _, r := range all {
			want := 1 // the followers are a quorum
			if r == l {
				want = 0 // its own copy is not durable yet
			}
			if got := len(r.applied()); got != want {
				t.Errorf("after 1s member %d applied %d, want %d", r.cfg.ID, got, want)
			}
		}
		time.Sleep(9 * time.Second)
		if s := l.Status(); s.Term != term || s.Role != "StateLeader" || len(l.applied()) != 1 {
			t.Errorf("Status() = %+v with %q applied, want the leader of term %d and a", s, l.applied(), term)
		}
		l.disk.set(0, nil)
		stopAll(t, all...)
	})
}

func TestSlowDiskGathersABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowLog{}
		r := newNetwork().start(t, Config{ID: 1}, State{Conf: voters(1)}, disk)
		synctest.Wait()
		disk.set(time.Second, nil)
		for i := range 500 {
			propose(t, r, fmt.Sprint(i))
		}
		time.Sleep(3 * time.Second)
		if got := len(r.applied()); got != 500 {
			t.Errorf("applied %d of 500", got)
		}
		stopAll(t, r)
		if disk.slow > 2 {
			t.Errorf("500 proposals took %d saves, want 2 at most", disk.slow)
		}
	})
}

func TestProposalsWaitForALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		var forwarded atomic.Int64
		var all []*running
		for id := range uint64(3) {
			all = append(all, w.start(t, Config{
				ID:      id + 1,
				Forward: func(_ uint64, data [][]byte) { forwarded.Add(int64(len(data))) },
			}, State{Conf: voters(1, 2, 3)}, &slowLog{}))
			propose(t, all[id], "early")
		}
		reads := make(chan error, 1)
		go func() {
			_, err := all[0].ReadIndex(t.Context())
			reads <- err
		}()
		l := leader(t, all)
		time.Sleep(time.Second)
		if got := l.applied(); !slices.Equal(got, []string{"early"}) || forwarded.Load() != 2 {
			t.Errorf("applied %q and forwarded %d, want the leader's own and the two others'", got, forwarded.Load())
		}
		if err := <-reads; err != nil {
			t.Errorf("ReadIndex begun before there was a leader = %v", err)
		}
		stopAll(t, all...)
	})
}

func TestFullQueuePushesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newNetwork().start(t, Config{ID: 1, MaxQueued: 2}, State{Conf: voters(1, 2)}, &slowLog{})
		propose(t, r, "a", "b") // there will be no leader
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Propose(ctx, []byte("c")); err != context.DeadlineExceeded {
			t.Errorf("Propose to a full queue = %v, want the deadline", err)
		}
		if got := r.Status().Proposals; got != 2 {
			t.Errorf("Status().Proposals = %d, want 2", got)
		}
		waits := make(chan error, 1)
		go func() { waits <- r.Propose(t.Context(), []byte("d")) }()
		synctest.Wait()
		stopAll(t, r)
		if err := <-waits; err != ErrStopped {
			t.Errorf("Propose that waited until the end = %v, want ErrStopped", err)
		}
	})
}

func TestReadersShareRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		propose(t, l, "a")
		time.Sleep(time.Second)
		follower := all[l.cfg.ID%3]
		w.setCut(follower.cfg.ID, true) // all will be waiting before the first answer
		before := w.count(raftpb.MsgReadIndex)
		var reading sync.WaitGroup
		for range 1000 {
			reading.Go(func() {
				if index, err := follower.ReadIndex(t.Context()); err != nil || index < 2 {
					t.Errorf("ReadIndex() = %d, %v, want at least 2", index, err)
				}
			})
		}
		synctest.Wait()
		if got := w.count(raftpb.MsgReadIndex) - before; got < 1 || got > maxRounds {
			t.Errorf("1000 readers asked %d times, want %d at most", got, maxRounds)
		}
		w.setCut(follower.cfg.ID, false)
		reading.Wait()
		stopAll(t, all...)
	})
}

func TestSlowApplierDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{ID: 1}, State{Conf: voters(1)}, &slowLog{}, noSender{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		for i := range 100 {
			if err := n.Propose(ctx, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if index, err := n.ReadIndex(ctx); err != nil || index != 101 {
			t.Errorf("ReadIndex() = %d, %v, want 101", index, err)
		}
		if s := n.Status(); s.Applied != 0 || s.Applies != 101 {
			t.Errorf("Status() = %+v, want 101 entries waiting for the applier", s)
		}
		var indexes []uint64
		for len(indexes) < 101 {
			c := <-n.Committed()
			for _, e := range c.Entries {
				indexes = append(indexes, e.GetIndex())
			}
			n.Applied(c)
		}
		if !slices.IsSorted(indexes) || indexes[100] != 101 {
			t.Errorf("applied %v, want 1 to 101 in order", indexes)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

type noSender struct{}

func (noSender) Send([]*raftpb.Message) {}

// What a leader stamps on its proposals is what enters the log.
func TestStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stamp := func(data [][]byte) {
			for _, d := range data {
				d[0] = 'x'
			}
		}
		r := newNetwork().start(t, Config{ID: 1, Stamp: stamp}, State{Conf: voters(1)}, &slowLog{})
		propose(t, r, "a1", "b2")
		synctest.Wait()
		if got := r.applied(); !slices.Equal(got, []string{"x1", "x2"}) {
			t.Errorf("applied %q, want x1 and x2", got)
		}
		stopAll(t, r)
	})
}

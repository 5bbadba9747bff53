package raftnode

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func TestConfigurationChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		n, err := New(Config{ID: 1}, State{Conf: voters(1)}, &slowLog{}, link{w, 1})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[1] = n
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		go func() {
			for c := range n.Committed() {
				for _, e := range c.Entries {
					if e.GetType() == raftpb.EntryConfChange {
						cc := &raftpb.ConfChange{}
						if err := proto.Unmarshal(e.GetData(), cc); err != nil {
							t.Error(err)
						}
						if _, err := n.ApplyConfChange(cc); err != nil {
							t.Error(err)
						}
					}
				}
				n.Applied(c)
			}
		}()
		synctest.Wait()
		add := &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(2))}
		if err := n.ProposeConfChange(ctx, add); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := n.Status().Conf.GetVoters(); !slices.Equal(got, []uint64{1, 2}) {
			t.Fatalf("voters = %v, want 1 and 2", got)
		}
		if n.role.Load().readable {
			t.Error("one of two voters answers reads alone")
		}
		second := w.start(t, Config{ID: 2}, State{}, &slowLog{})
		time.Sleep(time.Second)
		if err := n.Propose(ctx, []byte("for two")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := second.applied(); len(got) != 2 || got[1] != "for two" {
			t.Errorf("second member applied %q, want the change and the write", got)
		}
		stopAll(t, second)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

func TestMemberComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		cfg := Config{ID: 1, TailEntries: 5}
		r := w.start(t, cfg, State{Conf: voters(1)}, &slowLog{})
		for i := range 20 {
			propose(t, r, fmt.Sprint(i))
			synctest.Wait()
		}
		released, err := r.Compact(15, voters(1))
		if err != nil || released != 10 {
			t.Fatalf("Compact(15) = %d, %v, want 10", released, err)
		}
		stopAll(t, r)

		log := &r.disk.log
		st := log.state(voters(1), 15, 1)
		st.Entries, st.PrevIndex, st.PrevTerm = st.Entries[released:], released, 1
		st.Hard = &raftpb.HardState{Term: new(uint64(1)), Vote: new(uint64(1)), Commit: new(uint64(12))}
		again, err := New(cfg, st, r.disk, link{w, 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- again.Run(ctx) }()
		c := <-again.Committed()
		if first := c.Entries[0].GetIndex(); first != 16 {
			t.Errorf("first entry after the restart = %d, want 16", first)
		}
		again.Applied(c)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
		for c := range again.Committed() {
			again.Applied(c)
		}
	})
}

func TestFollowerFarBehindGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		var all []*running
		for id := range uint64(3) {
			all = append(all, w.start(t, Config{ID: id + 1, TailEntries: 1}, State{Conf: voters(1, 2, 3)}, &slowLog{}))
		}
		l := leader(t, all)
		behind := all[l.cfg.ID%3]
		w.setCut(behind.cfg.ID, true)
		for i := range 50 {
			propose(t, l, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		for _, r := range all {
			if r != behind {
				if _, err := r.Compact(r.Status().Applied, voters(1, 2, 3)); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.setCut(behind.cfg.ID, false)
		time.Sleep(2 * time.Second)
		l.ReportSnapshot(behind.cfg.ID, true)
		propose(t, l, "after")
		time.Sleep(2 * time.Second)
		if got := behind.applied(); behind.installed == 0 || !slices.Equal(got, []string{"after"}) {
			t.Errorf("installed %d and applied %q, want a snapshot and what came after", behind.installed, got)
		}
		if behind.disk.log.prevIndex != behind.installed {
			t.Errorf("log begins behind %d, want %d", behind.disk.log.prevIndex, behind.installed)
		}
		stopAll(t, all...)
	})
}

func TestStepSnapshotTellsWhetherRaftTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		w.hold = true
		var all []*running
		for id := range uint64(3) {
			all = append(all, w.start(t, Config{ID: id + 1, TailEntries: 1}, State{Conf: voters(1, 2, 3)}, &slowLog{}))
		}
		l := leader(t, all)
		behind := all[l.cfg.ID%3]
		w.setCut(behind.cfg.ID, true)
		for i := range 50 {
			propose(t, l, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		if _, err := l.Compact(l.Status().Applied, voters(1, 2, 3)); err != nil {
			t.Fatal(err)
		}
		w.setCut(behind.cfg.ID, false)
		m := w.heldSnapshot()
		ctx := t.Context()
		answers := make(chan bool, 4)
		for range 4 { // of which raft takes one, whether they meet in a turn or not
			go func() {
				accepted, err := behind.StepSnapshot(ctx, proto.CloneOf(m))
				if err != nil {
					t.Errorf("StepSnapshot() = %v", err)
				}
				answers <- accepted
			}()
		}
		accepted := 0
		for range 4 {
			if <-answers {
				accepted++
			}
		}
		synctest.Wait()
		if index := m.GetSnapshot().GetMetadata().GetIndex(); accepted != 1 || behind.installed != index {
			t.Errorf("%d of 4 equal snapshots were accepted, installed %d; want one, at %d", accepted, behind.installed, index)
		}
		for _, r := range all {
			if r.cfg.ID == m.GetFrom() {
				continue
			}
			m.To = new(r.cfg.ID)
			if again, err := r.StepSnapshot(ctx, proto.CloneOf(m)); again || err != nil {
				t.Errorf("StepSnapshot of what member %d has = %v, %v", r.cfg.ID, again, err)
			}
		}
		stopAll(t, all...)
		if _, err := behind.StepSnapshot(ctx, m); err != ErrStopped {
			t.Errorf("StepSnapshot after the end = %v, want ErrStopped", err)
		}
	})
}

func TestLeadershipMovesOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		next := l.cfg.ID%3 + 1
		if err := l.TransferLeader(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := l.Status().Leader; got != next {
			t.Errorf("leader = %d, want %d", got, next)
		}
		l.ReportUnreachable(next)
		if err := l.Campaign(t.Context()); err != nil {
			t.Errorf("Campaign() = %v", err)
		}
		time.Sleep(time.Second)
		stopAll(t, all...)
	})
}

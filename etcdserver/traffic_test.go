package etcdserver

import (
	"testing"
	"testing/synctest"
	"time"

	"etcd2/peer"
)

func TestMeter(t *testing.T) {
	steps := []struct {
		wait            time.Duration
		messages, bytes uint64
		want            Traffic
	}{
		{500 * time.Millisecond, 50, 5000, Traffic{50, 0, 0}},
		{500 * time.Millisecond, 100, 10000, Traffic{100, 100, 10000}},
		{500 * time.Millisecond, 110, 10100, Traffic{110, 100, 10000}}, // too soon for another rate
		{1500 * time.Millisecond, 120, 10200, Traffic{120, 10, 100}},   // the last rate is two seconds old
		{time.Second, 120, 10200, Traffic{120, 0, 0}},
		{time.Second, 20, 200, Traffic{20, 0, 0}}, // a member has left
		{time.Second, 21, 300, Traffic{21, 1, 100}},
	}
	synctest.Test(t, func(t *testing.T) {
		m := meter{at: time.Now()}
		for i, s := range steps {
			time.Sleep(s.wait)
			if got := m.read(peer.Traffic{Messages: s.messages, Bytes: s.bytes}); got != s.want {
				t.Errorf("step %d: read(%d, %d) = %+v, want %+v", i, s.messages, s.bytes, got, s.want)
			}
		}
	})
}

func TestStatsOfMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		before := g.launch(0).SelfStats()
		if before.Leader != 0 || !before.LeaderSince.Equal(before.Start) {
			t.Errorf("before an election: leader %s since %v, started %v", before.Leader, before.LeaderSince, before.Start)
		}
		g.startAll()
		l := g.leader()
		leader := g.members[l]
		if s, leads := leader.LeaderStats(); !leads || s.Leader != leader.id || len(s.Followers) != 2 || s.Followers[g.beds[(l+1)%3].self.ID].Latency.Current != 1.5 {
			t.Errorf("LeaderStats of the leader = %+v, %v, want two followers at 1.5 ms", s, leads)
		}
		f := (l + 1) % 3
		follower := g.members[f]
		if s, leads := follower.LeaderStats(); leads {
			t.Errorf("LeaderStats of a follower = %+v", s)
		}
		s := follower.SelfStats()
		if s.Leader != leader.id || s.State != "StateFollower" || !s.LeaderSince.After(s.Start) {
			t.Errorf("SelfStats of a follower = %+v", s)
		}

		// Nobody leads for a while: the last leader stays on record.
		g.isolate(f, true)
		time.Sleep(time.Minute)
		now := follower.SelfStats()
		if follower.Status().Leader != 0 || now.Leader != leader.id || !now.LeaderSince.Equal(s.LeaderSince) {
			t.Errorf("SelfStats during an election = %+v, want leader %s since %v", now, leader.id, s.LeaderSince)
		}
		g.isolate(f, false)
		g.settle()
	})
}

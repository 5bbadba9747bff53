package v2

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"etcd2/etcdserver"
	"etcd2/membership"
	"etcd2/peer"
	"etcd2/store"
)

// member is a Server of one: a real store, and a counter for a log.
type member struct {
	tree *store.Store

	mu   sync.Mutex // guards the fields below
	raft uint64

	sick, unready error // answers of Health and Ready
	refuses       error // answer of Do and QuorumGet when not nil
	follows       bool  // not the leader
	unled, unsure bool  // knows no leader; hears no quorum
	age           time.Duration
	ageless       bool // has never heard from a leader
	agreements    int  // calls of QuorumGet
	others        group
	agreement     etcdserver.Agreement
	version       string
}

// newMember returns a member whose next write gets index 4, as on a fresh server.
func newMember(t testing.TB) *member { return newMemberWith(t, store.Config{}) }

func newMemberWith(t testing.TB, cfg store.Config) *member {
	t.Helper()
	m := &member{tree: store.New(cfg), version: "2.3.0", others: newGroup()}
	for _, path := range []string{"/0/members/a/raftAttributes", "/0/members/a/attributes", "/0/version"} {
		if _, err := m.Do(t.Context(), store.Op{Action: store.Set, Path: path, Value: "x"}); err != nil {
			t.Fatalf("Do(set %s) = %v", path, err)
		}
	}
	return m
}

func (m *member) Do(_ context.Context, op store.Op) (etcdserver.Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuses != nil {
		return etcdserver.Reply{}, m.refuses
	}
	m.raft++
	op.Now = m.Now()
	e, err := m.tree.Apply(op)
	return etcdserver.Reply{Event: e, Index: m.tree.Index(), Position: etcdserver.Position{RaftIndex: m.raft, RaftTerm: 2}}, err
}

func (m *member) WallOffset() int64 { return 0 }

func (m *member) position() etcdserver.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return etcdserver.Position{RaftIndex: m.raft, RaftTerm: 2}
}

func (m *member) Get(path string) (store.View, etcdserver.Position, error) {
	v, err := m.tree.Get(path)
	return v, m.position(), err
}

func (m *member) QuorumGet(_ context.Context, path string) (store.View, etcdserver.Position, error) {
	m.mu.Lock()
	m.agreements++
	m.mu.Unlock()
	if m.refuses != nil {
		return store.View{}, etcdserver.Position{}, m.refuses
	}
	return m.Get(path)
}

func (m *member) Age() (time.Duration, bool) { return m.age, !m.ageless }

func (m *member) Watch(path string, o store.WatchOptions) (*store.Watcher, etcdserver.Position, error) {
	w, err := m.tree.Watch(path, o)
	return w, m.position(), err
}

func (m *member) Now() int64               { return time.Now().UnixNano() }
func (m *member) ClusterID() membership.ID { return 0x7e27652122e8b2ae }
func (m *member) ClusterVersion() string   { return m.version }
func (m *member) Ready() error             { return m.unready }

// Health hangs, as without a quorum, while the member is unsure.
func (m *member) Health(ctx context.Context) error {
	if m.unsure {
		<-ctx.Done()
		return ctx.Err()
	}
	return m.sick
}

func (m *member) Members() []membership.Member { return m.others.list }

func (m *member) Links() map[membership.ID]peer.Link {
	return map[membership.ID]peer.Link{
		2: {
			Active: true, Since: time.Now(), RTT: 3 * time.Millisecond, ClockDifference: -2 * time.Second,
			Appends: peer.Traffic{Messages: 10, Bytes: 1000}, Received: peer.Traffic{Messages: 4, Bytes: 44}, Success: 9, Fail: 1,
		},
		0xc0ffee: {},
	}
}

func (m *member) Agreement() etcdserver.Agreement { return m.agreement }

func (m *member) StoreStats() store.Stats { return m.tree.Stats() }

func (m *member) SelfStats() etcdserver.SelfStats {
	start := time.Date(2026, 11, 20, 21, 0, 0, 500, time.FixedZone("", 3600))
	leader := membership.ID(0xbf9071f4639c75cc)
	if m.unled {
		leader = 0
	}
	return etcdserver.SelfStats{
		Name: "n1", ID: 0xce2a822cea30bfca, State: "StateFollower", Start: start,
		Leader: leader, LeaderSince: start,
		Received: etcdserver.Traffic{Messages: 7, PerSecond: 1.5, BytesPerSecond: 100},
	}
}

func (m *member) LeaderStats() (etcdserver.LeaderStats, bool) {
	if m.follows {
		return etcdserver.LeaderStats{}, false
	}
	return etcdserver.LeaderStats{
		Leader: 0xce2a822cea30bfca,
		Followers: map[membership.ID]etcdserver.FollowerStats{
			0xbf9071f4639c75cc: {
				Latency: etcdserver.Latency{Current: 1, Average: 1.5, StandardDeviation: 0.25, Minimum: 1, Maximum: 2},
				Fail:    3, Success: 4,
			},
		},
	}, true
}

func (m *member) Status() etcdserver.Status {
	leader := membership.ID(0xce2a822cea30bfca)
	if m.unled {
		leader = 0
	}
	return etcdserver.Status{
		ID: 0xce2a822cea30bfca, Leader: leader, Role: "StateLeader",
		Voters: 2, Learners: 1, Learner: m.follows,
		Term: 2, Commit: m.position().RaftIndex, Applied: m.position().RaftIndex,
		HistoryFirst: 1, HistoryLast: m.tree.Index(),
	}
}

var errNoLeader = errors.New("no leader")

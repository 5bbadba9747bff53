package v2

import (
	"context"
	"time"

	"etcd2/etcdserver"
	"etcd2/membership"
	"etcd2/peer"
	"etcd2/store"
)

// Server is the member behind the API. Every error that is meant for a client
// is a *store.Error; paths are whole-store paths, so client keys begin with
// "/1".
type Server interface {
	Keys
	Cluster
	Changes
	Inspector
}

// Keys is what /v2/keys needs of a member.
type Keys interface {
	// Do carries one write through the log, where the leader gives it the cluster's
	// time, op.Now. It bounds the wait.
	Do(ctx context.Context, op store.Op) (etcdserver.Reply, error)
	// Get reads the tree of this member.
	Get(path string) (store.View, etcdserver.Position, error)
	// QuorumGet reads what a quorum agrees on. It bounds the wait.
	QuorumGet(ctx context.Context, path string) (store.View, etcdserver.Position, error)
	// Age bounds how far the tree of this member may lie behind the cluster. False
	// before it has heard from a leader.
	Age() (age time.Duration, known bool)
	// Watch begins a watch on this member.
	Watch(path string, o store.WatchOptions) (*store.Watcher, etcdserver.Position, error)
	// Now is the cluster time in Unix nanoseconds; TTLs shown by a read count from
	// here.
	Now() int64
	// WallOffset is what to add to cluster time to get the wall time at which it will
	// be if the leader stays, in nanoseconds.
	WallOffset() int64
}

// Cluster is what the member knows about its cluster.
type Cluster interface {
	ClusterID() membership.ID
	// Members come in ascending order of ID.
	Members() []membership.Member
	// Leader is false when no member leads, or one that has been removed.
	Leader() (membership.Member, bool)
	// ClusterVersion is "" until the cluster has decided on one.
	ClusterVersion() string
	// Health is nil when the cluster confirms its leader within a deadline that
	// the server sets.
	Health(ctx context.Context) error
	// Ready is nil when the member can serve clients; else it says why not.
	Ready() error
}

// Changes are what clients may do to a cluster. Each returns when the change has
// happened, bounds the wait, and fails with an error of package membership,
// etcdserver.ErrUnsafeChange or, when there was no answer in time, a *store.Error;
// then the change may still happen.
type Changes interface {
	// AddMember adds a member with these URLs, which have been checked. With an error
	// too, the member tells the ID it was to have.
	AddMember(ctx context.Context, peerURLs []string) (membership.Member, error)
	RemoveMember(ctx context.Context, id membership.ID) error
	UpdateMember(ctx context.Context, id membership.ID, peerURLs []string) error
	// TransferLeader has that member lead. It fails with etcdserver.ErrLearner when
	// the member has no vote.
	TransferLeader(ctx context.Context, to membership.ID) error
}

// Inspector hands out figures about the member. None of its methods may wait for
// the log or the disk.
type Inspector interface {
	SelfStats() etcdserver.SelfStats
	// LeaderStats is false on every member but the leader.
	LeaderStats() (etcdserver.LeaderStats, bool)
	StoreStats() store.Stats
	// Agreement tells how the tree of this member compares with those of the others.
	Agreement() etcdserver.Agreement
	// Links are the connections to the other members.
	Links() map[membership.ID]peer.Link
	Status() etcdserver.Status
}

package v2

import (
	"context"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

// Server is the member behind the API. Every error that is meant for a client
// is a *store.Error; paths are whole-store paths, so client keys begin with
// "/1".
type Server interface {
	Keys
	Cluster
	Inspector
}

// Keys is what /v2/keys needs of a member.
type Keys interface {
	// Do carries one write through the log. It stamps op.Now itself and bounds
	// the wait.
	Do(ctx context.Context, op store.Op) (Reply, error)
	// Get reads the tree of this member.
	Get(path string) (store.View, Position, error)
	// QuorumGet reads what a quorum agrees on. It bounds the wait.
	QuorumGet(ctx context.Context, path string) (store.View, Position, error)
	// Watch begins a watch on this member.
	Watch(path string, o store.WatchOptions) (*store.Watcher, Position, error)
	// Now is the cluster's time in Unix nanoseconds; TTLs shown by a read count
	// from here.
	Now() int64
}

// Cluster is what the member knows about its cluster.
type Cluster interface {
	ClusterID() membership.ID
	// Members come in ascending order of ID.
	Members() []membership.Member
	// ClusterVersion is "" until the cluster has decided on one.
	ClusterVersion() string
	// Health is nil when the cluster confirms its leader within a deadline that
	// the server sets.
	Health(ctx context.Context) error
	// Ready is nil when the member can serve clients; else it says why not.
	Ready() error
}

// Inspector hands out figures about the member. None of its methods may wait for
// the log or the disk.
type Inspector interface {
	SelfStats() SelfStats
	// LeaderStats is false on every member but the leader.
	LeaderStats() (LeaderStats, bool)
	StoreStats() store.Stats
	Status() Status
}

// Reply is the outcome of a write.
type Reply struct {
	Event     store.Event
	Index     uint64 // etcd index after the write
	RaftIndex uint64 // place of the write in the log
	RaftTerm  uint64
}

// Position is a place in the raft log, shown in the X-Raft-* headers.
type Position struct {
	RaftIndex uint64
	RaftTerm  uint64
}

// Status is the state of the member for /metrics and /debug/vars.
type Status struct {
	ID            membership.ID
	Leader        membership.ID // 0 while none is known
	Role          string        // "StateLeader", "StateFollower", ...
	Term          uint64
	Commit        uint64 // raft index
	Applied       uint64 // raft index
	LeaderChanges uint64 // since the start of the process

	PendingProposals int // requests that wait for their outcome
	InboxLength      int // inputs queued before the raft loop
	ApplyQueueLength int // groups of committed entries queued before the applier

	HistoryFirst  uint64 // etcd index of the oldest event kept; 0 when there is none
	HistoryLast   uint64 // etcd index of the newest event
	DatabaseBytes int64  // size of the checkpoint file
	LogBytes      int64  // size of the write-ahead log
}

// SelfStats is what /v2/stats/self shows.
type SelfStats struct {
	Name        string
	ID          membership.ID
	State       string // "StateLeader" or "StateFollower"
	Start       time.Time
	Leader      membership.ID // the last known one during an election
	LeaderSince time.Time
	Received    Traffic // append messages from the leader
	Sent        Traffic // append messages to followers
}

// Traffic counts messages and their recent rates.
type Traffic struct {
	Messages       uint64
	PerSecond      float64 // messages; 0 after a quiet second
	BytesPerSecond float64
}

// LeaderStats is what /v2/stats/leader shows.
type LeaderStats struct {
	Leader    membership.ID
	Followers map[membership.ID]FollowerStats
}

// FollowerStats is the leader's experience with one follower.
type FollowerStats struct {
	Latency Latency
	Fail    uint64 // messages that did not arrive
	Success uint64
}

// Latency is a summary of round-trip times in milliseconds.
type Latency struct {
	Current           float64 `json:"current"`
	Average           float64 `json:"average"`
	StandardDeviation float64 `json:"standardDeviation"`
	Minimum           float64 `json:"minimum"`
	Maximum           float64 `json:"maximum"`
}

// Package etcdserver is one member of a cluster: it opens the data directory,
// drives the raft node, applies what is committed to the store and answers the
// requests that wait for it.
//
// It owns the data directory, the request ids and the applier, which is the
// only goroutine that changes the replica. An answer to a write means that the
// write is durable on a quorum and visible to reads at this member. When a
// promise can no longer be kept, such as after a failed fsync, Run returns an
// error and the member serves nothing more.
//
// Every member takes writes and linearizable reads, whoever leads: a write waits in
// the member that was asked until there is a leader and goes to it once, or again
// when that one certainly did not take it. The leader tells the cluster's time.
//
// Members come and go through the log. One that joins listens until it has caught
// up and has a vote from then on; one that is removed ends and never comes back.
// At intervals all compare their trees: a member that differs from a quorum serves
// nothing until it has a copy of another one's data.
package etcdserver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/localstate"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
	"etcd2/wal"
)

// Server is one member. Open makes it, Run drives it; the other methods may be
// called from any goroutine while it runs.
type Server struct {
	// Set by Open and never changed.
	cfg       Config
	log       *slog.Logger
	id        membership.ID
	clusterID membership.ID
	started   time.Time
	startTerm uint64          // raft term found in the data directory
	joinedAt  []membership.ID // the members that a joining member was told of; empty for a founding one

	// The parts, each of which may be used from any goroutine.
	store      *store.Store // the replica's tree
	node       *raftnode.Node
	wal        *wal.Log
	snap       Checkpoints
	local      *localstate.File
	peers      Peers
	clock      *clock
	waiters    *waiters
	progress   progress // of the applier
	checkpoint *checkpointer
	expiry     *expiry
	agreement  *agreement
	space      *space
	returned   *returned    // writes that came back from a leader
	refusals   chan refusal // for other members; capacity refusalsMax: what does not fit is not told
	received   meter
	sent       meter

	// The applier's own, and Open's before it runs.
	replica *replica.Replica
	hints   []replica.MemberRecord // members to reach until the log names them

	// What is glanced at from everywhere.
	requestID     atomic.Uint64 // the last one handed out
	cluster       atomic.Pointer[membership.Cluster]
	learners      atomic.Int64 // members without a vote
	leads         atomic.Bool
	hadLeader     atomic.Bool                // a leader was known once, in this run or before
	lastLeader    atomic.Pointer[leadership] // the last one known in this run; nil before the first
	leaderChanges atomic.Uint64              // since the start

	receiving sync.Mutex    // held while a checkpoint of another member comes in
	awaited   atomic.Bool   // a received checkpoint waits to be installed
	changing  chan struct{} // capacity 1: held by the change of members that this leader carries out

	identities identities // of this member and the others
	notices    notices    // that this member was removed

	newRole   bell          // this member has begun to lead, or ceased
	newConf   bell          // there are other voters or learners
	decided   chan struct{} // closed by the applier once the cluster version is decided
	announced chan struct{} // closed when the member is published and the version decided
	stopping  chan struct{} // closed when Run begins to end
	ended     chan error    // capacity 1: why Run is to end, the first reason counts
}

// Run drives the member until ctx ends, then returns nil. It returns an error
// only when the member can no longer keep its promises. The data directory is
// closed when it returns. It is called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{
		s.node.Run, s.apply, s.writeCheckpoints, s.expire, s.noteTimes, s.space.run,
		s.announce, s.negotiate, s.promote, s.handOverWhenFull,
		s.proposeReturned, s.tellRefusals,
		s.proposeMarks, s.compareTrees,
		s.awaitEnd, s.recordSeen,
	} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}

	<-ctx.Done()
	close(s.stopping)
	s.store.Close()
	running.Wait()
	s.close()
	if err := context.Cause(ctx); err != context.Canceled && err != context.DeadlineExceeded {
		return err
	}
	return nil
}

// close releases the data directory.
func (s *Server) close() {
	if err := s.wal.Close(); err != nil {
		s.log.Warn("log not closed cleanly", "error", err)
	}
	if err := s.snap.Close(); err != nil {
		s.log.Warn("checkpoint not closed cleanly", "error", err)
	}
}

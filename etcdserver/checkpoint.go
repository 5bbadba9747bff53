package etcdserver

import (
	"context"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/snap"
	"etcd2/store"
)

// Checkpoints is where the tree is kept between restarts; *snap.Store is one.
type Checkpoints interface {
	Load(store.Config) (*store.Store, snap.Meta, error)
	Commit(store.Delta, snap.Meta) error
	Size() int64 // bytes on the disk
	Close() error
}

// checkpointRetry is the pause after a checkpoint that failed, for example on
// a full disk.
const checkpointRetry = time.Second

// checkpointRest is how many times as long as the last checkpoint took the
// next one is put off, so that checkpoints take at most a third of the time
// while a member is busy. It gives way when the log grows past its limit.
const checkpointRest = 2

// checkpointer decides when the applier hands over what changed and writes it
// in the background. The applier owns the counters; the background goroutine
// owns the file.
type checkpointer struct {
	entries uint64 // the limits of Config
	bytes   int64

	sinceEntries uint64 // applied since the last hand-over
	sinceBytes   int64
	restUntil    atomic.Int64 // no hand-over before, Unix nanoseconds of this member
	busy         atomic.Bool
	work         chan checkpointWork // capacity 1: one at a time, the applier never waits
}

type checkpointWork struct {
	delta store.Delta
	meta  snap.Meta
	conf  *raftpb.ConfState // the members as of meta.Index
}

func newCheckpointer(cfg Config) *checkpointer {
	return &checkpointer{
		entries: cfg.CheckpointEntries,
		bytes:   cfg.CheckpointBytes,
		work:    make(chan checkpointWork, 1),
	}
}

// count takes note of one applied entry.
func (cp *checkpointer) count(bytes int) {
	cp.sinceEntries++
	cp.sinceBytes += int64(bytes)
}

// due tells whether the applier should hand over now.
func (cp *checkpointer) due() bool {
	if cp.busy.Load() {
		return false
	}
	if cp.sinceBytes >= cp.bytes {
		return true
	}
	return cp.sinceEntries >= cp.entries && time.Now().UnixNano() >= cp.restUntil.Load()
}

// consider hands over the changes since the last time if a checkpoint is due.
// It runs in the applier and costs the same however much has changed.
func (cp *checkpointer) consider(s *Server) {
	if !cp.due() {
		return
	}
	conf, err := proto.Marshal(s.conf)
	if err != nil {
		s.log.Error("checkpoint put off: the raft configuration cannot be encoded", "error", err)
		return
	}
	cp.sinceEntries, cp.sinceBytes = 0, 0
	cp.busy.Store(true)
	pos := s.progress.position()
	cp.work <- checkpointWork{s.store.Cut(), snap.Meta{
		Index: pos.RaftIndex, Term: pos.RaftTerm, Conf: conf,
		ClusterID: uint64(s.clusterID), MemberID: uint64(s.id),
	}, s.conf}
}

// checkpoints writes what the applier hands over until ctx ends. A checkpoint
// that fails is tried again until it is written: what it holds is held nowhere
// else but in the log, which is kept meanwhile.
func (s *Server) checkpoints(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-s.checkpoint.work:
			for !s.writeCheckpoint(w) {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(checkpointRetry):
				}
			}
		}
	}
}

func (s *Server) writeCheckpoint(w checkpointWork) (done bool) {
	start := time.Now()
	if err := s.files.Commit(w.delta, w.meta); err != nil {
		s.log.Error("checkpoint not written, trying again", "index", w.meta.Index, "error", err)
		return false
	}
	took := time.Since(start)
	s.checkpoint.restUntil.Store(time.Now().Add(checkpointRest * took).UnixNano())
	s.checkpoint.busy.Store(false)
	if f := s.cfg.Observe.Checkpoint; f != nil {
		f(took, len(w.delta.Nodes))
	}
	s.log.Info("saved checkpoint", "index", w.meta.Index, "nodes", len(w.delta.Nodes), "took", took)
	s.releaseLog(w.meta.Index, w.conf)
	return true
}

// releaseLog lets go of the log that the checkpoint at index has replaced, but
// for the tail that slow followers may still ask for.
func (s *Server) releaseLog(index uint64, conf *raftpb.ConfState) {
	released, err := s.node.Compact(index, conf)
	if err == nil && released > 0 {
		err = s.wal.Release(released)
	}
	if err != nil {
		s.log.Warn("log not released", "index", index, "error", err)
	}
}

func confState(meta snap.Meta) (*raftpb.ConfState, error) {
	conf := new(raftpb.ConfState)
	return conf, proto.Unmarshal(meta.Conf, conf)
}

package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/snap"
	"etcd2/store"
)

// Checkpoints is where the tree is kept between restarts; a *snap.Store is one
// but for the type that its Copy returns.
type Checkpoints interface {
	Load(store.Config) (*store.Store, snap.Meta, error)
	Commit(store.Delta, snap.Meta) error
	Copy() (CheckpointCopy, error)
	Receive(r io.Reader, member uint64) (snap.Meta, error)
	Install() (snap.Meta, error)
	Size() int64 // bytes on the disk
	Close() error
}

// CheckpointCopy is a consistent look at a checkpoint; a *snap.Copy is one.
type CheckpointCopy interface {
	io.WriterTo
	Meta() snap.Meta
	Size() int64 // bytes that WriteTo writes
	Close() error
}

// confOf is the raft configuration that a checkpoint holds.
func confOf(meta snap.Meta) (*raftpb.ConfState, error) {
	conf := new(raftpb.ConfState)
	if err := proto.Unmarshal(meta.Conf, conf); err != nil {
		return nil, fmt.Errorf("raft configuration in the checkpoint: %w", err)
	}
	return conf, nil
}

// checkpointFile is a *snap.Store as Checkpoints.
type checkpointFile struct{ *snap.Store }

func (f checkpointFile) Copy() (CheckpointCopy, error) {
	c, err := f.Store.Copy()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// checkpointRetry is the pause after a checkpoint for which the disk had no room.
const checkpointRetry = time.Second

// checkpointRest is how many times as long as the last checkpoint took the
// next one is put off, so that a busy member spends at most a ninth of its time
// on them and keys that are written often are stored once. It gives way when the
// log, which a restart replays, grows past its limit.
const checkpointRest = 8

// checkpointer decides when the applier hands over what changed and writes it
// in the background. The applier owns the counters; the background goroutine
// owns the file.
type checkpointer struct {
	entries uint64 // the limits of Config
	bytes   int64

	after        uint64 // raft index: no checkpoint takes time from the replay of a restart
	sinceEntries uint64 // applied since the last hand-over
	sinceBytes   int64
	began        time.Time    // of this run
	restUntil    atomic.Int64 // no hand-over before, nanoseconds since began
	overdue      atomic.Bool  // the last one was not written
	busy         atomic.Bool
	work         chan checkpointWork // capacity 1: one at a time, the applier never waits

	handed  uint64        // raft index of the last hand-over; of the applier
	wanted  atomic.Uint64 // raft index that a checkpoint is to reach soon
	changed bell          // to the applier, which looks whether a checkpoint is due: somebody wants one, or one was written
	durable progress      // of the file

	file sync.Mutex // held by whoever writes the file; guards the field below
	era  int        // checkpoints installed: what was handed over before is void
}

type checkpointWork struct {
	era   int
	delta store.Delta
	meta  snap.Meta
	conf  *raftpb.ConfState // the members as of meta.Index
}

func newCheckpointer(cfg Config) *checkpointer {
	return &checkpointer{
		began:   time.Now(),
		entries: cfg.CheckpointEntries,
		bytes:   cfg.CheckpointBytes,
		work:    make(chan checkpointWork, 1),
		changed: newBell(),
	}
}

// found is the checkpoint of a start, behind which the log goes up to last.
func (cp *checkpointer) found(meta snap.Meta, last uint64) {
	cp.after = last
	cp.installed(meta)
}

// installed tells that the file has come from elsewhere. The next entry brings a
// checkpoint of our own, whatever the limits say: with it the mark that the log may
// end before the checkpoint goes.
func (cp *checkpointer) installed(meta snap.Meta) {
	cp.era++
	cp.sinceEntries, cp.sinceBytes, cp.handed = 0, 0, meta.Index
	if meta.Installed > 0 {
		cp.wanted.Store(meta.Index + 1)
	}
	cp.durable.set(meta.Index, meta.Term)
	cp.durable.wake()
}

// want asks for a checkpoint that holds the entry at index, soon.
func (cp *checkpointer) want(index uint64) {
	for {
		was := cp.wanted.Load()
		if was >= index || cp.wanted.CompareAndSwap(was, index) {
			break
		}
	}
	cp.changed.ring()
}

// count takes note of one applied entry.
func (cp *checkpointer) count(bytes int) {
	cp.sinceEntries++
	cp.sinceBytes += int64(bytes)
}

// due tells whether the applier, which is at index, should hand over now.
func (cp *checkpointer) due(index uint64) bool {
	if cp.busy.Load() {
		return false
	}
	if wanted := cp.wanted.Load(); wanted > cp.handed && index >= wanted {
		return true
	}
	if cp.sinceBytes >= cp.bytes && !cp.overdue.Load() {
		return true
	}
	return (cp.sinceEntries >= cp.entries || cp.overdue.Load()) && int64(time.Since(cp.began)) >= cp.restUntil.Load()
}

// consider hands over the changes since the last time if a checkpoint is due.
// It runs in the applier and costs the same however much has changed.
func (cp *checkpointer) consider(s *Server) {
	pos := s.progress.position()
	if pos.RaftIndex < cp.after || !cp.due(pos.RaftIndex) {
		return
	}
	conf, err := proto.Marshal(s.replica.Conf())
	if err != nil {
		s.log.Error("checkpoint put off: the raft configuration cannot be encoded", "error", err)
		return
	}
	cp.sinceEntries, cp.sinceBytes, cp.handed = 0, 0, pos.RaftIndex
	cp.busy.Store(true)
	cp.work <- checkpointWork{cp.era, s.store.Cut(), snap.Meta{
		Index: pos.RaftIndex, Term: pos.RaftTerm, Conf: conf,
		ClusterID: uint64(s.clusterID), MemberID: uint64(s.id),
	}, s.replica.Conf()}
}

// writeCheckpoints writes what the applier hands over until ctx ends. The error is
// that of a checkpoint file that can no longer be trusted.
func (s *Server) writeCheckpoints(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-s.checkpoint.work:
			if err := s.writeCheckpoint(w); err != nil {
				return err
			}
		}
	}
}

// writeCheckpoint makes one hand-over durable. When the disk has no room for it
// the file keeps it for the next one, and until then it is in the log.
func (s *Server) writeCheckpoint(w checkpointWork) error {
	cp := s.checkpoint
	defer cp.changed.ring()
	cp.file.Lock()
	if w.era != cp.era {
		cp.file.Unlock()
		cp.busy.Store(false)
		return nil
	}
	start := time.Now()
	err := s.snap.Commit(w.delta, w.meta)
	took := time.Since(start)
	if err == nil {
		cp.durable.set(w.meta.Index, w.meta.Term)
	}
	cp.file.Unlock()
	if errors.Is(err, snap.ErrFailed) {
		return err
	}
	rest := checkpointRest * took
	if err != nil {
		rest = checkpointRetry
	}
	cp.restUntil.Store(int64(time.Since(cp.began) + rest))
	cp.overdue.Store(err != nil)
	cp.busy.Store(false)
	cp.durable.wake()
	if err != nil {
		s.log.Error("checkpoint not written, the next one will hold it", "index", w.meta.Index, "error", err)
		return nil
	}
	if f := s.cfg.Observe.Checkpoint; f != nil {
		f(took, len(w.delta.Nodes))
	}
	s.log.Info("saved checkpoint", "index", w.meta.Index, "nodes", len(w.delta.Nodes), "took", took)
	s.releaseLog(w.meta.Index, w.conf)
	return nil
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

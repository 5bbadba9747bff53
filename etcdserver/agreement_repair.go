package etcdserver

import (
	"context"
	"fmt"
	"io"
	"time"

	"etcd2/membership"
	"etcd2/snap"
)

// repairRetry is the pause before a member whose data is wrong asks for a copy
// again.
const repairRetry = 3 * time.Second

// repair asks the applier to replace the tree by the copy of another member.
type repair struct {
	from membership.ID
	done chan error // capacity 1
}

// repairTree has the applier take over a copy of the tree from one of the members
// that are right, until that has happened or ctx ends. Leadership goes to one of
// them first: a leader answers for its data.
func (s *Server) repairTree(ctx context.Context, right []membership.ID) {
	for i := 0; !s.agreement.serves(); i++ {
		from := right[i%len(right)]
		if s.leading() && from != s.id {
			if err := s.transfer(ctx, from); err != nil && ctx.Err() == nil {
				s.log.Warn("leadership not handed over by a member whose data is wrong", "to", from, "error", err)
			}
		}
		r := repair{from, make(chan error, 1)}
		select {
		case s.agreement.repairs <- r:
		case <-ctx.Done():
			return
		}
		select {
		case err := <-r.done:
			if err == nil {
				return
			}
			s.log.Warn("no new copy of the data yet", "from", from, "error", err)
		case <-ctx.Done():
			return
		}
		if pause(ctx, repairRetry) != nil {
			return
		}
	}
}

// repair replaces the tree by the copy of another member. It runs in the applier,
// so nothing is applied meanwhile, and the copy has to hold at least what has been.
// What it holds beyond that comes from the log later and is skipped. The error is
// that of a checkpoint that can no longer be trusted; a copy that was not to be had
// is told to whoever asked.
func (s *Server) repair(ctx context.Context, r repair) error {
	if !s.receiving.TryLock() {
		r.done <- errReceiving
		return nil
	}
	defer s.receiving.Unlock()
	if s.awaited.Load() { // raft has one for us already
		r.done <- errReceiving
		return nil
	}
	if s.agreement.serves() { // and the applier has installed it
		r.done <- nil
		return nil
	}
	got, err := s.fetch(ctx, r.from)
	if err != nil {
		r.done <- err
		return nil
	}
	start, before := time.Now(), s.progress.index.Load()
	meta, err := s.takeOver(s.replica.InstallCopy, func(meta snap.Meta) error {
		if meta.Index != got.Index {
			return fmt.Errorf("it is of entry %d, not of %d", meta.Index, got.Index)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("etcdserver: cannot install the copy of member %s: %w", r.from, err)
	}
	s.agreement.mu.Lock()
	s.agreement.shown.Refetches++
	s.agreement.mu.Unlock()
	s.log.Info("this member has a new copy of the data and serves again", "from", r.from,
		"index", meta.Index, "was", before, "nodes", meta.Nodes, "took", time.Since(start))
	r.done <- nil
	return nil
}

// fetch brings another member's checkpoint here, without installing it. This
// member's raft must know of the commitment of all that the copy holds: then it
// will not ask for a snapshot of something older any more.
func (s *Server) fetch(ctx context.Context, from membership.ID) (snap.Meta, error) {
	applied := s.progress.index.Load()
	var got snap.Meta
	err := s.peers.Fetch(ctx, from, applied, func(stream io.Reader) (err error) {
		got, err = s.snap.Receive(roomReader{stream, s.space}, uint64(s.id))
		return err
	})
	switch {
	case err != nil:
		return got, err
	case got.ClusterID != uint64(s.clusterID):
		return got, fmt.Errorf("etcdserver: the copy is of cluster %x, not of %s", got.ClusterID, s.clusterID)
	case got.Index < applied:
		return got, fmt.Errorf("etcdserver: the copy is of entry %d, but entry %d is applied", got.Index, applied)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
	defer cancel()
	for s.node.Status().Commit < got.Index {
		if err := pause(ctx, s.cfg.Tick); err != nil {
			return got, fmt.Errorf("etcdserver: the copy is of entry %d, which this member does not know to be committed: %w", got.Index, err)
		}
	}
	return got, nil
}

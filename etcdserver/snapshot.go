package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/peer"
	"etcd2/raftnode"
	"etcd2/snap"
	"etcd2/store"
)

// outgoing is a checkpoint on its way to another member.
type outgoing struct {
	CheckpointCopy
	meta snap.Meta
	conf *raftpb.ConfState
}

func (o *outgoing) Index() uint64           { return o.meta.Index }
func (o *outgoing) Term() uint64            { return o.meta.Term }
func (o *outgoing) Conf() *raftpb.ConfState { return o.conf }

// OpenSnapshot begins a copy of this member's checkpoint that holds at least the
// entries up to raft index atLeast. It waits until they are applied and, if the
// file is older, until a new checkpoint is written, no longer than ctx lasts. The
// caller closes it.
func (s *Server) OpenSnapshot(ctx context.Context, atLeast uint64) (peer.Snapshot, error) {
	if err := s.agreement.refusal(); err != nil {
		return nil, err
	}
	atLeast = max(atLeast, 1) // a file without any entry is none
	if err := s.progress.wait(ctx, atLeast); err != nil {
		return nil, fmt.Errorf("etcdserver: entry %d is not applied yet: %w", atLeast, err)
	}
	s.checkpoint.want(atLeast)
	if err := s.checkpoint.durable.wait(ctx, atLeast); err != nil {
		return nil, fmt.Errorf("etcdserver: there is no checkpoint at entry %d yet: %w", atLeast, err)
	}
	c, err := s.snap.Copy()
	if err != nil {
		return nil, err
	}
	conf, err := confOf(c.Meta())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("etcdserver: %w", err), c.Close())
	}
	return &outgoing{c, c.Meta(), conf}, nil
}

// errReceiving refuses a second checkpoint until the first is installed.
var errReceiving = errors.New("etcdserver: another checkpoint is being received or installed")

// ReceiveSnapshot takes a MsgSnap with its checkpoint. The checkpoint is checked
// and lies on the disk before raft learns of it; when raft accepts it, the applier
// installs it. One comes in at a time, and none while one waits to be installed, so
// that raft and the applier mean the same. Nothing was changed after an error.
func (s *Server) ReceiveSnapshot(ctx context.Context, m *raftpb.Message, r io.Reader) error {
	if !s.receiving.TryLock() {
		return errReceiving
	}
	defer s.receiving.Unlock()
	if s.awaited.Load() {
		return errReceiving
	}
	// Raft answers what it has no use for; the file is not needed for that.
	if want := m.GetSnapshot().GetMetadata(); want.GetIndex() > s.progress.index.Load() {
		got, err := s.snap.Receive(roomReader{r, s.space}, uint64(s.id))
		if err != nil {
			return err
		}
		if err := s.matches(got, want); err != nil {
			return err
		}
	}
	s.awaited.Store(true)
	accepted, err := s.node.StepSnapshot(context.WithoutCancel(ctx), m) // waits for the loop only
	if !accepted {
		s.awaited.Store(false)
	}
	return err
}

// matches tells whether a checkpoint is what raft is told it is.
func (s *Server) matches(got snap.Meta, want *raftpb.SnapshotMetadata) error {
	if got.ClusterID != uint64(s.clusterID) {
		return fmt.Errorf("etcdserver: the checkpoint is of cluster %x, not of %s", got.ClusterID, s.clusterID)
	}
	if got.Index != want.GetIndex() || got.Term != want.GetTerm() {
		return fmt.Errorf("etcdserver: the checkpoint is of entry %d and term %d, not of %d and %d",
			got.Index, got.Term, want.GetIndex(), want.GetTerm())
	}
	conf, err := confOf(got)
	if err != nil {
		return fmt.Errorf("etcdserver: %w", err)
	}
	if err := conf.Equivalent(want.GetConfState()); err != nil {
		return fmt.Errorf("etcdserver: the checkpoint has another raft configuration: %w", err)
	}
	return nil
}

// install puts the received checkpoint in place of all that was applied. Watchers
// go on, see store.Replace; requests that wait for an entry that was skipped end by
// their deadline. The applier calls it.
func (s *Server) install(c raftnode.Committed) error {
	start, want := time.Now(), c.Snapshot.GetMetadata()
	meta, err := s.takeOver(s.replica.Install, func(got snap.Meta) error { return s.matches(got, want) })
	if err != nil {
		return fmt.Errorf("etcdserver: cannot install the checkpoint of another member at entry %d: %w", want.GetIndex(), err)
	}
	s.awaited.Store(false)
	s.node.Applied(c)
	s.log.Info("installed the checkpoint of another member", "index", meta.Index, "nodes", meta.Nodes, "took", time.Since(start))
	return nil
}

// installer is Replica.Install or Replica.InstallCopy.
type installer func(tree *store.Store, at replica.Position, conf *raftpb.ConfState) error

// takeOver makes the received checkpoint this member's file and, when check has
// nothing against it, its state.
func (s *Server) takeOver(install installer, check func(snap.Meta) error) (snap.Meta, error) {
	s.checkpoint.file.Lock() // a checkpoint that is being written ends first
	tree, meta, err := s.exchange()
	s.checkpoint.installed(meta)
	s.checkpoint.file.Unlock()
	if err == nil {
		err = check(meta)
	}
	if err != nil {
		return meta, err
	}
	conf, err := confOf(meta)
	if err != nil {
		return meta, fmt.Errorf("etcdserver: %w", err)
	}
	if err := install(tree, replica.Position{Index: meta.Index, Term: meta.Term}, conf); err != nil {
		return meta, err
	}
	s.confChanged()
	s.progress.set(meta.Index, meta.Term)
	s.clock.change(func(t *replica.Clock, mono int64) { t.Applied(replica.Reading{Time: s.store.Clock()}, mono) })
	s.clusterChanged()
	s.expiry.look(s.store.NextExpiry())
	s.agreement.treeReplaced()
	s.progress.wake()
	return meta, nil
}

// exchange replaces the checkpoint by the one that was received and loads it.
func (s *Server) exchange() (*store.Store, snap.Meta, error) {
	if meta, err := s.snap.Install(); err != nil {
		return nil, meta, err
	}
	return s.snap.Load(store.Config{HistoryEvents: s.cfg.HistoryEvents})
}

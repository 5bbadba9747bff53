package raftnode

import (
	"context"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Propose queues data for the log and returns; the entry arrives through
// Committed, or, when leadership changes at the wrong moment, never. Whoever
// leads: the loop proposes it, or gives it to Config.Forward when another member
// does; while no leader is known it waits for one, and is dropped if nobody wants
// it any more by then, see Config.Wanted. The caller does not touch data
// afterwards. Errors are ErrStopped and that of ctx, which ends the wait for room
// in a full queue.
func (n *Node) Propose(ctx context.Context, data []byte) error {
	return n.inbox.putProposal(ctx, data, n.cfg.MaxQueued, n.cfg.MaxQueuedBytes)
}

// ProposeAsLeader has entries proposed, all or none, if this member leads, and
// waits only until the loop has taken them; from then on they are as if queued by
// Propose. After an error nothing was taken nor will be. Errors are ErrNotLeader,
// ErrBusy, ErrStopped and that of ctx. The data are copied.
func (n *Node) ProposeAsLeader(ctx context.Context, data [][]byte) error {
	if len(data) == 0 {
		return nil
	}
	b := &batch{data: cloneAll(data), done: make(chan struct{})}
	if !n.inbox.putBatch(b) {
		return ErrStopped
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		if n.inbox.withdraw(b) {
			return ctx.Err()
		}
		<-b.done // its turn has come
		return b.err
	}
}

func cloneAll(data [][]byte) [][]byte {
	slab := make([]byte, 0, size(data))
	clones := make([][]byte, len(data))
	for i, d := range data {
		from := len(slab)
		slab = append(slab, d...)
		clones[i] = slab[from:len(slab):len(slab)]
	}
	return clones
}

// ProposeConfChange adds a configuration change to the log and returns; the
// entry arrives through Committed. Errors are ErrNotLeader, ErrBusy,
// ErrChangePending, ErrStopped and that of ctx.
func (n *Node) ProposeConfChange(ctx context.Context, cc raftpb.ConfChangeI) error {
	var answer error
	if err := n.call(ctx, func(l *loop) { answer = l.core.ProposeConfChange(cc) }); err != nil {
		return err
	}
	return answer
}

// ApplyConfChange puts a committed configuration change into effect and returns
// the configuration that results. Only the applier calls it, before it reports
// the Committed that held the change. The error is ErrStopped.
func (n *Node) ApplyConfChange(cc raftpb.ConfChangeI) (*raftpb.ConfState, error) {
	var conf *raftpb.ConfState
	if err := n.call(context.Background(), func(l *loop) { conf = l.core.ApplyConfChange(cc) }); err != nil {
		return nil, err
	}
	return conf, nil
}

// call has the loop call f and waits until it has. When call returns an error, f
// may still run, or be running.
func (n *Node) call(ctx context.Context, f func(*loop)) error {
	done := make(chan struct{})
	if !n.inbox.putCall(func(l *loop) { f(l); close(done) }) {
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-n.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReadIndex returns an index with this promise: a state that includes it
// includes every write that was acknowledged, by any member, before the call.
// All who wait share one round of messages; the only voter needs none. Without a
// leader it waits for one. Errors are ErrStopped and that of ctx.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	if n.role.Load().readable {
		return n.commit.Load(), nil
	}
	r, err := n.inbox.joinReaders()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Step takes a message from another member. It waits for room until ctx ends;
// the other errors are ErrStopped.
func (n *Node) Step(ctx context.Context, m *raftpb.Message) error {
	return n.inbox.putMessage(ctx, m)
}

// StepSnapshot is Step for a MsgSnap. It returns once raft has taken the snapshot,
// so that a Committed with it will follow unless the member stops before, or has
// ignored it, because the log holds all of it or something newer. Errors are those
// of Step; after one the snapshot is not taken. The index in Committed tells which
// of several snapshots it is: raft takes no index twice.
func (n *Node) StepSnapshot(ctx context.Context, m *raftpb.Message) (accepted bool, err error) {
	a := &arrival{message: m, done: make(chan struct{})}
	if !n.inbox.putSnapshot(a) {
		return false, ErrStopped
	}
	select {
	case <-a.done:
		return a.accepted, a.err
	case <-ctx.Done():
		if n.inbox.withdrawSnapshot(a) {
			return false, ctx.Err()
		}
		<-a.done // its turn has come
		return a.accepted, a.err
	}
}

// Progress is how far a member is, as its leader sees it.
type Progress struct {
	Match           uint64    // its log agrees with the leader's up to here
	Learner         bool      // it does not vote
	Heard           time.Time // when its last message came, zero for never; now for this member
	SendingSnapshot bool      // it waits for a snapshot that was sent
}

// Progress tells about every member of the configuration in effect. Errors are
// ErrNotLeader, ErrStopped and that of ctx.
func (n *Node) Progress(ctx context.Context) (map[uint64]Progress, error) {
	var all map[uint64]Progress
	if err := n.call(ctx, func(l *loop) { all = l.progress() }); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, ErrNotLeader
	}
	return all, nil
}

// Age is an upper bound of how old the applied state may be: the time since the
// last moment after which a leader, or as the leader a quorum, has said something
// that was heard here, and everything then known to be committed is applied here by
// now. What was said long before it was heard does not count as news. It is not known
// before the first such moment, and a heartbeat or two when all is well. It costs no
// more than reading a clock.
func (n *Node) Age() (age time.Duration, known bool) {
	if n.role.Load().readable {
		return 0, true
	}
	fresh := n.fresh.Load()
	if fresh == 0 {
		return 0, false
	}
	return time.Since(n.epoch) - time.Duration(fresh), true
}

// Suspicious reports whether this member doubts its own log, see Core.Suspicious:
// it is not to be used for reads or called ready. Within three election timeouts
// that passes or ends Run. It is false after Run has ended.
func (n *Node) Suspicious() bool { return n.suspicious.Load() }

// LastTerm is the term of the last durable entry, 0 for an empty log.
func (n *Node) LastTerm() uint64 { return n.core.LastTerm() }

// Committed is the applier's queue. It is closed when Run ends. The applier
// calls Applied for everything it takes.
func (n *Node) Committed() <-chan Committed { return n.committed }

// Applied reports that a Committed has been applied; with a Snapshot, that it is
// durable as this member's checkpoint.
func (n *Node) Applied(c Committed) {
	if c.Snapshot != nil {
		n.applied.Store(c.Snapshot.GetMetadata().GetIndex())
		close(c.installed)
		return
	}
	n.backlog.Add(-int64(len(c.Entries)))
	n.applied.Store(c.Entries[len(c.Entries)-1].GetIndex())
	n.inbox.putReport(report{applied: c})
}

// Compact notes that a checkpoint at index applied, with the configuration in
// effect there, is durable. It forgets entries behind it but for a tail, and
// returns up to which index the log may be released; 0 is nothing.
func (n *Node) Compact(applied uint64, conf *raftpb.ConfState) (released uint64, err error) {
	return n.core.Compact(applied, conf)
}

// Campaign asks for an election now.
func (n *Node) Campaign(ctx context.Context) error {
	var answer error
	if err := n.call(ctx, func(l *loop) { answer = l.core.Campaign() }); err != nil {
		return err
	}
	return answer
}

// TransferLeader hands leadership to another member, if this one leads, and
// returns at once; Status tells when it has happened. When the other does not
// take over within an election timeout, this member goes on.
func (n *Node) TransferLeader(ctx context.Context, to uint64) error {
	return n.call(ctx, func(l *loop) { l.core.TransferLeader(to) })
}

// ReportUnreachable tells that messages to a member were lost, so that it is
// probed before more is sent to it.
func (n *Node) ReportUnreachable(id uint64) {
	n.inbox.putCall(func(l *loop) { l.core.ReportUnreachable(id) })
}

// ReportSnapshot tells whether a snapshot reached the member it was sent to.
// Every MsgSnap that Send was given is reported once.
func (n *Node) ReportSnapshot(id uint64, ok bool) {
	n.inbox.putCall(func(l *loop) { l.core.ReportSnapshot(id, ok) })
}

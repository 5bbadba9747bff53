package raftnode

import (
	"context"

	"go.etcd.io/raft/v3/raftpb"
)

// Propose queues data for the log and returns; the entry arrives through
// Committed, or, when leadership changes at the wrong moment, never. While no
// leader is known it waits in the queue for one. The caller does not change data
// afterwards. Errors are ErrNotLeader when another member leads, ErrStopped, and
// that of ctx, which ends the wait for room in a full queue.
func (n *Node) Propose(ctx context.Context, data []byte) error {
	if r := n.role.Load(); r.leader != 0 && !r.leads {
		return ErrNotLeader
	}
	return n.inbox.putProposal(ctx, data, n.cfg.MaxQueued, n.cfg.MaxQueuedBytes)
}

// ProposeConfChange adds a configuration change to the log and returns; the
// entry arrives through Committed. Errors are ErrNotLeader, ErrBusy,
// ErrChangePending, ErrStopped and that of ctx.
func (n *Node) ProposeConfChange(ctx context.Context, cc raftpb.ConfChangeI) error {
	var answer error
	if err := n.call(ctx, func(c *Core) { answer = c.ProposeConfChange(cc) }); err != nil {
		return err
	}
	return answer
}

// ApplyConfChange puts a committed configuration change into effect and returns
// the configuration that results. Only the applier calls it, before it reports
// the Committed that held the change. The error is ErrStopped.
func (n *Node) ApplyConfChange(cc raftpb.ConfChangeI) (*raftpb.ConfState, error) {
	var conf *raftpb.ConfState
	if err := n.call(context.Background(), func(c *Core) { conf = c.ApplyConfChange(cc) }); err != nil {
		return nil, err
	}
	return conf, nil
}

// call has the loop call f and waits until it has. When call returns an error, f
// may still run, or be running.
func (n *Node) call(ctx context.Context, f func(*Core)) error {
	done := make(chan struct{})
	if !n.inbox.putCall(func(c *Core) { f(c); close(done) }) {
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
	if err := n.call(ctx, func(c *Core) { answer = c.Campaign() }); err != nil {
		return err
	}
	return answer
}

// TransferLeader hands leadership to another member, if this one leads, and
// returns at once; Status tells when it has happened. When the other does not
// take over within an election timeout, this member goes on.
func (n *Node) TransferLeader(ctx context.Context, to uint64) error {
	return n.call(ctx, func(c *Core) { c.TransferLeader(to) })
}

// ReportUnreachable tells that messages to a member were lost, so that it is
// probed before more is sent to it.
func (n *Node) ReportUnreachable(id uint64) {
	n.inbox.putCall(func(c *Core) { c.ReportUnreachable(id) })
}

// ReportSnapshot tells whether a snapshot reached the member it was sent to.
// Every MsgSnap that Send was given is reported once.
func (n *Node) ReportSnapshot(id uint64, ok bool) {
	n.inbox.putCall(func(c *Core) { c.ReportSnapshot(id, ok) })
}

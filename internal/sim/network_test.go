package sim_test

import (
	"errors"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/raftnode"
)

// parcel is what travels from one member to another: a message of raft, a
// snapshot with its checkpoint, writes for the leader, or writes it has refused.
type parcel struct {
	from, to uint64
	life     int // of the sender
	msg      *raftpb.Message
	ckpt     *checkpoint // with MsgSnap; nil until it is opened
	writes   []proposal
	refused  bool
}

// clone gives a parcel a message of its own where raft may change it on arrival.
func (p parcel) clone() parcel {
	if p.msg != nil && (len(p.msg.GetEntries()) == 0 || p.msg.GetType() == raftpb.MsgReadIndex) {
		p.msg = proto.CloneOf(p.msg)
	}
	return p
}

func (c *cluster) post(p parcel) {
	p.life = c.machines[p.from-1].life
	c.bag = append(c.bag, p)
}

// send puts messages in the bag. A snapshot's checkpoint is opened now or later,
// when the transfer begins; it may be newer than what raft has asked for.
func (c *cluster) send(m *machine, ms []*raftpb.Message) {
	for _, msg := range ms {
		p := parcel{from: m.id, to: msg.GetTo(), msg: msg}.clone()
		if msg.GetType() == raftpb.MsgSnap {
			c.snapshots++
			if c.rng.IntN(2) == 0 {
				c.open(&p)
			}
		}
		c.post(p)
	}
}

// open puts the sender's checkpoint into the parcel that announces one.
func (c *cluster) open(p *parcel) {
	m, asked := c.machines[p.from-1], p.msg.GetSnapshot().GetMetadata().GetIndex()
	p.ckpt = m.openCheckpoint(asked)
	if p.ckpt == nil {
		if m.up && m.applied >= asked {
			c.Fatalf("member %d announces a snapshot at %d, but has no such checkpoint", m.id, asked)
		}
		return
	}
	p.msg = proto.CloneOf(p.msg)
	p.msg.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(p.ckpt.index), Term: new(p.ckpt.term), ConfState: p.ckpt.conf,
	}}
}

// deliverOne takes a parcel from the bag. A message may arrive once, twice or
// never; writes travel on a stream, which repeats nothing.
func (c *cluster) deliverOne() {
	if len(c.bag) == 0 {
		return
	}
	i := 0
	if c.faults.Reorder {
		i = c.rng.IntN(min(len(c.bag), 20))
	}
	p := c.bag[i]
	if p.msg != nil && c.chance(c.faults.Duplicate*10_000) {
		c.bag[i] = p.clone()
	} else {
		c.bag = slices.Delete(c.bag, i, i+1)
	}
	lost := c.chance(c.faults.Drop*10_000) || c.step < c.cut[[2]uint64{p.from, p.to}]
	c.deliver(p, !lost)
}

func (c *cluster) deliver(p parcel, arrives bool) {
	from, to := c.machines[p.from-1], c.machines[p.to-1]
	arrives = arrives && to.up && c.meet(p, from, to)
	if arrives && to.up && to.replica.Cluster().Removed(membership.ID(p.from)) {
		c.retire(from) // it is told so
		return
	}
	switch {
	case p.msg != nil && p.msg.GetType() == raftpb.MsgSnap:
		c.deliverSnapshot(p, from, to, arrives)
	case p.msg != nil:
		arrives = arrives && to.up
		if arrives {
			c.handOver(to, p.msg)
		} else if from.up && c.rng.IntN(4) == 0 {
			from.core.ReportUnreachable(to.id)
			from.pump()
		}
	case p.refused:
		if arrives && to.up {
			to.takeBack(p.writes)
		}
	case to.up && arrives:
		c.trace("forward", p.from, p.to, p.writes[0].id(), uint64(len(p.writes)))
		to.takeForwarded(p)
	case !to.up && from.up && c.rng.IntN(2) == 0:
		from.takeBack(p.writes) // nobody listens there: certainly not taken
	}
}

// deliverSnapshot transfers a checkpoint. The sender learns how that went.
func (c *cluster) deliverSnapshot(p parcel, from, to *machine, arrives bool) {
	running := from.up && from.life == p.life // a transfer ends with its process
	if p.ckpt == nil && running {
		c.open(&p)
	}
	arrives = arrives && to.up && p.ckpt != nil
	if arrives {
		to.received = append(to.received, p.ckpt)
		c.handOver(to, p.msg)
	}
	if running {
		from.core.ReportSnapshot(to.id, arrives)
		from.pump()
	}
}

// handOver gives a machine one message.
func (c *cluster) handOver(to *machine, msg *raftpb.Message) {
	c.trace("msg", msg.GetFrom(), msg.GetTo(), uint64(msg.GetType()), msg.GetTerm(), msg.GetIndex(), uint64(len(msg.GetEntries())))
	err := to.core.Step(msg) // a refused message is as good as lost
	if errors.Is(err, raftnode.ErrMessage) || to.core.Suspicious() {
		c.Fatalf("member %d takes a correct %v for a wrong one: %v", to.id, msg.GetType(), err)
	}
	if err == nil {
		to.hear(msg)
	}
	to.pump()
}

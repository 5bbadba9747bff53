package peer

import (
	"context"
	"io"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
)

// Receiver is the member behind the transport: what the other members reach, and
// what is told of the fate of what was sent. Its methods are called by many
// goroutines at a time and never by Send, Forward or Set.
type Receiver interface {
	Cluster
	// ID returns the ID of this member.
	ID() membership.ID
	// Removed reports whether that member was removed from the cluster.
	Removed(id membership.ID) bool

	// Step takes in a raft message, which belongs to the receiver from then on. It
	// may block while there is much to do: the sender waits then.
	Step(ctx context.Context, m *raftpb.Message) error
	// Forwarded takes in writes that another member believes to be for this one
	// to propose. An error says that none of them was taken nor will be: they are
	// sent back.
	Forwarded(ctx context.Context, from membership.ID, writes [][]byte) error
	// Refused gets writes back that were given to Forward and that certainly were
	// not taken by the other member.
	Refused(writes [][]byte)
	// ReportUnreachable is told that messages to that member were lost.
	ReportUnreachable(id membership.ID)
	// ReportSnapshot is told how sending a checkpoint to that member ended.
	ReportSnapshot(id membership.ID, ok bool)

	// OpenSnapshot opens this member's checkpoint at the given raft index or
	// behind it.
	OpenSnapshot(ctx context.Context, atLeast uint64) (Snapshot, error)
	// ReceiveSnapshot takes in the checkpoint that another member sends: the
	// message for raft, and the checkpoint. r ends with io.EOF only after the
	// whole checkpoint has arrived unharmed. An error makes the other member send
	// it again.
	ReceiveSnapshot(ctx context.Context, m *raftpb.Message, r io.Reader) error

	// Answer answers a question that another member has asked with Ask.
	Answer(ctx context.Context, from membership.ID, question string, body []byte) ([]byte, error)
	// Identity returns what this member tells the others of itself at this moment.
	Identity() identity.Identity
	// Seen returns what was seen of another member, the zero Seen when it was never
	// met.
	Seen(id membership.ID) identity.Seen
	// Meet decides whether a member that presents itself is the one that was met
	// before, and records it: durably, when Meet returns nil. The errors of package
	// identity say that it is not; after another one it has to come again.
	Meet(id membership.ID, who identity.Identity) error
	// Note is told now and then how far a member that was met has come.
	Note(id membership.ID, who identity.Identity)
	// RefusedBy is told that another member refuses this one and why, and with an
	// empty reason that it does not any more.
	RefusedBy(id membership.ID, reason string)
	// Mismatch is told that the member that should be peer belongs to another
	// cluster. It is told again at each attempt to reach it.
	Mismatch(peer, remoteCluster membership.ID)
	// Expelled is told that another member says this one was removed, and the
	// identity that it tells. It is told again at each attempt to reach that member.
	Expelled(by membership.ID, who identity.Identity)
}

// Snapshot is a checkpoint that is open to be sent.
type Snapshot interface {
	io.WriterTo
	io.Closer
	Size() int64 // bytes that WriteTo will write
	Index() uint64
	Term() uint64
	Conf() *raftpb.ConfState // the members of the raft group at that index
}

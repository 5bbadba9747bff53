package raftnode

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Errors a caller can act on.
var (
	// ErrNotLeader is returned when this member does not lead: ask the one that does.
	ErrNotLeader = errors.New("raftnode: this member is not the leader")
	// ErrStopped is returned once Run has ended.
	ErrStopped = errors.New("raftnode: the member has stopped")
	// ErrChangePending is returned when an earlier configuration change is not
	// applied yet: try again once it is.
	ErrChangePending = errors.New("raftnode: a configuration change is pending")
	// ErrBusy is returned while more bytes than MaxUncommittedBytes wait for a
	// quorum, or while leadership is being handed over.
	ErrBusy = errors.New("raftnode: too much is waiting to be committed")
	// ErrState is returned by New when the log and the checkpoint do not fit
	// together, so that starting would lose acknowledged writes.
	ErrState = errors.New("raftnode: the log does not fit the checkpoint")
	// ErrLost is returned by Run when the leader has this member's word for entries
	// that are not in its log: its data was lost or replaced by older data.
	ErrLost = errors.New("raftnode: entries that this member has confirmed are missing in its log")
	// ErrDiverged is returned by Run when the leader has other entries at places of
	// which this member knows what is committed there: a quorum has lost its data, or
	// this member was in a quorum that the leader was not.
	ErrDiverged = errors.New("raftnode: the leader's log contradicts entries that this member knows as committed")
	// ErrMessage is returned by Core.Step for a message that no correct member
	// sends: the sender is faulty, or somebody forges messages.
	ErrMessage = errors.New("raftnode: a message that no correct member sends")
)

// Config tunes a Node. A zero field takes the default named beside it.
type Config struct {
	ID       uint64        // this member; required
	Tick     time.Duration // heartbeat period; 100ms
	Election int           // ticks of silence before campaigning; 10
	// Founding starts the election clock one tick short of the time-out: a group
	// just founded has no leader whose silence would have to be waited for. Were
	// there one after all, pre-vote would keep it.
	Founding bool         // false
	Logger   *slog.Logger // discard

	// What stays in memory and in the log behind a checkpoint, so that a slow
	// follower catches up from entries and needs no snapshot. The smaller wins.
	TailEntries uint64 // 5000
	TailBytes   uint64 // 64 MiB

	// MaxMessageBytes bounds the entries of one message to a follower. Large
	// messages delay heartbeats on a slow link, small ones cost a header each.
	MaxMessageBytes uint64 // 1 MiB
	// MaxInflightMessages and MaxInflightBytes bound what is on its way to one
	// follower and not acknowledged yet: the memory a dead follower can cost.
	MaxInflightMessages int    // 512
	MaxInflightBytes    uint64 // 16 MiB
	// MaxUncommittedBytes bounds the leader's proposals that wait for a quorum;
	// beyond it they wait in the inbox and the inbox pushes back on clients.
	MaxUncommittedBytes uint64 // 64 MiB
	// MaxApplyingBytes bounds what the applier was given and has not reported.
	MaxApplyingBytes uint64 // 16 MiB
	// MaxQueued and MaxQueuedBytes bound the proposals that wait in the inbox.
	MaxQueued      int // 16384
	MaxQueuedBytes int // 64 MiB

	// OnCommit, when set, is told how long each group of entries took from being
	// handed to the log until a quorum had it. It is called by the loop and must
	// not block.
	OnCommit func(took time.Duration)
	// Stamp, when set, is given every batch of data that this member is about to
	// propose as the leader, and may overwrite bytes of it, such as a time that only
	// a leader can know. It is called by the loop and must not block.
	Stamp func(data [][]byte)
	// Tell, when set, returns what this member's heartbeats carry while it leads, such
	// as its clock; nil is nothing. Heard is given what a heartbeat of the leader of
	// term carried; lastTerm is the term of this member's last entry. Both are called
	// by the loop and must not block.
	Tell  func() []byte
	Heard func(term uint64, told []byte, lastTerm uint64)
	// Forward, when set, is given what Propose has queued while another member
	// leads, and is to carry it there. It is called by the loop and must not block;
	// the outer slice is good during the call only. Without it proposals wait until
	// this member leads.
	Forward func(leader uint64, data [][]byte)
	// Wanted, when set, tells whether somebody still waits for what Propose has
	// queued. It is asked about proposals that found no leader for longer than an
	// election takes: a write whose client gave up long ago must not appear out of
	// nowhere, over what others have written since. It is called by the loop and must
	// not block.
	Wanted func(data []byte) bool
	// OnRole, when set, is told of every change of term, leader or role, before
	// anything is proposed or forwarded under it. It is called by the loop and must
	// not block.
	OnRole func(Role)
}

func (c Config) withDefaults() Config {
	c.Tick = cmp.Or(c.Tick, 100*time.Millisecond)
	c.Election = cmp.Or(c.Election, 10)
	c.TailEntries = cmp.Or(c.TailEntries, 5000)
	c.TailBytes = cmp.Or(c.TailBytes, 64<<20)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 1<<20)
	c.MaxInflightMessages = cmp.Or(c.MaxInflightMessages, 512)
	c.MaxInflightBytes = max(cmp.Or(c.MaxInflightBytes, 16<<20), c.MaxMessageBytes)
	c.MaxUncommittedBytes = cmp.Or(c.MaxUncommittedBytes, 64<<20)
	c.MaxApplyingBytes = cmp.Or(c.MaxApplyingBytes, 16<<20)
	c.MaxQueued = cmp.Or(c.MaxQueued, 16384)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 64<<20)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Log keeps entries on disk. *wal.Log satisfies it.
type Log interface {
	// Save makes the hard state (nil when unchanged) and the entries durable
	// before it returns. Entries may overwrite a suffix of the log. A hard state
	// that differs in its commit index alone may wait for the next write: raft
	// promises nobody to remember it.
	Save(hard *raftpb.HardState, entries []*raftpb.Entry) error
	// Restart forgets all entries but not the hard state; the log goes on behind
	// (index, term), the position of a checkpoint received from another member.
	Restart(index, term uint64) error
}

// Sender hands messages to peers. It never blocks: raft retries what is lost.
// Messages are immutable once handed over.
type Sender interface {
	Send(ms []*raftpb.Message)
}

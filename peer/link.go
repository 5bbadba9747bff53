package peer

import (
	"io"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Link is the connection to one other member.
type Link struct {
	Active          bool      // messages get there
	Since           time.Time // when Active became what it is
	RTT             time.Duration
	ClockDifference time.Duration // positive when the other member's clock is ahead
	Appends         Traffic       // append messages sent
	Received        Traffic       // append messages received
	Success, Fail   uint64        // messages sent, and messages lost
}

// Traffic counts messages.
type Traffic struct {
	Messages uint64
	Bytes    uint64
}

// Snapshot is a member's checkpoint on its way to another one.
type Snapshot interface {
	io.WriterTo
	Size() int64             // bytes that WriteTo writes
	Index() uint64           // raft index of the last entry it holds
	Term() uint64            // of that entry
	Conf() *raftpb.ConfState // the members at that entry
	Close() error
}

// AskError is the refusal of the member that was asked.
type AskError struct{ Text string }

func (e *AskError) Error() string { return e.Text }

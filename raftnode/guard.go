package raftnode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// guard is what a Core knows in order to judge messages before raft gets them.
type guard struct {
	now int // ticks since the start

	// sure is up to where the entries that this member knows as committed are
	// durable. They never change, so they can be held against what a leader says.
	sure   uint64
	saving []saving // appends that are not Saved yet, oldest first
	// end is the last index of raft's log when Work was last asked, and low what it
	// cannot have fallen below since.
	end, low uint64
	stepped  bool // raft was given entries or a snapshot since

	acked    acknowledged
	rejected rejection

	ceiling uint64    // the highest term that a message may have until the next election timeout
	beyond  suspicion // that the group is at a term beyond it

	lost, diverged suspicion

	readTerm, reads uint64 // as the leader of readTerm: the newest read position told in a heartbeat
}

// saving is an append on its way to the disk.
type saving struct {
	first uint64          // the first entry that it replaces
	done  *raftpb.Message // among its responses
}

// acknowledged is up to where this member has told the leader of a term that its
// log is the leader's, which within the term stays true.
type acknowledged struct{ to, term, index uint64 }

// rejection is an answer to an append that does not fit.
type rejection struct {
	to, term, index, hint, hintTerm uint64
	tick                            int
}

// errEvidence is returned for a message that speaks against this member's log
// while that is not concluded yet.
var errEvidence = errors.New("raftnode: a message speaks against the log of this member")

// verifiedMark is the context of a heartbeat that stands for a verified append, by
// which raft's answer to it is known. Other heartbeats have 8 bytes or none.
var verifiedMark = []byte{1}

func newGuard(term, commit, last uint64) guard {
	return guard{sure: commit, end: last, low: last, ceiling: term + maxTermRise}
}

// Suspicious reports whether the leader has said what speaks against this
// member's log: it lacks entries that it has confirmed, or knows others as
// committed. Until that is cleared up or concluded, no reads are answered, and the
// member is not to serve its state.
func (c *Core) Suspicious() bool { return c.guard.lost.active() || c.guard.diverged.active() }

// tickGuard notes that a heartbeat period has passed.
func (c *Core) tickGuard() {
	g := &c.guard
	g.now++
	if g.now%c.cfg.Election == 0 {
		g.ceiling = c.rn.BasicStatus().GetTerm() + maxTermRise
	}
	g.lost.expire(g.now, c.cfg.Election)
	g.diverged.expire(g.now, c.cfg.Election)
	g.beyond.expire(g.now, c.cfg.Election)
}

// noteAppend notes what Work gives to be saved.
func (g *guard) noteAppend(a *Append) {
	s := saving{first: math.MaxUint64}
	if n := len(a.Entries); n > 0 {
		g.end, s.first = a.Entries[n-1].GetIndex(), a.Entries[0].GetIndex()
	}
	if a.Snapshot != nil {
		s.first = 1 // what is durable of the log goes
		if len(a.Entries) == 0 {
			g.end = a.Snapshot.GetMetadata().GetIndex()
		}
	}
	if s.first == math.MaxUint64 {
		return
	}
	for _, m := range a.Responses {
		if m.GetType() == raftpb.MsgStorageAppendResp {
			s.done = m
		}
	}
	g.saving = append(g.saving, s)
}

// noteSaved notes that an append is durable, and returns what raft is told of it.
// Raft recognises what was saved by the last index, its term and the member's term.
// A forged leader can replace entries within its own term, and raft would take the
// new ones, which are still on their way to the disk, for saved.
func (g *guard) noteSaved(response *raftpb.Message) *raftpb.Message {
	i := slices.IndexFunc(g.saving, func(s saving) bool { return s.done == response })
	g.saving = g.saving[i+1:]
	replaced := func(s saving) bool { return s.first <= response.GetIndex() }
	if response.GetIndex() == 0 || !slices.ContainsFunc(g.saving, replaced) {
		return response
	}
	rest := proto.CloneOf(response)
	rest.Index, rest.LogTerm = nil, nil // what is told of a snapshot remains
	return rest
}

// noteWork notes where the log ends, when Work has given out all of it.
func (c *Core) noteWork() {
	g := &c.guard
	g.low, g.stepped = g.end, false
	if late := c.late; len(late) > 0 {
		c.late = nil
		c.Saved(late)
	}
	if g.sure == c.commit {
		return
	}
	durable, _ := c.mem.LastIndex()
	for _, s := range g.saving {
		durable = min(durable, s.first-1)
	}
	g.sure = max(g.sure, min(durable, c.commit))
}

// noteHeartbeat notes the reads that a heartbeat asks to be confirmed.
func (g *guard) noteHeartbeat(m *raftpb.Message) {
	if g.readTerm != m.GetTerm() {
		g.readTerm, g.reads = m.GetTerm(), 0
	}
	if len(m.GetContext()) == 8 {
		g.reads = max(g.reads, binary.LittleEndian.Uint64(m.GetContext()))
	}
}

// holds reports whether what an acknowledgement says is still durable. Raft has
// written it when the entries were on their way to the disk, and others may have
// taken their place since.
func (s *storage) holds(m *raftpb.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.GetType() != raftpb.MsgAppResp || m.GetReject() || m.GetIndex() <= s.last()
}

// passes reports whether raft's answer to another member is to be sent, and notes
// what it says.
func (g *guard) passes(m *raftpb.Message) bool {
	switch {
	case m.GetType() == raftpb.MsgHeartbeatResp:
		return !bytes.Equal(m.GetContext(), verifiedMark)
	case m.GetType() != raftpb.MsgAppResp:
		return true
	case !m.GetReject():
		g.noteAck(m)
		return true
	}
	// A leader that has this member's word for entries that are missing here tries
	// again at once, and would go on as fast as the network carries it.
	r := rejection{m.GetTo(), m.GetTerm(), m.GetIndex(), m.GetRejectHint(), m.GetLogTerm(), g.now}
	if r == g.rejected {
		return false
	}
	g.rejected = r
	return true
}

func (g *guard) noteAck(m *raftpb.Message) {
	if g.acked.to != m.GetTo() || g.acked.term != m.GetTerm() {
		g.acked = acknowledged{to: m.GetTo(), term: m.GetTerm()}
	}
	g.acked.index = max(g.acked.index, m.GetIndex())
	if m.GetIndex() >= g.diverged.index {
		g.diverged.clear() // the leader has the same entry
	}
}

// suspectLoss notes that the leader says this member has confirmed an entry that it
// does not have. The error is ErrLost once that is certain.
func (c *Core) suspectLoss(m *raftpb.Message, last uint64) error {
	g := &c.guard
	text := fmt.Sprintf("it ends at entry %d, entry %d is committed", last, m.GetCommit())
	if !g.lost.add(m.GetFrom(), m.GetTerm(), m.GetCommit(), g.now, c.cfg.Election) {
		return fmt.Errorf("%w: %s", errEvidence, text)
	}
	return fmt.Errorf("%w: %s; %s", ErrLost, text, addAgain)
}

// suspectDivergence notes a contradiction. The error is ErrDiverged once it is
// certain.
func (c *Core) suspectDivergence(m *raftpb.Message, x contradiction) error {
	g := &c.guard
	if !g.diverged.add(m.GetFrom(), m.GetTerm(), x.index, g.now, c.cfg.Election) {
		return fmt.Errorf("%w: %v", errEvidence, x)
	}
	return fmt.Errorf("%w: %v; %s", ErrDiverged, x, addAgain)
}

const addAgain = "remove the member from its cluster and add it again with an empty data directory"

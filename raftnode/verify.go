package raftnode

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// Raft answers a leader that sends what lies below its commit index with "all the
// same up to my commit index", and does not look. That is true as long as no member
// ever forgets. If one comes back without its data, or with older data, a quorum can
// commit other entries at the same places, and a member with the first ones would
// vouch for entries that it never got. So what lies below the commit index is
// compared here, and raft gets what lies beyond it.

// contradiction is an entry that this member knows as committed and of which the
// leader has another one.
type contradiction struct {
	index, own, leaders uint64 // terms
	below               bool   // own is the most that it can be
}

func (x contradiction) String() string {
	or := ""
	if x.below {
		or = " or lower"
	}
	return fmt.Sprintf("entry %d is of term %d%s here and of term %d there", x.index, x.own, or, x.leaders)
}

// compare holds what an append says against the durable log, up to an index. It
// returns the highest index at which both are known to be the same, 0 for none, or
// the first contradiction.
func (s *storage) compare(m *raftpb.Message, upTo uint64) (same uint64, _ *contradiction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := m.GetEntries()
	upTo = min(upTo, m.GetIndex()+uint64(len(entries)), s.last())
	for i := m.GetIndex(); i <= upTo; i++ {
		term := m.GetLogTerm()
		if i > m.GetIndex() {
			term = entries[i-m.GetIndex()-1].GetTerm()
		}
		own := s.prevTerm
		if i > s.prevIndex {
			own = s.entries[i-s.prevIndex-1].GetTerm()
		}
		switch {
		case i < s.prevIndex && term > own: // terms never fall in a log
			return 0, &contradiction{i, own, term, true}
		case i < s.prevIndex:
		case term != own:
			return 0, &contradiction{i, own, term, false}
		default:
			same = i
		}
	}
	return same, nil
}

// stepHeartbeat takes a heartbeat of a leader.
func (c *Core) stepHeartbeat(m *raftpb.Message) error {
	g := &c.guard
	// A leader tells no more than was confirmed to it, and only what is durable was.
	if last, _ := c.mem.LastIndex(); m.GetCommit() > last {
		return c.suspectLoss(m, last)
	}
	g.lost.clear()
	if m.GetCommit() >= g.diverged.index {
		g.diverged.clear() // this member has confirmed the entry to that leader
	}
	if m.GetCommit() > g.low { // raft's log may be shorter: what replaces the rest is not saved yet
		m = heartbeat(m, g.low, m.GetContext())
	}
	return c.rn.Step(m)
}

// heartbeat is a heartbeat from the sender of m.
func heartbeat(m *raftpb.Message, commit uint64, context []byte) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), From: m.From, To: m.To, Term: m.Term, Commit: new(commit), Context: context,
	}
}

// stepAppend takes entries of a leader.
func (c *Core) stepAppend(m *raftpb.Message, commit uint64) error {
	g := &c.guard
	end := m.GetIndex() + uint64(len(m.GetEntries()))
	if m.GetIndex() <= commit {
		same, x := c.mem.compare(m, g.sure)
		switch {
		case x != nil:
			return c.suspectDivergence(m, *x)
		case m.GetIndex() == commit: // raft compares the same
		case end <= commit:
			return c.acknowledge(m, end, same)
		case same < commit: // not durable yet, or not known any more
			return c.acknowledge(m, end, 0)
		default:
			m = beyond(m, commit)
		}
	}
	g.low, g.stepped = min(g.low, end), true
	return c.rn.Step(m)
}

// beyond is the part of an append behind an index within it.
func beyond(m *raftpb.Message, index uint64) *raftpb.Message {
	skip := index - m.GetIndex()
	return &raftpb.Message{
		Type: m.Type, From: m.From, To: m.To, Term: m.Term, Commit: m.Commit,
		Index: new(index), LogTerm: new(m.GetEntries()[skip-1].GetTerm()), Entries: m.GetEntries()[skip:],
	}
}

// stepSnapshot takes a snapshot of a leader. A snapshot that speaks against the log
// is ignored like one that brings nothing new: the leader then goes on with entries,
// which say the same and cost less.
func (c *Core) stepSnapshot(m *raftpb.Message, commit uint64) error {
	g := &c.guard
	meta := m.GetSnapshot().GetMetadata()
	if meta.GetIndex() > commit {
		g.low, g.stepped = min(g.low, meta.GetIndex()), true
		return c.rn.Step(m)
	}
	same, x := c.mem.compare(&raftpb.Message{Index: meta.Index, LogTerm: meta.Term}, g.sure)
	if x == nil {
		return c.acknowledge(m, meta.GetIndex(), same)
	}
	if err := c.suspectDivergence(m, *x); !errors.Is(err, errEvidence) {
		return err
	}
	return nil
}

// acknowledge answers a message of a leader that ends, at end, within what is known
// to be committed, when both logs are the same up to there. Otherwise the leader
// sends again. Raft gets a heartbeat in its place, so that it follows that leader.
func (c *Core) acknowledge(m *raftpb.Message, end, same uint64) error {
	g := &c.guard
	if err := c.rn.Step(heartbeat(m, 0, verifiedMark)); err != nil {
		return err
	}
	if g.acked.to == m.GetFrom() && g.acked.term == m.GetTerm() {
		same = max(same, min(g.acked.index, g.sure))
	}
	answer := &raftpb.Message{
		Type: raftpb.MsgAppResp.Enum(), From: m.To, To: m.From, Term: m.Term, Index: new(same),
	}
	if same < end {
		index, term := c.mem.begin()
		if end >= index {
			return nil // it is not durable yet
		}
		// The leader knows of nothing that is still in this log, as when the answer to
		// a snapshot was lost, and would go on so. It is asked to compare.
		answer.Index, answer.LogTerm, answer.Reject, answer.RejectHint = new(index), new(term), new(true), new(index)
	}
	if g.passes(answer) {
		c.responses = append(c.responses, answer)
	}
	return nil
}

// begin is the position before the first entry.
func (s *storage) begin() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prevIndex, s.prevTerm
}

// compared is what raft gets, as the leader, for a member's rejection. One that
// names an entry which is the same here is an acknowledgement of that entry: raft
// itself would only ever try lower ones.
func (c *Core) compared(m *raftpb.Message) *raftpb.Message {
	if !m.GetReject() || m.GetRejectHint() != m.GetIndex() || m.GetIndex() > c.guard.sure {
		return m
	}
	if term, err := c.mem.Term(m.GetIndex()); err != nil || term != m.GetLogTerm() || term == 0 {
		return m
	}
	return &raftpb.Message{Type: m.Type, From: m.From, To: m.To, Term: m.Term, Index: m.Index}
}

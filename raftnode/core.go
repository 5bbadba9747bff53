package raftnode

import (
	"fmt"
	"iter"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// Core is one raft member without goroutine, clock or I/O. Time comes in with
// Tick, the network with Step, the disk with Saved, the state machine with
// Applied; what is to be done about it comes out of Work. Equal inputs give
// equal outputs, but for what is drawn from crypto/rand: election timeouts and
// the mark on read rounds.
//
// One goroutine at a time calls its methods, Compact excepted.
type Core struct {
	cfg Config
	rn  *raft.RawNode
	mem *storage

	conf               *raftpb.ConfState
	sole               bool // the only voter
	alone              bool // the only member
	term, vote, commit uint64
	applied            uint64
	lead               uint64
	role               raft.StateType
	committedTerm      uint64 // the last term of which this member saw an entry committed in that term
	uncommitted        uint64 // bytes proposed in this leadership and not applied yet
	reads              rounds
	responses          []*raftpb.Message // for other members, due with the next Work
	late               []*raftpb.Message // given to Saved, due once Work has told what raft made of messages
	last               uint64            // index of the last entry that Work gave to be saved
	lastChange         uint64            // index of the last of them that changes the configuration
	taken              uint64            // index of the newest snapshot that Work gave out
	installing         bool              // that snapshot is not Saved yet
	changed            bool              // conf is newer than the last Applied
	guard              guard
}

// Work is what a Core wants done. Every part may be empty.
type Work struct {
	Send   []*raftpb.Message // to other members, now: none of it waits for the disk
	Append *Append           // for the Writer, in order
	Apply  *Committed        // for the applier, in order
	Reads  []Read            // answered read rounds
}

// Append is one step of the log: what to make durable, and what raft wants
// delivered once it is.
type Append struct {
	Hard      *raftpb.HardState // nil when unchanged
	Entries   []*raftpb.Entry
	Snapshot  *raftpb.Snapshot // to be installed by the applier first; nil mostly
	Responses []*raftpb.Message
}

// Committed is the applier's share: entries to apply in order, or a snapshot
// that takes the place of all that was applied before.
type Committed struct {
	Entries  []*raftpb.Entry
	Snapshot *raftpb.Snapshot

	responses []*raftpb.Message
	installed chan struct{} // closed by Node.Applied; nil without Snapshot
}

// NewCore makes a member from what its disk holds, and the Writer that belongs
// to it. When the checkpoint is ahead of the log, as after a crash between the
// installation of a snapshot and the restart of the log, the log is restarted
// here. Errors are ErrState, or come from the log.
func NewCore(cfg Config, st State, log Log) (*Core, *Writer, error) {
	cfg = cfg.withDefaults()
	mem, restart, err := st.storage()
	if err != nil {
		return nil, nil, err
	}
	if restart {
		if err := log.Restart(st.Applied, st.AppliedTerm); err != nil {
			return nil, nil, fmt.Errorf("raftnode: restart the log at the checkpoint: %w", err)
		}
		if err := log.Save(mem.hard, nil); err != nil {
			return nil, nil, fmt.Errorf("raftnode: restart the log at the checkpoint: %w", err)
		}
	}
	mem.trim(cfg.TailEntries, cfg.TailBytes) // the log on disk is released in larger pieces
	rn, err := raft.NewRawNode(&raft.Config{
		ID:                        cfg.ID,
		ElectionTick:              cfg.Election,
		HeartbeatTick:             1,
		Storage:                   mem,
		Applied:                   st.Applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             cfg.MaxMessageBytes,
		MaxCommittedSizePerReady:  cfg.MaxApplyingBytes,
		MaxUncommittedEntriesSize: cfg.MaxUncommittedBytes,
		MaxInflightMsgs:           cfg.MaxInflightMessages,
		MaxInflightBytes:          cfg.MaxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    raftLogger{cfg.Logger},
		// A write is stamped by the leader that proposes it and forwarded once, by
		// the server, which can then tell the client what became of it. Raft's own
		// forwarding would lose proposals without a word.
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("raftnode: %w", err)
	}
	c := &Core{
		cfg:     cfg,
		rn:      rn,
		mem:     mem,
		term:    mem.hard.GetTerm(),
		vote:    mem.hard.GetVote(),
		commit:  mem.hard.GetCommit(),
		applied: st.Applied,
		reads:   newRounds(cfg.Election),
		guard:   newGuard(mem.hard.GetTerm(), mem.hard.GetCommit(), mem.last()),
	}
	c.setConf(mem.snapshot.GetConfState())
	if cfg.Founding {
		for range cfg.Election - 1 { // raft campaigns after Election ticks at the earliest
			rn.Tick()
		}
	}
	w := &Writer{log: log, mem: mem, saved: mem.hard}
	return c, w, nil
}

// Tick tells that a heartbeat period has passed.
func (c *Core) Tick() {
	c.rn.Tick()
	c.reads.tick()
	c.tickGuard()
}

// Propose adds entries to the log, all or none. The data are copied.
// Errors are ErrNotLeader and ErrBusy.
func (c *Core) Propose(data [][]byte) error {
	if c.role != raft.StateLeader {
		return ErrNotLeader
	}
	bytes := size(data)
	if !c.hasRoom(bytes) {
		return ErrBusy
	}
	entries := make([]raftpb.Entry, len(data))
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(c.cfg.ID), Entries: make([]*raftpb.Entry, len(data))}
	for i, d := range data {
		entries[i].Data = d
		m.Entries[i] = &entries[i]
	}
	if err := c.rn.Step(m); err != nil {
		return ErrBusy // leadership is being handed over
	}
	c.uncommitted += bytes
	return nil
}

// hasRoom tells whether so many bytes can be proposed. Raft has the same limit;
// asking first keeps its warning out of the log.
func (c *Core) hasRoom(bytes uint64) bool {
	return c.uncommitted == 0 || c.uncommitted+bytes <= c.cfg.MaxUncommittedBytes
}

// Accepts tells whether this member, as the leader, would take a proposal of so
// many bytes now: it has room and does not hand its leadership over.
func (c *Core) Accepts(bytes uint64) bool {
	return c.hasRoom(bytes) && c.rn.BasicStatus().LeadTransferee == raft.None
}

// Saved reports that an Append is durable, with the responses the Writer gave.
func (c *Core) Saved(responses []*raftpb.Message) {
	if c.guard.stepped { // raft may have replaced what was saved: Work tells
		c.late = append(c.late, responses...)
		return
	}
	for _, m := range responses {
		if m.GetTo() != c.cfg.ID {
			if c.mem.holds(m) && c.guard.passes(m) {
				c.responses = append(c.responses, m)
			}
			continue
		}
		if m.GetType() == raftpb.MsgStorageAppendResp {
			m = c.guard.noteSaved(m)
		}
		if index := m.GetSnapshot().GetMetadata().GetIndex(); index > 0 {
			c.applied = max(c.applied, index)
			c.installing = c.installing && index < c.taken
			c.setConf(m.GetSnapshot().GetMetadata().GetConfState())
		}
		c.step(m)
	}
}

// Applied reports that the state machine has taken in a Committed.
func (c *Core) Applied(done Committed) {
	for _, m := range done.responses {
		entries := m.GetEntries()
		for _, e := range entries {
			c.uncommitted -= min(c.uncommitted, uint64(len(e.GetData())))
		}
		last := entries[len(entries)-1]
		c.applied = max(c.applied, last.GetIndex())
		if c.changed {
			c.mem.want(&raftpb.SnapshotMetadata{Index: new(last.GetIndex()), Term: new(last.GetTerm()), ConfState: c.conf})
			c.changed = false
		}
		c.step(m)
	}
}

// step feeds a response that raft itself has written. Those that a new
// configuration has made meaningless are ignored, as if lost on the way.
func (c *Core) step(m *raftpb.Message) {
	if err := c.rn.Step(m); err != nil {
		c.cfg.Logger.Debug("raft ignored its own response", "type", m.GetType().String(), "error", err)
	}
}

// Taken is the index of the newest snapshot that Work has given out, 0 before
// the first. It only grows: raft ignores a snapshot that brings nothing new.
func (c *Core) Taken() uint64 { return c.taken }

// Campaign asks for an election now.
func (c *Core) Campaign() error { return c.rn.Campaign() }

// TransferLeader hands leadership to another member, if this one leads. When the
// other does not take over within an election timeout, this one goes on.
func (c *Core) TransferLeader(to uint64) {
	if c.rn.BasicStatus().RaftState == raft.StateLeader { // another one would pass it on, in the name of to
		c.rn.TransferLeader(to)
	}
}

// ReportUnreachable tells that messages to a member were lost.
func (c *Core) ReportUnreachable(id uint64) { c.rn.ReportUnreachable(id) }

// ReportSnapshot tells whether a snapshot reached the member it was sent to.
func (c *Core) ReportSnapshot(id uint64, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	c.rn.ReportSnapshot(id, status)
}

// Compact notes that a checkpoint at index with this configuration is durable,
// keeps the tail behind it, and returns up to where the log may be released.
// It may be called from any goroutine.
func (c *Core) Compact(index uint64, conf *raftpb.ConfState) (released uint64, err error) {
	return c.mem.compact(index, raftpb.EnsureConfState(proto.CloneOf(conf)), c.cfg.TailEntries, c.cfg.TailBytes)
}

// Work returns what is to be done now. It returns false when nothing is, until
// the next input.
func (c *Core) Work() (Work, bool) {
	c.campaignIfSole()
	c.sendReads()
	if !c.rn.HasReady() {
		c.noteWork()
	}
	readable := c.reads.hasAnswers() && !c.Suspicious()
	if !c.rn.HasReady() && len(c.responses) == 0 && !readable {
		return Work{}, false
	}
	var w Work
	w.Send, c.responses = c.responses, nil
	rd := c.rn.Ready()
	if rd.SoftState != nil {
		c.setRole(rd.SoftState)
	}
	var votes []*raftpb.Message
	for _, m := range rd.Messages {
		switch {
		case m.GetTo() == raft.LocalAppendThread:
			w.Append = c.appendWork(m)
		case m.GetTo() == raft.LocalApplyThread:
			w.Apply = &Committed{Entries: m.GetEntries(), responses: m.GetResponses()}
		case m.GetType() == raftpb.MsgVote:
			votes = append(votes, m)
		case c.guard.passes(m):
			w.Send = append(w.Send, m)
		}
	}
	if len(votes) > 0 {
		// Raft would let the others elect this member before its own term and vote are
		// durable. After a crash it could then be elected in that term again, and put
		// other entries at places where somebody still has those of the first time.
		w.Append.Responses = append(slices.Clip(w.Append.Responses), votes...)
	}
	c.noteCommit()
	c.noteWork()
	for _, m := range w.Send {
		if m.GetType() == raftpb.MsgHeartbeat {
			tellCommit(m, c.commit)
			c.guard.noteHeartbeat(m)
		}
	}
	for _, s := range rd.ReadStates {
		c.reads.answer(s.RequestCtx, s.Index)
	}
	if !c.Suspicious() {
		w.Reads = c.reads.take()
	}
	return w, true
}

func (c *Core) appendWork(m *raftpb.Message) *Append {
	a := &Append{Entries: m.GetEntries(), Snapshot: m.GetSnapshot(), Responses: m.GetResponses()}
	if m.Term != nil { // raft sets all three or none
		a.Hard = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		c.term, c.vote, c.commit = m.GetTerm(), m.GetVote(), m.GetCommit()
	}
	if n := len(a.Entries); n > 0 {
		c.last = a.Entries[n-1].GetIndex()
		if a.Entries[0].GetIndex() <= c.lastChange {
			c.lastChange = 0 // it is replaced
		}
	}
	for _, e := range a.Entries {
		if e.GetType() != raftpb.EntryNormal {
			c.lastChange = e.GetIndex()
		}
	}
	c.guard.noteAppend(a)
	if a.Snapshot != nil {
		c.taken, c.installing = a.Snapshot.GetMetadata().GetIndex(), true
	}
	return a
}

func (c *Core) setRole(s *raft.SoftState) {
	if c.role != s.RaftState {
		c.uncommitted = 0
	}
	if s.Lead != c.lead && s.Lead != raft.None {
		c.reads.retry() // the old leader will not answer
	}
	c.role, c.lead = s.RaftState, s.Lead
}

// campaignIfSole spares the only voter the wait for an election timeout. Raft
// refuses to campaign before committed configuration changes are applied.
func (c *Core) campaignIfSole() {
	if c.sole && c.role == raft.StateFollower && c.applied >= c.commit {
		if err := c.rn.Campaign(); err != nil {
			c.cfg.Logger.Debug("raft did not campaign", "error", err)
		}
	}
}

// Term is the current term, as far as it is in the hands of the Writer.
func (c *Core) Term() uint64 { return c.term }

// Earlier returns the term of the last entry before this member's leadership, 0 for
// an empty log, and the entries up to there that are in memory, the last one first.
func (c *Core) Earlier() (lastTerm uint64, entries iter.Seq[*raftpb.Entry]) {
	return c.mem.before(c.term)
}

// LastTerm is the term of the last durable entry, 0 for an empty log.
func (c *Core) LastTerm() uint64 { return c.mem.lastTerm() }

// Commit is the highest index known to be committed.
func (c *Core) Commit() uint64 { return c.commit }

// Pending tells whether an entry that Work gave to be saved is not known to be
// committed yet.
func (c *Core) Pending() bool { return c.last > c.commit }

// Leader is the member that leads as far as this one knows; 0 when none does.
func (c *Core) Leader() uint64 { return c.lead }

// IsLeader tells whether this member leads as far as it knows.
func (c *Core) IsLeader() bool { return c.role == raft.StateLeader }

// Alone tells whether the group has no other member.
func (c *Core) Alone() bool { return c.alone }

// Conf is the configuration in effect. It is not to be changed.
func (c *Core) Conf() *raftpb.ConfState { return c.conf }

// Progress tells how far every member is; nil unless this member leads. Heard is
// left to those who have a clock.
func (c *Core) Progress() map[uint64]Progress {
	if c.role != raft.StateLeader {
		return nil
	}
	all := make(map[uint64]Progress)
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		all[id] = Progress{Match: p.Match, Learner: p.IsLearner, SendingSnapshot: p.State == tracker.StateSnapshot}
	})
	return all
}

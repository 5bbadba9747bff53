package raftnode

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// hearing is what a loop knows of when it heard from whom. It stands beside the
// Core, which has no clock.
type hearing struct {
	// base stands for begin in marks. It is random: a mark of an earlier run of this
	// member is none of this one.
	base  uint64
	begin time.Time

	members map[uint64]*contact
	leader  news // from the leader of the newest term that was heard
	acked   bool // an acknowledgement has come since the last settle

	// Sightings are moments at which the group was certain of what is committed.
	// Those whose commit index is not applied yet wait, oldest first, at most
	// maxSightings of them and no two within grain.
	waiting []sighting
	fresh   time.Time // of the newest sighting that has been applied; zero for none
	grain   time.Duration
}

// contact is one other member.
type contact struct {
	heard   time.Time // its last message
	mark    uint64    // the newest it has told; 0 for none
	acked   time.Time // when this member said that it leads and then heard it confirmed
	ackTerm uint64    // of the confirmation
}

// news is what one leader has said.
type news struct {
	from, term uint64
	at         time.Time // its last message
	told       time.Time // it has told its commit index after this moment
	commit     uint64    // the highest told, even when this member lacks the entries
}

// sighting says that what was committed at a moment lies within an index.
type sighting struct {
	at     time.Time
	commit uint64
}

// maxSightings bounds the sightings that wait for the applier.
const maxSightings = 16

func newHearing(tick time.Duration) hearing {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the process instead
	return hearing{
		base: binary.LittleEndian.Uint64(b[:])>>1 + 1, begin: time.Now(),
		members: make(map[uint64]*contact), grain: tick / 10,
	}
}

// What is heard may have been said long ago: it waited in the network, or this
// process did not run. So heartbeats and the answers to them carry a mark, the time
// at which they were sent, and the newest one that came from the receiver. Who gets
// its own mark back knows that what comes with it was said after that time. Raft
// uses neither field in these messages.
func (h *hearing) date(ms []*raftpb.Message, now time.Time) {
	for _, m := range ms {
		if m.GetType() != raftpb.MsgHeartbeat && m.GetType() != raftpb.MsgHeartbeatResp {
			continue
		}
		m.LogTerm = new(h.base + uint64(now.Sub(h.begin)))
		if c := h.members[m.GetTo()]; c != nil {
			m.RejectHint = new(c.mark)
		}
	}
}

// said is the moment after which a heartbeat or an answer was sent, as its mark
// tells; zero when that is not known.
func (h *hearing) said(m *raftpb.Message, now time.Time) time.Time {
	at := m.GetRejectHint() - h.base
	if m.GetRejectHint() < h.base || at > uint64(now.Sub(h.begin)) {
		return time.Time{}
	}
	return h.begin.Add(time.Duration(at))
}

// note takes in a message that raft has accepted.
func (h *hearing) note(m *raftpb.Message, now time.Time) {
	c := h.members[m.GetFrom()]
	if c == nil {
		c = new(contact)
		h.members[m.GetFrom()] = c
	}
	c.heard = now
	switch m.GetType() {
	case raftpb.MsgHeartbeatResp:
		c.mark = m.GetLogTerm()
		h.noteAnswer(c, m.GetTerm(), h.said(m, now))
	case raftpb.MsgHeartbeat:
		c.mark = m.GetLogTerm()
		h.noteLeader(m, now, h.said(m, now))
	case raftpb.MsgApp, raftpb.MsgSnap: // what is committed beyond it remains to be told
		h.noteLeader(m, now, time.Time{})
	}
}

func (h *hearing) noteAnswer(c *contact, term uint64, said time.Time) {
	if said.IsZero() {
		return
	}
	if c.ackTerm != term {
		c.acked, c.ackTerm = said, term
	}
	c.acked = later(c.acked, said)
	h.acked = true
}

func (h *hearing) noteLeader(m *raftpb.Message, now, said time.Time) {
	l := &h.leader
	switch {
	case m.GetTerm() < l.term:
		return
	case m.GetTerm() > l.term:
		*l = news{from: m.GetFrom(), term: m.GetTerm()}
	}
	l.at = now
	if commit := trueCommit(m); commit > 0 && !said.IsZero() {
		l.told, l.commit = later(l.told, said), max(l.commit, commit)
	}
}

// settle draws the conclusions of a turn that was worked off, and returns the
// moment whose state this member has applied; zero for none.
func (h *hearing) settle(c *Core, applied uint64) time.Time {
	var seen sighting
	switch {
	case c.IsLeader() && (h.acked || c.sole):
		seen = sighting{h.quorum(c.Conf(), c.cfg.ID, c.Term()), c.Commit()}
	case !c.IsLeader() && h.leader.from == c.Leader() && h.leader.term == c.Term():
		seen = sighting{h.leader.told, max(h.leader.commit, c.Commit())}
	}
	h.acked = false
	if c.settled() {
		h.see(seen, applied)
	}
	for len(h.waiting) > 0 && h.waiting[0].commit <= applied {
		h.fresh = h.waiting[0].at
		h.waiting = slices.Delete(h.waiting, 0, 1)
	}
	return h.fresh
}

// see takes in a sighting, which may be an old one.
func (h *hearing) see(s sighting, applied uint64) {
	n := len(h.waiting)
	switch {
	case !s.at.After(h.fresh):
	case s.commit <= applied:
		h.fresh = s.at
		h.waiting = h.waiting[:0]
	case n == 0 || n < maxSightings && s.at.Sub(h.waiting[n-1].at) >= h.grain:
		h.waiting = append(h.waiting, s)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// tellCommit puts the commit index into a heartbeat. Raft's own field stops at
// what the receiver is known to have, by which one that lags would take itself
// for complete. Raft does not use Index in a heartbeat.
func tellCommit(m *raftpb.Message, commit uint64) { m.Index = new(commit) }

// trueCommit is what tellCommit has put into a heartbeat; 0 for nothing.
func trueCommit(m *raftpb.Message) uint64 { return m.GetIndex() }

// quorum is the last moment at which a quorum took this member for the leader of
// a term; zero for never.
func (h *hearing) quorum(conf *raftpb.ConfState, self, term uint64) time.Time {
	at := h.majority(conf.GetVoters(), self, term)
	if old := conf.GetVotersOutgoing(); len(old) > 0 {
		if other := h.majority(old, self, term); other.Before(at) {
			at = other
		}
	}
	return at
}

func (h *hearing) majority(voters []uint64, self, term uint64) time.Time {
	var times []time.Time
	for _, id := range voters {
		switch c := h.members[id]; {
		case id == self:
			times = append(times, time.Now())
		case c != nil && c.ackTerm == term:
			times = append(times, c.acked)
		}
	}
	need := len(voters)/2 + 1
	if len(times) < need {
		return time.Time{}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return times[need-1]
}

// keep forgets members that a configuration does not have.
func (h *hearing) keep(conf *raftpb.ConfState) {
	for id := range h.members {
		if !slices.Contains(conf.GetVoters(), id) && !slices.Contains(conf.GetLearners(), id) &&
			!slices.Contains(conf.GetVotersOutgoing(), id) {
			delete(h.members, id)
		}
	}
}

// age notes how fresh the applied state is, unless it is in doubt.
func (l *loop) age() {
	if l.inDoubt() {
		return
	}
	if at := l.hearing.settle(l.core, l.applied.Load()); !at.IsZero() {
		l.fresh.Store(max(l.fresh.Load(), int64(at.Sub(l.epoch)), 1))
	}
}

package raftnode

import (
	"iter"
	"strconv"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Status is a member's view of itself and its group at one moment.
type Status struct {
	ID          uint64
	Leader      uint64 // 0 when none is known
	Term        uint64
	Commit      uint64            // highest index known to be committed
	Applied     uint64            // highest index the applier has reported
	Role        string            // StateFollower, StatePreCandidate, StateCandidate or StateLeader
	LeaderSince time.Time         // when Leader became known; zero when none is
	Conf        *raftpb.ConfState // voters and learners; not to be changed

	Proposals int // waiting for the loop
	Applies   int // entries handed to the applier and not reported
}

// Role is who leads as one member sees it.
type Role struct {
	Term, Leader uint64 // Leader is 0 while none is known
	Leads        bool   // this member leads

	// With Leads: the term of the last entry before this leadership, 0 for an empty
	// log, and the entries up to there that are in memory, the last one first.
	// Earlier is good during the call only.
	LastTerm uint64
	Earlier  iter.Seq[*raftpb.Entry]
}

// Earlier returns the term of the last entry before this member's leadership, 0 for
// an empty log, and the entries up to there that are in memory, the last one first.
func (c *Core) Earlier() (lastTerm uint64, entries iter.Seq[*raftpb.Entry]) {
	return c.mem.before(c.term)
}

// LastTerm is the term of the last durable entry, 0 for an empty log.
func (c *Core) LastTerm() uint64 { return c.mem.lastTerm() }

// role is the part of the status that changes rarely.
type role struct {
	name     string
	term     uint64
	leader   uint64
	since    time.Time
	conf     *raftpb.ConfState
	leads    bool
	readable bool // the only voter, leading, committed in its term: commit is the read index
}

// Status does not disturb the loop. Its fields may be one turn apart.
func (n *Node) Status() Status {
	r := n.role.Load()
	n.inbox.mu.Lock()
	proposals := len(n.inbox.proposals)
	n.inbox.mu.Unlock()
	return Status{
		ID:          n.cfg.ID,
		Leader:      r.leader,
		Term:        r.term,
		Commit:      n.commit.Load(),
		Applied:     n.applied.Load(),
		Role:        r.name,
		LeaderSince: r.since,
		Conf:        r.conf,
		Proposals:   proposals,
		Applies:     int(n.backlog.Load()),
	}
}

// publish makes the loop's view visible. It runs before anything that depends
// on a commit index leaves the loop, so that a reader who asks after an
// acknowledged write finds an index that covers it.
func (l *loop) publish() {
	c := l.core
	if l.commit.Load() != c.commit {
		l.commit.Store(c.commit)
		l.latency.committed(c.commit)
	}
	was := l.role.Load()
	readable := c.readable()
	if was.term == c.term && was.leader == c.lead && was.leads == c.IsLeader() && was.readable == readable &&
		was.conf == c.conf && was.name == c.role.String() {
		return
	}
	now := &role{
		name:     c.role.String(),
		term:     c.term,
		leader:   c.lead,
		since:    was.since,
		conf:     c.conf,
		leads:    c.IsLeader(),
		readable: readable,
	}
	if now.leader != was.leader || now.term != was.term {
		now.since = time.Time{}
		if now.leader != 0 {
			now.since = time.Now()
		}
		l.logLeader(was, now)
	}
	l.role.Store(now)
	if now.conf != was.conf {
		l.hearing.keep(now.conf)
	}
	if l.cfg.OnRole != nil && (now.leader != was.leader || now.term != was.term || now.leads != was.leads) {
		r := Role{Term: now.term, Leader: now.leader, Leads: now.leads}
		if r.Leads {
			r.LastTerm, r.Earlier = c.Earlier()
		}
		l.cfg.OnRole(r)
	}
}

func (l *loop) logLeader(was, now *role) {
	switch {
	case now.leads:
		l.log.Info("became leader", "term", now.term)
	case now.leader != 0:
		l.log.Info("new leader", "leader", hex(now.leader), "term", now.term)
	case was.leads:
		l.log.Warn("lost leadership", "term", now.term)
	case was.leader != 0:
		l.log.Warn("lost leader", "leader", hex(was.leader), "term", now.term)
	}
}

// hex is an ID the way people know it.
func hex(id uint64) string { return strconv.FormatUint(id, 16) }

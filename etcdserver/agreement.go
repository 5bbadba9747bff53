package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
)

// Agreement is what GET /v2/stats/agreement shows: how this member's tree
// compares with those of the others.
//
// While anything is written, the leader puts a mark into the log every Interval.
// Each member compares the trees as they are at the mark. One that differs from
// what a quorum agrees on serves nothing more until it has a new copy.
type Agreement struct {
	Interval    time.Duration            // between two checks; 0 when there are none
	Index       uint64                   // raft index of the last check; 0 before the first
	Time        time.Time                // when this member began with it; zero before the first
	Members     map[membership.ID]Match  // the other members in that check
	Reasons     map[membership.ID]string // why a member takes no part, of those that are Excluded
	Differing   []string                 // some of the keys found to differ in it, as whole-store paths
	Refused     string                   // why this member serves nothing; "" while it does
	Checks      uint64                   // compared with all others that could be reached, since the start
	Divergences uint64                   // checks that found a difference
	Refetches   uint64                   // copies of another member's data that this one took over
}

// Match is what came of the comparison with one member.
type Match string

// The outcomes of a comparison.
const (
	Agrees      Match = "agrees"
	Differs     Match = "differs"
	Unreachable Match = "unreachable" // the member gave no answer
	Pending     Match = "pending"     // it has not come to the mark, or it compares nothing at the moment
	Excluded    Match = "refused"     // this member refuses it: it is not the one that was met before
)

// agreement is this member's share in the comparison of all trees. The applier
// puts in the marks, one goroutine compares, other members ask for the digests.
type agreement struct {
	marks   chan mark   // capacity 1: the applier replaces a mark that nobody has taken
	repairs chan repair // unbuffered: the applier takes one and is done with it

	marked  atomic.Uint64               // raft index of the last mark: what is applied then was written since
	recheck atomic.Bool                 // the last check found a difference
	refused atomic.Pointer[store.Error] // the answer to all requests; nil while the member serves
	copies  atomic.Uint64               // how often the tree was replaced: what was found before is void

	mu    sync.Mutex // guards the fields below
	shown Agreement
	seen  uint64 // raft index of the last mark taken in; those before it that are not known never will be
	known []moment
	view  store.View // of the last of known; without a tree when it was let go
}

// mark is a place in the log at which the trees are compared.
type mark struct {
	index  uint64 // raft index
	view   store.View
	voters []uint64 // IDs
	copies uint64   // those of agreement
}

// moment is the digest of this member's tree at a mark.
type moment struct {
	index  uint64 // raft index
	digest store.Digest
}

// momentsKept is how many digests are kept for members that come to a mark late.
const momentsKept = 8

func newAgreement(interval time.Duration) *agreement {
	return &agreement{
		marks: make(chan mark, 1), repairs: make(chan repair),
		shown: Agreement{Interval: max(interval, 0)},
	}
}

// Agreement tells how this member's tree compares with those of the others.
func (s *Server) Agreement() Agreement {
	a := s.agreement
	a.mu.Lock()
	defer a.mu.Unlock()
	shown := a.shown
	shown.Members = maps.Clone(shown.Members)
	shown.Reasons = s.excluded()
	for id := range shown.Reasons {
		if shown.Members == nil {
			shown.Members = map[membership.ID]Match{}
		}
		shown.Members[id] = Excluded
	}
	return shown
}

// refusal is what this member answers instead of what its tree holds; nil while
// it serves.
func (a *agreement) refusal() error {
	if refused := a.refused.Load(); refused != nil {
		return refused
	}
	return nil
}

// serves tells whether the tree is taken for right.
func (a *agreement) serves() bool { return a.refused.Load() == nil }

// proposeMarks puts a mark into the log every interval as long as this member
// leads others and there is something to compare, until ctx ends. So an idle
// cluster writes nothing.
func (s *Server) proposeMarks(ctx context.Context) error {
	if s.cfg.AgreementInterval < 0 {
		return nil
	}
	tick := time.NewTicker(s.cfg.AgreementInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		a := s.agreement
		if !s.leading() || len(s.Members()) < 2 || s.progress.index.Load() <= a.marked.Load() && !a.recheck.Load() {
			continue
		}
		err := s.node.ProposeAsLeader(ctx, [][]byte{replica.EncodeBarrier()})
		if err != nil && ctx.Err() == nil && !errors.Is(err, raftnode.ErrNotLeader) {
			s.log.Warn("members not compared", "error", err)
		}
	}
}

// reachMark is where the applier has come to a mark. What was in the log before
// this start is not compared again: the others have forgotten it.
func (s *Server) reachMark(index uint64) {
	a := s.agreement
	a.marked.Store(index)
	if index <= s.checkpoint.after || !a.serves() {
		return
	}
	a.mu.Lock()
	a.seen = index
	a.mu.Unlock()
	select {
	case <-a.marks: // the comparison is late, and the new mark tells more
	default:
	}
	a.marks <- mark{index: index, view: s.store.Snapshot(), voters: s.replica.Conf().GetVoters(), copies: a.copies.Load()}
}

// publish makes the digest at a mark known to the members that ask.
func (a *agreement) publish(m mark, digest store.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = append(a.known, moment{m.index, digest})
	if len(a.known) > momentsKept {
		a.known = a.known[1:]
	}
	a.view = m.view
	a.shown.Index, a.shown.Time = m.index, time.Now()
	a.shown.Members, a.shown.Differing = map[membership.ID]Match{}, nil
}

// release lets go of the tree of the last mark, which keeps alive what has been
// overwritten since.
func (a *agreement) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view = store.View{}
}

// note keeps what a comparison has found with one member.
func (a *agreement) note(id membership.ID, m Match) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown.Members[id] = m
}

// stopServing has the member answer with an error instead of its data.
func (s *Server) stopServing(differing []string) {
	at := ""
	if len(differing) > 0 {
		at = fmt.Sprintf(" (first at %s)", differing[0])
	}
	refused := &store.Error{Code: store.RaftInternal, Cause: "etcdserver: this member's data differs from the quorum's" + at + "; it fetches a new copy"}
	a := s.agreement
	a.refused.Store(refused)
	a.mu.Lock()
	a.shown.Refused, a.shown.Differing = refused.Cause, differing
	a.mu.Unlock()
	s.store.Interrupt()
	s.waiters.answerAll(outcome{err: refused})
}

// treeReplaced tells that the tree is another member's copy from now on. What was
// found out about the one before is void, so the member serves again.
func (a *agreement) treeReplaced() {
	a.copies.Add(1)
	a.mu.Lock()
	a.shown.Refused = ""
	a.mu.Unlock()
	a.refused.Store(nil)
}

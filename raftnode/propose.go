package raftnode

import (
	"slices"
	"time"
)

// proposals are what a loop has taken from the inbox and neither proposed nor
// forwarded yet.
type proposals struct {
	held  [][]byte
	spare [][]byte    // for the next takeProposals
	full  bool        // the log had no room for what is held
	stuck time.Time   // since when what waits has found no leader; zero when it has
	last  time.Time   // when something was last proposed or forwarded
	pause *time.Timer // for the end of gathering
}

// maxBatchBytes bounds the proposals of one turn, so that one write of the log
// stays short beside a disk's latency.
const maxBatchBytes = 8 << 20

// Proposals gather, at most this long, while earlier ones are on their way to a
// quorum. In a group every batch costs each member a message, a write of the log
// and an acknowledgement, so that a trickle of writes would cost more than a flood.
// A write that meets no other goes at once. What is forwarded gathers a second
// time at the leader, so it does so for a shorter time before.
const (
	gatherToPropose = time.Millisecond
	gatherToForward = gatherToPropose / 2
)

// propose gives the Core all proposals there are as one, so that they share
// messages, a write of the log and acknowledgements. They go to the leader when
// another member leads; without a leader, or with a full log, they wait.
func (l *loop) propose() {
	step := l.forward
	if l.core.IsLeader() {
		step = l.proposeHere
	}
	if step() {
		l.last = time.Now()
		clear(l.held)
		l.spare, l.held = l.held, nil
	}
}

// proposeHere tells whether what was held is in the log.
func (l *loop) proposeHere() bool {
	l.acceptBatches()
	if l.gathers(gatherToPropose) || !l.takeProposals() {
		return false
	}
	if l.cfg.Stamp != nil {
		l.cfg.Stamp(l.held)
	}
	l.full = l.core.Propose(l.held) != nil
	return !l.full
}

// forward tells whether what was held is on its way to the leader.
func (l *loop) forward() bool {
	l.refuseBatches()
	l.full = false
	leader := l.core.Leader()
	if leader == 0 && l.stuck.IsZero() {
		l.stuck = time.Now()
	}
	if leader == 0 || l.cfg.Forward == nil || l.gathers(gatherToForward) || !l.takeProposals() {
		return false
	}
	l.cfg.Forward(leader, l.held)
	return true
}

// gathers tells whether proposals are to wait for company.
func (l *loop) gathers(atMost time.Duration) bool {
	if l.core.Alone() || !l.core.Pending() {
		return false
	}
	rest := atMost - time.Since(l.last)
	if rest <= 0 {
		return false
	}
	l.pause.Reset(rest)
	return true
}

// takeProposals adds what the inbox has to what is held; false when that is
// nothing.
func (l *loop) takeProposals() bool {
	more := l.turn.proposals
	switch {
	case !l.turn.proposals || l.full:
	case len(l.held) == 0:
		l.held, more = l.inbox.takeProposals(maxBatchBytes, l.spare)
		l.spare = nil
		l.turn.proposals = false
	default:
		l.spare, more = l.inbox.takeProposals(maxBatchBytes, l.spare)
		l.held = append(l.held, l.spare...)
		clear(l.spare)
		l.turn.proposals = false
	}
	if !l.stuck.IsZero() {
		l.dropUnwanted()
		if !more {
			l.stuck = time.Time{}
		}
	}
	return len(l.held) > 0
}

// dropUnwanted drops from what is held what nobody waits for any more, after a
// time without a leader that was longer than an election takes.
func (l *loop) dropUnwanted() {
	if l.cfg.Wanted == nil || time.Since(l.stuck) <= time.Duration(2*l.cfg.Election)*l.cfg.Tick {
		return
	}
	l.held = slices.DeleteFunc(l.held, func(d []byte) bool { return !l.cfg.Wanted(d) })
}

// acceptBatches answers for the batches of the turn; those for which there is
// room are held with the rest.
func (l *loop) acceptBatches() {
	if len(l.turn.batches) == 0 {
		return
	}
	waiting := size(l.held)
	for _, b := range l.turn.batches {
		more := size(b.data)
		if !l.core.Accepts(waiting + more) {
			b.answer(ErrBusy)
			continue
		}
		waiting += more
		l.held = append(l.held, b.data...)
		b.answer(nil)
	}
	l.dropBatches()
}

func (l *loop) refuseBatches() {
	for _, b := range l.turn.batches {
		b.answer(ErrNotLeader)
	}
	l.dropBatches()
}

func (l *loop) dropBatches() {
	clear(l.turn.batches)
	l.turn.batches = l.turn.batches[:0]
}

func size(data [][]byte) (n uint64) {
	for _, d := range data {
		n += uint64(len(d))
	}
	return n
}

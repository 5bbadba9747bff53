package raftnode

import (
	"crypto/rand"
	"encoding/binary"

	"go.etcd.io/raft/v3"
)

// noteCommit remembers that something is committed in the current term. Before
// that the leader's commit index may lie behind writes that were already
// acknowledged.
func (c *Core) noteCommit() {
	if c.lead == raft.None || c.committedTerm == c.term {
		return
	}
	if term, err := c.mem.Term(c.commit); err == nil && term == c.term {
		c.committedTerm = term
	}
}

// settled tells whether everything acknowledged in earlier terms lies within the
// leader's commit index.
func (c *Core) settled() bool { return c.committedTerm == c.term }

// readable tells whether the commit index is a read index as it stands: nobody
// else can commit, and nothing acknowledged lies beyond it.
func (c *Core) readable() bool {
	return c.sole && c.role == raft.StateLeader && c.settled()
}

// canAnswer tells whether this member may, as the leader, tell a read index.
// It is true of followers, which pass the question on.
func (c *Core) canAnswer() bool {
	return c.role != raft.StateLeader || c.settled()
}

// ReadIndex begins a read round and returns its number: a state that includes
// everything up to the index in the answer includes every write acknowledged
// before this call. It returns false while no leader is known, while this member is
// Suspicious, or while enough rounds are under way; try again later then.
func (c *Core) ReadIndex() (round uint64, ok bool) {
	if c.lead == raft.None || c.Suspicious() || !c.canAnswer() || c.reads.full() {
		return 0, false
	}
	return c.issue(), true
}

func (c *Core) issue() uint64 {
	round, mark := c.reads.issue()
	c.rn.ReadIndex(mark)
	return round
}

// sendReads repeats the question when the answer is overdue.
func (c *Core) sendReads() {
	if c.reads.due && c.lead != raft.None && !c.Suspicious() && c.canAnswer() {
		c.issue()
	}
}

// Read is the answer to a read round and to all rounds before it.
type Read struct{ Round, Index uint64 }

// maxRounds bounds the read rounds under way: enough to hide the network's
// delay, few enough that readers gather and share one.
const maxRounds = 4

// rounds numbers the read rounds of a member. A later round's answer serves
// the earlier ones too: its index was read later, so it covers at least as much.
type rounds struct {
	nonce            [8]byte // tells answers to an earlier run of this member apart
	issued, answered uint64
	index            uint64 // of the answer not yet taken
	taken            uint64
	waited, patience int // ticks since the last question, until it is repeated
	due              bool
}

func newRounds(election int) rounds {
	r := rounds{patience: max(election/2, 2)}
	rand.Read(r.nonce[:]) // never fails: crypto/rand crashes the process instead
	return r
}

func (r *rounds) full() bool       { return r.issued-r.answered >= maxRounds }
func (r *rounds) hasAnswers() bool { return r.taken < r.answered }

func (r *rounds) retry() { r.due = r.answered < r.issued }

func (r *rounds) tick() {
	if r.waited++; r.waited >= r.patience {
		r.retry()
	}
}

func (r *rounds) issue() (round uint64, mark []byte) {
	r.issued++
	r.waited, r.due = 0, false
	return r.issued, binary.LittleEndian.AppendUint64(r.nonce[:], r.issued)
}

func (r *rounds) answer(mark []byte, index uint64) {
	if len(mark) != 16 || [8]byte(mark) != r.nonce {
		return
	}
	round := binary.LittleEndian.Uint64(mark[8:])
	if round > r.answered && round <= r.issued {
		r.answered, r.index = round, index
	}
}

func (r *rounds) take() []Read {
	if !r.hasAnswers() {
		return nil
	}
	r.taken = r.answered
	return []Read{{Round: r.answered, Index: r.index}}
}

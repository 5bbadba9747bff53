package wal

import (
	"encoding/binary"
	"errors"

	"go.etcd.io/raft/v3/raftpb"
)

// The kinds of records in a group. An entry's kind is recordEntry plus its raft
// type.
const (
	recordHardState = 0x01 // term, vote, commit
	recordSeal      = 0x02 // number of the segment that follows this one
	recordEntry     = 0x10 // term, index, length, data
	recordEntryLast = recordEntry + byte(raftpb.EntryConfChangeV2)
)

var errShort = errors.New("record is cut short")

// hardState is raft's hard state by value.
type hardState struct{ term, vote, commit uint64 }

func fromRaft(hs *raftpb.HardState) hardState {
	return hardState{hs.GetTerm(), hs.GetVote(), hs.GetCommit()}
}

func (h hardState) toRaft() *raftpb.HardState {
	return &raftpb.HardState{Term: &h.term, Vote: &h.vote, Commit: &h.commit}
}

func appendHardState(b []byte, h hardState) []byte {
	b = append(b, recordHardState)
	b = binary.AppendUvarint(b, h.term)
	b = binary.AppendUvarint(b, h.vote)
	return binary.AppendUvarint(b, h.commit)
}

func appendSeal(b []byte, next uint64) []byte {
	return binary.AppendUvarint(append(b, recordSeal), next)
}

func appendEntry(b []byte, e *raftpb.Entry) []byte {
	b = append(b, recordEntry+byte(e.GetType()))
	b = binary.AppendUvarint(b, e.GetTerm())
	b = binary.AppendUvarint(b, e.GetIndex())
	b = binary.AppendUvarint(b, uint64(len(e.GetData())))
	return append(b, e.GetData()...)
}

// cursor takes values off the front of a group's records. After the first value
// that is not whole, everything is zero and short is set.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.short = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// take returns the next n bytes without copying them, or nil if n is 0.
func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return nil
	}
	if n == 0 {
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

// entryMaker makes raft entries a block at a time: raft keeps each number of an
// entry behind a pointer, which would be four allocations apiece.
type entryMaker struct{ block []fullEntry }

type fullEntry struct {
	entry       raftpb.Entry
	term, index uint64
	kind        raftpb.EntryType
}

func (m *entryMaker) entry(kind raftpb.EntryType, term, index uint64, data []byte) *raftpb.Entry {
	const block = 128
	if len(m.block) == 0 {
		m.block = make([]fullEntry, block)
	}
	e := &m.block[0]
	m.block = m.block[1:]
	e.term, e.index, e.kind = term, index, kind
	e.entry.Term, e.entry.Index, e.entry.Type, e.entry.Data = &e.term, &e.index, &e.kind, data
	return &e.entry
}

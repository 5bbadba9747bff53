package raftnode

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// storage is the durable part of the log as raft reads it: the tail behind the
// last checkpoint and everything after it, in memory. The writer appends what
// it has saved; raft reads on the loop's goroutine.
type storage struct {
	hard *raftpb.HardState // as found at start; raft asks once

	mu        sync.Mutex // guards the fields below
	prevIndex uint64     // predecessor of entries[0]
	prevTerm  uint64
	entries   []*raftpb.Entry
	snapshot  *raftpb.SnapshotMetadata // of the newest durable checkpoint
	wanted    *raftpb.SnapshotMetadata // what a snapshot for another member has to reach; nil for nothing
}

var _ raft.Storage = (*storage)(nil)

// entryOverhead is at least what an entry's encoding adds to its data: tags,
// type, and the variable-length term, index and length.
const entryOverhead = 32

func entryBytes(e *raftpb.Entry) uint64 { return uint64(len(e.GetData())) + entryOverhead }

// InitialState is what raft starts from.
func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hard, s.snapshot.GetConfState(), nil
}

// Entries returns [lo, hi), cut when they exceed limit bytes, but never empty.
func (s *storage) Entries(lo, hi, limit uint64) ([]*raftpb.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lo <= s.prevIndex {
		return nil, raft.ErrCompacted
	}
	if hi > s.last()+1 || lo >= hi {
		return nil, raft.ErrUnavailable
	}
	part := s.entries[lo-s.prevIndex-1 : hi-s.prevIndex-1]
	var size uint64
	for i, e := range part {
		if size += entryBytes(e); size > limit && i > 0 {
			return part[:i:i], nil
		}
	}
	return part[:len(part):len(part)], nil
}

// Term returns the term of an entry or of the predecessor of the first one.
func (s *storage) Term(index uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case index < s.prevIndex:
		return 0, raft.ErrCompacted
	case index == s.prevIndex:
		return s.prevTerm, nil
	case index > s.last():
		return 0, raft.ErrUnavailable
	}
	return s.entries[index-s.prevIndex-1].GetTerm(), nil
}

// LastIndex is the index of the last saved entry.
func (s *storage) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last(), nil
}

func (s *storage) last() uint64 { return s.prevIndex + uint64(len(s.entries)) }

// FirstIndex is the index of the first entry that can be read.
func (s *storage) FirstIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prevIndex + 1, nil
}

// before returns the term of the last saved entry of a term below this one, and the
// saved entries up to it, the last one first.
func (s *storage) before(term uint64) (last uint64, earlier iter.Seq[*raftpb.Entry]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.entries
	for n := len(entries); n > 0 && entries[n-1].GetTerm() >= term; n-- {
		entries = entries[:n-1]
	}
	last = s.prevTerm
	if n := len(entries); n > 0 {
		last = entries[n-1].GetTerm()
	}
	return last, func(yield func(*raftpb.Entry) bool) {
		for _, e := range slices.Backward(entries) {
			if !yield(e) {
				return
			}
		}
	}
}

// lastTerm is the term of the last saved entry.
func (s *storage) lastTerm() uint64 {
	last, _ := s.before(math.MaxUint64)
	return last
}

// Snapshot describes the newest durable checkpoint, or the later one that has to
// be sent in its place. Its data travel separately.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot.GetIndex() == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	if s.wanted.GetIndex() > s.snapshot.GetIndex() {
		return &raftpb.Snapshot{Metadata: s.wanted}, nil
	}
	return &raftpb.Snapshot{Metadata: s.snapshot}, nil
}

// want demands that snapshots for other members reach m. Raft ignores a snapshot
// of a configuration without the receiver, so a member that was just added needs
// one from after its addition, and would be sent the checkpoint in vain for ever.
func (s *storage) want(m *raftpb.SnapshotMetadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = m
}

// append adds saved entries, replacing the suffix they overlap.
func (s *storage) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := entries[0].GetIndex()
	if first <= s.prevIndex || first > s.last()+1 {
		panic(fmt.Sprintf("raftnode: append at %d to a log of (%d, %d]", first, s.prevIndex, s.last()))
	}
	keep := first - s.prevIndex - 1
	if keep == uint64(len(s.entries)) {
		s.entries = append(s.entries, entries...)
		return
	}
	// Readers may still hold the suffix: the capacity makes append copy.
	s.entries = append(s.entries[:keep:keep], entries...)
}

// restart forgets everything up to an installed snapshot.
func (s *storage) restart(m *raftpb.SnapshotMetadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prevIndex, s.prevTerm = m.GetIndex(), m.GetTerm()
	s.entries = nil
	s.snapshot = m
}

// compact notes that a checkpoint at index is durable and forgets what lies
// further behind it than tailEntries and tailBytes. It returns the index up to
// which the log is no longer needed.
func (s *storage) compact(index uint64, conf *raftpb.ConfState, tailEntries, tailBytes uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index <= s.snapshot.GetIndex() {
		return s.prevIndex, nil // an installed snapshot has overtaken this checkpoint
	}
	if index > s.last() {
		return 0, fmt.Errorf("%w: checkpoint at %d, log ends at %d", ErrState, index, s.last())
	}
	s.snapshot = &raftpb.SnapshotMetadata{
		Index:     new(index),
		Term:      new(s.entries[index-s.prevIndex-1].GetTerm()),
		ConfState: conf,
	}
	s.trim(tailEntries, tailBytes)
	return s.prevIndex, nil
}

// trim forgets what lies behind the tail of the newest checkpoint. The caller
// holds the lock.
func (s *storage) trim(tailEntries, tailBytes uint64) {
	cut := s.snapshot.GetIndex() - s.prevIndex // entries[:cut] lie behind the checkpoint
	for kept, size := uint64(0), uint64(0); cut > 0 && kept < tailEntries; kept++ {
		if size += entryBytes(s.entries[cut-1]); size > tailBytes {
			break
		}
		cut--
	}
	if cut == 0 {
		return
	}
	s.prevIndex, s.prevTerm = s.prevIndex+cut, s.entries[cut-1].GetTerm()
	// A new array, so that the forgotten entries can be collected.
	s.entries = append(make([]*raftpb.Entry, 0, len(s.entries)-int(cut)+1024), s.entries[cut:]...)
}

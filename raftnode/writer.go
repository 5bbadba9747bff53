package raftnode

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// Writer makes a Core's appends durable. It may run on a goroutine of its own,
// one at a time; appends reach it in the order in which Work gave them.
type Writer struct {
	log   Log
	mem   *storage
	saved *raftpb.HardState // the last the log was given
}

// Save makes appends without snapshot durable in one write and returns the
// responses that raft may now have. After an error nothing more may be saved.
func (w *Writer) Save(batch []Append) (responses []*raftpb.Message, err error) {
	var hard *raftpb.HardState
	var entries []*raftpb.Entry
	for _, a := range batch {
		if a.Snapshot != nil {
			panic("raftnode: a snapshot is installed, not saved")
		}
		if a.Hard != nil {
			hard = a.Hard
		}
		entries = merge(entries, a.Entries)
		responses = append(responses, a.Responses...)
	}
	if hard == nil && len(entries) == 0 {
		return responses, nil
	}
	if err := w.write(hard, entries); err != nil {
		return nil, err
	}
	w.mem.append(entries)
	return responses, nil
}

// merge joins two runs of entries; the later one wins where they overlap.
func merge(a, b []*raftpb.Entry) []*raftpb.Entry {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	first, next := a[0].GetIndex(), b[0].GetIndex()
	if next <= first {
		return b
	}
	keep := min(next-first, uint64(len(a)))
	return append(a[:keep:keep], b...)
}

// Install restarts the log behind the snapshot of an append, saves the rest, and
// returns the responses. The applier has made the snapshot durable before: a
// crash in between finds a checkpoint that the log does not reach, which NewCore
// understands; the other order would leave a log that reaches no checkpoint.
func (w *Writer) Install(a Append) (responses []*raftpb.Message, err error) {
	meta := a.Snapshot.GetMetadata()
	if err := w.log.Restart(meta.GetIndex(), meta.GetTerm()); err != nil {
		return nil, fmt.Errorf("raftnode: restart the log: %w", err)
	}
	hard := a.Hard
	if hard == nil {
		hard = &raftpb.HardState{Term: w.saved.Term, Vote: w.saved.Vote, Commit: meta.Index}
	}
	w.mem.restart(meta)
	if err := w.write(hard, a.Entries); err != nil {
		return nil, err
	}
	w.mem.append(a.Entries)
	return a.Responses, nil
}

func (w *Writer) write(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	if err := w.log.Save(hard, entries); err != nil {
		return fmt.Errorf("raftnode: save the log: %w", err)
	}
	if hard != nil {
		w.saved = hard
	}
	return nil
}

package etcdserver

import (
	"sync/atomic"

	"go.etcd.io/raft/v3/raftpb"
)

// durable is what the log holds for certain. commit is that of the saved hard states and
// not raft's: raft may know that entries are committed which replace a tail of the log
// and are not written yet, and a crash amid that leaves a shorter log.
type durable struct{ term, last, commit atomic.Uint64 }

// committed is the last committed entry that the log holds durably.
func (d *durable) committed() uint64 { return min(d.commit.Load(), d.last.Load()) }

// notedLog is a log that records in durable what it holds.
type notedLog struct {
	patientLog
	durable *durable
}

// Save saves, and records what is durable then.
func (l notedLog) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	err := l.patientLog.Save(hard, entries)
	if err != nil {
		return err
	}
	if n := len(entries); n > 0 {
		l.durable.last.Store(entries[n-1].GetIndex())
	}
	if hard != nil {
		l.durable.term.Store(hard.GetTerm())
		l.durable.commit.Store(max(l.durable.commit.Load(), hard.GetCommit()))
	}
	return nil
}

// Restart empties the log; it goes on behind a checkpoint, which holds everything up to index.
func (l notedLog) Restart(index, term uint64) error {
	err := l.patientLog.Restart(index, term)
	if err == nil {
		l.durable.last.Store(index)
		l.durable.commit.Store(max(l.durable.commit.Load(), index))
	}
	return err
}

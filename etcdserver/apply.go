package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/raftnode"
	"etcd2/store"
)

// apply is the applier: the only goroutine that changes the tree. It takes
// committed entries in log order until the node stops handing them out, which
// it does when ctx ends.
func (s *Server) apply(ctx context.Context) error {
	for {
		select {
		case c, ok := <-s.node.Committed():
			if !ok {
				return nil
			}
			err := s.applyCommitted(c)
			if errors.Is(err, raftnode.ErrStopped) {
				return nil // what is left is applied at the next start
			}
			if down := (*DowngradeError)(nil); errors.As(err, &down) {
				return down // in the words that people know
			}
			if err != nil {
				return err
			}
		case r := <-s.agreement.repairs:
			if err := s.repair(ctx, r); err != nil {
				return err
			}
		case <-s.checkpoint.changed:
		}
		s.checkpoint.consider(s)
	}
}

func (s *Server) applyCommitted(c raftnode.Committed) error {
	if c.Snapshot != nil {
		return s.install(c)
	}
	s.stamped = 0
	for _, e := range c.Entries {
		if err := s.applyEntry(e); err != nil {
			return fmt.Errorf("etcdserver: cannot apply log entry %d: %w", e.GetIndex(), err)
		}
	}
	s.setClock()
	s.progress.wake()
	s.node.Applied(c)
	s.expiry.look(s.store.NextExpiry())
	return nil
}

// setClock sets the clock by the newest entry that was just applied, if it came
// after the start: what was in the log before tells only what time it is at least.
func (s *Server) setClock() {
	switch {
	case s.stamped == 0:
	case s.progress.index.Load() > s.checkpoint.after:
		s.clock.follow(s.stamped)
	default:
		s.clock.raise(s.stamped)
	}
}

func (s *Server) applyEntry(e *raftpb.Entry) error {
	index, term := e.GetIndex(), e.GetTerm()
	if index <= s.skip.to {
		return s.skipEntry(e)
	}
	if last := s.progress.index.Load(); index != last+1 {
		panic(fmt.Sprintf("etcdserver: entry %d applied after entry %d", index, last))
	}
	s.checkpoint.count(len(e.GetData()))
	switch e.GetType() {
	case raftpb.EntryType_EntryNormal:
		return s.applyNormal(e.GetData(), index, term)
	case raftpb.EntryType_EntryConfChange:
		return s.applyConfChange(e.GetData(), Position{index, term})
	}
	return fmt.Errorf("entry type %v is not known to this version", e.GetType())
}

func (s *Server) applyNormal(data []byte, index, term uint64) error {
	if len(data) == 0 { // a new leader's first entry
		if term > s.startTerm {
			s.leaderChanges.Add(1)
		}
		s.progress.set(index, term)
		return nil
	}
	decoded, err := decodeEntry(data)
	if err != nil {
		return err
	}
	if decoded.kind == entryAgreement {
		s.reachMark(index) // first: who asks for a mark that was passed gets no digest
		s.progress.set(index, term)
		return nil
	}
	op, err := decoded.operation()
	if err != nil {
		return err
	}
	// A new leader may not have applied what an earlier one stamped. Time does not
	// go back on any member for that.
	op.Now = max(op.Now, s.store.Clock())
	s.stamped = op.Now
	if strings.HasPrefix(op.Path, clusterRoot) {
		return s.applyToCluster(decoded.id, op, Position{index, term})
	}
	ev, err := s.store.Apply(op)
	s.progress.set(index, term)
	if op.Action == store.Expire {
		s.expiry.look(s.store.NextExpiry()) // before the expirer, which waits, looks again
	}
	return s.answer(decoded.id, ev, err, Position{index, term})
}

// answer tells who waits for a write what came of it.
func (s *Server) answer(id uint64, ev store.Event, err error, at Position) error {
	o := outcome{reply: Reply{Event: ev, Index: s.store.Index(), Position: at}}
	if err != nil && !errors.As(err, &o.err) {
		return err
	}
	s.waiters.answer(id, o)
	return nil
}

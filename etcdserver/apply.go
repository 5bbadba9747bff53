package etcdserver

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
)

// apply is the applier: the only goroutine that changes the replica. It takes
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
	var latest replica.Reading
	for _, e := range c.Entries {
		passed := s.replica.PassedOver(e.GetIndex())
		effects, err := s.replica.Apply(e)
		if err != nil {
			return err
		}
		if err := s.carryOut(e, effects, passed); err != nil {
			return err
		}
		if effects.Time > 0 {
			latest = replica.Reading{Term: e.GetTerm(), Time: effects.Time}
		}
	}
	if latest.Time > 0 {
		s.clock.change(func(t *replica.Clock, mono int64) { t.Applied(latest, mono) })
	}
	s.progress.wake()
	s.node.Applied(c)
	s.expiry.look(s.store.NextExpiry())
	return nil
}

// carryOut does what an applied entry asks for. The error is raftnode.ErrStopped.
func (s *Server) carryOut(e *raftpb.Entry, effects replica.Effects, passed bool) error {
	if effects.Conf != nil {
		if err := s.changeConf(effects.Conf); err != nil {
			return err
		}
	}
	if passed {
		return nil
	}
	s.checkpoint.count(len(e.GetData()))
	if effects.NewLeader && e.GetTerm() > s.startTerm {
		s.leaderChanges.Add(1)
	}
	if effects.Barrier {
		s.reachMark(e.GetIndex()) // before progress: a question about a passed mark gets no digest
	}
	if effects.Malformed {
		s.log.Error("log entry ignored: no release proposes such an entry", "index", e.GetIndex(), "error", effects.Refused)
	}
	if effects.Change != nil {
		s.logChange(*effects.Change)
	}
	if effects.Cluster {
		s.clusterChanged()
	}
	at := s.replica.Position()
	s.progress.set(at.Index, at.Term)
	switch {
	case effects.Expiry:
		s.expiry.look(s.store.NextExpiry()) // before the expirer, which waits, looks again
	case effects.NewLeader:
		s.expiry.changed.ring()
	}
	s.answer(effects, Position{at.Index, at.Term})
	return nil
}

// changeConf has raft make a change of members. Raft and the replica compute the same
// configuration; a difference is a broken promise.
func (s *Server) changeConf(cc *raftpb.ConfChange) error {
	conf, err := s.node.ApplyConfChange(cc)
	if err != nil {
		return err
	}
	if err := conf.Equivalent(s.replica.RaftConf()); err != nil {
		panic(fmt.Sprintf("etcdserver: raft has the members %v and the log %v: %v", conf, s.replica.RaftConf(), err))
	}
	s.confChanged()
	return nil
}

// answer gives the waiter of an entry, if there is one, its outcome.
func (s *Server) answer(effects replica.Effects, at Position) {
	if effects.Request == 0 {
		return
	}
	o := outcome{reply: Reply{Event: effects.Event, Index: effects.Index, Position: at}, refused: effects.Refused}
	if effects.Refused != nil && !errors.As(effects.Refused, &o.err) {
		o.err = &store.Error{Code: store.RaftInternal, Cause: effects.Refused.Error(), Index: effects.Index}
	}
	s.waiters.answer(effects.Request, o)
}

func (s *Server) logChange(change membership.Change) {
	m, which := change.Member, ""
	if m.ID == s.id {
		which = "local "
	}
	switch change.Kind {
	case membership.Add:
		s.log.Info(fmt.Sprintf("added %smember %s %v to cluster %s", which, m.ID, m.PeerURLs, s.clusterID))
	case membership.Remove:
		s.log.Info(fmt.Sprintf("removed %smember %s from cluster %s", which, m.ID, s.clusterID))
	case membership.Update:
		s.log.Info(fmt.Sprintf("update %smember %s %v in cluster %s", which, m.ID, m.PeerURLs, s.clusterID))
	case membership.Promote:
		s.log.Info(fmt.Sprintf("member %s of cluster %s has caught up and votes from now on", m.ID, s.clusterID))
	}
}

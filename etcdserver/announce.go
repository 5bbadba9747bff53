package etcdserver

import (
	"context"
	"fmt"

	"etcd2/membership"
	"etcd2/store"
)

// announce publishes this member's name and client URLs, which every start does
// anew, and waits until the cluster version is decided.
func (s *Server) announce(ctx context.Context) error {
	if !s.awaitNamed(ctx) || !s.publish(ctx) {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-s.decided:
		close(s.announced)
	}
	return nil
}

// awaitNamed waits until the log has named this member, which is when a newcomer
// has caught up with its own addition; false means that ctx ended first. A write
// before that could reach this member inside a checkpoint, which tells of no
// outcomes.
func (s *Server) awaitNamed(ctx context.Context) bool {
	for {
		if _, known := s.cluster.Load().Member(s.id); known {
			return true
		}
		if pause(ctx, lookAgain) != nil {
			return false
		}
	}
}

// publish repeats until it succeeds; false means that ctx ended first.
func (s *Server) publish(ctx context.Context) bool {
	self := membership.Member{ID: s.id, Name: s.cfg.Name, ClientURLs: s.cfg.ClientURLs}
	op := store.Op{Action: store.Set, Path: membership.AttributesPath(s.id), Value: membership.Attributes(self)}
	for {
		_, err := s.doInternal(ctx, op)
		if err == nil {
			s.log.Info(fmt.Sprintf("published {Name:%s ClientURLs:%v} to cluster %s", self.Name, self.ClientURLs, s.clusterID))
			return true
		}
		if ctx.Err() == nil {
			s.log.Error("publish error", "error", err)
		}
		if pause(ctx, s.cfg.Tick) != nil {
			s.log.Info("aborting publish because server is stopped")
			return false
		}
	}
}

// Announced is closed once this member has told the cluster its client URLs and
// the cluster version is decided.
func (s *Server) Announced() <-chan struct{} { return s.announced }

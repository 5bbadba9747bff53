package etcdserver

import (
	"context"
	"fmt"
	"time"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

// versionPeriod is how often the leader looks whether the cluster version is
// still undecided.
const versionPeriod = 4 * time.Second

// announce publishes this member's name and client URLs, which every start does
// anew, and, while it leads, sees to it that the cluster version is decided.
func (s *Server) announce(ctx context.Context) error {
	if !s.publish(ctx) {
		return nil
	}
	tick := time.NewTicker(versionPeriod)
	defer tick.Stop()
	for announced := false; ; {
		if s.leading() && s.ClusterVersion() == "" {
			s.decideVersion(ctx)
		}
		if !announced && s.ClusterVersion() != "" {
			announced = true
			close(s.announced)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
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
		if ctx.Err() != nil {
			s.log.Info("aborting publish because server is stopped")
			return false
		}
		s.log.Error("publish error", "error", err)
	}
}

// decideVersion sets the first cluster version. Failing is no harm: the next
// tick, or the next leader, tries again.
func (s *Server) decideVersion(ctx context.Context) {
	s.log.Info(fmt.Sprintf("setting up the initial cluster version to %s", majorMinor(version.Cluster)))
	op := store.Op{Action: store.Set, Path: membership.VersionPath, Value: version.Cluster}
	if _, err := s.doInternal(ctx, op); err != nil && ctx.Err() == nil {
		s.log.Warn("the cluster version is not decided yet", "error", err)
	}
}

package etcdserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"etcd2/membership"
)

// clusterChanged takes the view of the cluster after a write below /0. The applier
// calls it, so the view follows the log.
func (s *Server) clusterChanged() {
	c := s.replica.Cluster()
	before := s.cluster.Swap(c)
	s.reach()
	s.logVersion(before, c)
	if before != nil && c.Removed(s.id) && !before.Removed(s.id) {
		s.leave()
	}
}

// logVersion takes note of the cluster version.
func (s *Server) logVersion(before, now *membership.Cluster) {
	v, was := now.Version(), ""
	if before != nil {
		was = before.Version()
	}
	if v == was {
		return
	}
	switch {
	case before == nil: // found at the start
	case was == "":
		s.log.Info(fmt.Sprintf("set the initial cluster version to %s", majorMinor(v)))
	default:
		s.log.Info(fmt.Sprintf("updated the cluster version from %s to %s", majorMinor(was), majorMinor(v)))
	}
	if was == "" {
		close(s.decided)
	}
}

// confChanged takes note of other voters or learners.
func (s *Server) confChanged() {
	s.learners.Store(int64(len(s.replica.Conf().GetLearners())))
	s.newConf.ring()
}

// ID is this member's ID.
func (s *Server) ID() membership.ID { return s.id }

// ClusterID is the cluster's ID.
func (s *Server) ClusterID() membership.ID { return s.clusterID }

// Members are the members of the cluster in ascending order of ID, as far as
// this member has applied the log. The slice is shared: callers only read it.
func (s *Server) Members() []membership.Member { return s.cluster.Load().Members() }

// ClusterVersion is the version all members can speak, "" until it is decided.
func (s *Server) ClusterVersion() string { return s.cluster.Load().Version() }

// Health is nil when a quorum confirms its leader to this member and the member
// keeps up with it. It waits no longer than a request may.
func (s *Server) Health(ctx context.Context) error {
	if err := cmp.Or(s.agreement.refusal(), s.outcast(), s.doubt()); err != nil {
		return err
	}
	return s.confirm(ctx)
}

// doubt is not nil while the leader's log contradicts this member's log.
func (s *Server) doubt() error {
	if s.node.Suspicious() {
		return errors.New("the leader's log contradicts this member's log")
	}
	return nil
}

// Ready is nil when the member can serve reads and writes; else the error says
// what it waits for.
func (s *Server) Ready() error {
	refused := cmp.Or(s.agreement.refusal(), s.outcast(), s.doubt())
	switch {
	case refused != nil:
		return refused
	case s.node.Status().Leader == 0:
		return errors.New("no leader is known")
	case s.ClusterVersion() == "":
		return errors.New("the cluster version is not decided")
	case s.space.low():
		return fmt.Errorf("the disk of %s is nearly full: writes are refused", s.space.dir())
	}
	return nil
}

package etcdserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

// clusterRoot is the directory of the store in which membership lives.
const clusterRoot = "/0/"

// clusterChanged reads the view of the cluster again after a write below
// clusterRoot. The applier calls it, so the view follows the log.
// The error is a *DowngradeError.
func (s *Server) clusterChanged() error {
	c, err := membership.Read(treeReader{s.store})
	if err != nil {
		// Only this program writes there, and it reads what it writes.
		panic(fmt.Sprintf("etcdserver: the cluster cannot be read back: %v", err))
	}
	before := s.cluster.Swap(c)
	s.reach()
	if err := s.followVersion(before, c); err != nil {
		return err
	}
	if before != nil && c.Removed(s.id) && !before.Removed(s.id) {
		s.leave()
	}
	return nil
}

// followVersion takes note of the cluster version.
func (s *Server) followVersion(before, now *membership.Cluster) error {
	v, was := now.Version(), ""
	if before != nil {
		was = before.Version()
	}
	if v == was {
		return nil
	}
	if n, err := version.Parse(v); err == nil && n.Compare(version.OfServer()) > 0 {
		return &DowngradeError{Cluster: v}
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
	return nil
}

// applyToCluster applies a member's own write below clusterRoot, unless its time
// has passed on its way through the log.
func (s *Server) applyToCluster(id uint64, op store.Op, at Position) error {
	if late := s.late(op); late != "" {
		s.progress.set(at.RaftIndex, at.RaftTerm)
		s.waiters.answer(id, outcome{err: &store.Error{Code: store.RaftInternal, Cause: "etcdserver: " + late, Index: s.store.Index()}})
		return nil
	}
	ev, err := s.store.Apply(op)
	if err := s.clusterChanged(); err != nil {
		return err
	}
	s.progress.set(at.RaftIndex, at.RaftTerm)
	return s.answer(id, ev, err, at)
}

// late tells why a write below clusterRoot must not be applied any more; ""
// mostly. A member that has left must not leave its name behind, and a leader that
// was replaced must not take back a version that the members rely on.
func (s *Server) late(op store.Op) string {
	cluster := s.cluster.Load()
	if id, ok := membership.MemberOf(op.Path); ok {
		if _, known := cluster.Member(id); !known {
			return "member " + id.String() + " does not belong to the cluster"
		}
	}
	if op.Path == membership.VersionPath {
		next, _ := version.Parse(op.Value)
		if now, err := version.Parse(cluster.Version()); err == nil && next.Compare(now) <= 0 {
			return "the cluster version is " + cluster.Version() + " already"
		}
	}
	return ""
}

// setConf takes the raft configuration that is in effect from now on.
func (s *Server) setConf(conf *raftpb.ConfState) {
	s.conf = conf
	s.learners.Store(int64(len(conf.GetLearners())))
	s.newConf.ring()
}

// treeReader lets package membership read the store.
type treeReader struct{ tree *store.Store }

func (r treeReader) Value(path string) (string, bool) {
	n, ok := r.tree.Lookup(path)
	if !ok || n.Dir {
		return "", false
	}
	return n.Value, true
}

func (r treeReader) Names(dir string) []string {
	var names []string
	for n := range r.tree.Snapshot().All(dir) {
		if name := strings.TrimPrefix(n.Path, dir+"/"); !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
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
	if err := cmp.Or(s.agreement.refusal(), s.outcast()); err != nil {
		return err
	}
	return s.confirm(ctx)
}

// Ready is nil when the member can serve reads and writes; else the error says
// what it waits for.
func (s *Server) Ready() error {
	refused := cmp.Or(s.agreement.refusal(), s.outcast())
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

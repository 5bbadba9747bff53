package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"etcd2/membership"
	"etcd2/store"
)

// clusterRoot is the directory of the store in which membership lives.
const clusterRoot = "/0/"

// clusterChanged reads the view of the cluster again after a write below
// clusterRoot. The applier calls it, so the view follows the log.
func (s *Server) clusterChanged() {
	c, err := membership.Read(treeReader{s.store})
	if err != nil {
		// Only this program writes there, and it reads what it writes.
		panic(fmt.Sprintf("etcdserver: the cluster cannot be read back: %v", err))
	}
	before := s.cluster.Swap(c)
	s.reach()
	if before == nil {
		return
	}
	if v := c.Version(); v != before.Version() {
		if before.Version() == "" {
			s.log.Info(fmt.Sprintf("set the initial cluster version to %s", majorMinor(v)))
		} else {
			s.log.Info(fmt.Sprintf("updated the cluster version from %s to %s", majorMinor(before.Version()), majorMinor(v)))
		}
	}
}

// majorMinor shortens "2.3.0" to "2.3", the form of the log lines.
func majorMinor(version string) string { return strings.TrimSuffix(version, ".0") }

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
func (s *Server) Health(ctx context.Context) error { return s.confirm(ctx) }

// Ready is nil when the member can serve reads and writes; else the error says
// what it waits for.
func (s *Server) Ready() error {
	switch {
	case s.node.Status().Leader == 0:
		return errors.New("no leader is known")
	case s.ClusterVersion() == "":
		return errors.New("the cluster version is not decided")
	case s.space.low():
		return fmt.Errorf("the disk of %s is nearly full: writes are refused", s.space.dir())
	}
	return nil
}

// Announced is closed once this member has told the cluster its client URLs and
// the cluster version is decided.
func (s *Server) Announced() <-chan struct{} { return s.announced }

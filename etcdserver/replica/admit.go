package replica

import (
	"errors"
	"fmt"
	"strings"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

// clusterRoot is the directory of the tree in which membership lives.
const clusterRoot = "/0/"

// ErrUnsafeChange refuses a change of members that would leave fewer of them in
// contact than the cluster needs to go on.
var ErrUnsafeChange = errors.New("etcdserver: re-configuration failed due to not enough started members")

// AdmitWrite reports why an encoded entry may not be proposed; nil when it may. Only
// writes may: the leader makes the other entries itself. The error wraps ErrMalformed.
func AdmitWrite(data []byte) error {
	e, err := decodeEntry(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if e.kind != kindWrite {
		return fmt.Errorf("%w: kind %d is the leader's own", ErrMalformed, e.kind)
	}
	if err := AdmitOp(e.op); err != nil {
		return err
	}
	if e.op.Path == membership.VersionPath {
		return checkVersion(e.op.Value)
	}
	return nil
}

// AdmitOp is AdmitWrite for an operation that is not encoded yet. Below /0 a member may
// write its own attributes, and the leader the cluster version. Everything else there is
// written by changes of members.
func AdmitOp(op store.Op) error {
	if op.Path == "/" && op.Action == store.Expire {
		return nil
	}
	if op.Path != "/" && op.Action != store.Expire && !strings.HasPrefix(op.Path+"/", clusterRoot) {
		return nil
	}
	id, ofMember := membership.MemberOf(op.Path)
	plain := op.Action == store.Set && !op.Dir && !op.Refresh && !op.HasTTL
	switch {
	case plain && ofMember && op.Path == membership.AttributesPath(id):
		if err := membership.CheckAttributes(op.Value); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	case plain && op.Path == membership.VersionPath:
		if _, err := version.Parse(op.Value); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %s of %q", ErrMalformed, op.Action, op.Path)
}

// Vital reports whether an encoded entry is from a member and not from a client. Such
// entries are proposed even while the disk is nearly full.
func Vital(data []byte) bool {
	e, err := decodeEntry(data)
	return err == nil && (e.kind != kindWrite || e.op.Action == store.Expire || strings.HasPrefix(e.op.Path, clusterRoot))
}

// AdmitChange reports why a change of members may not be proposed; nil when it may,
// as far as that does not depend on the cluster. Errors are membership.ErrIDNotFound
// for a change of no member, or say what is wrong with the URLs.
func AdmitChange(c membership.Change) error {
	if c.Member.ID == 0 {
		return membership.ErrIDNotFound
	}
	switch c.Kind {
	case membership.Remove, membership.Promote:
		return nil
	case membership.Add, membership.Update:
		_, err := membership.CheckURLs(c.Member.PeerURLs)
		return err
	}
	return fmt.Errorf("etcdserver: change %d is not known to this version", c.Kind)
}

// checkVersion returns a *DowngradeError for a cluster version above this release's.
func checkVersion(decided string) error {
	if n, err := version.Parse(decided); err == nil && n.Compare(version.OfServer()) > 0 {
		return &DowngradeError{Cluster: decided}
	}
	return nil
}

// late returns why a write below clusterRoot came too late to be applied; "" if it did
// not. A removed member must not publish attributes, and a former leader must not lower
// the cluster version, on which members rely.
func (r *Replica) late(op store.Op) string {
	if id, ok := membership.MemberOf(op.Path); ok {
		if _, known := r.cluster.Member(id); !known {
			return "member " + id.String() + " does not belong to the cluster"
		}
	}
	if op.Path == membership.VersionPath {
		next, _ := version.Parse(op.Value)
		if now, err := version.Parse(r.cluster.Version()); err == nil && next.Compare(now) <= 0 {
			return "the cluster version is " + r.cluster.Version() + " already"
		}
	}
	return ""
}

// readCluster reads the view of the cluster from the tree.
func (r *Replica) readCluster() error {
	c, err := membership.Read(treeReader{r.tree})
	if err != nil {
		return err
	}
	if err := checkVersion(c.Version()); err != nil {
		return err
	}
	r.cluster = c
	return nil
}

// mustReadCluster is readCluster after a write: only this package writes there, and
// it reads what it writes.
func (r *Replica) mustReadCluster() {
	if err := r.readCluster(); err != nil {
		panic(fmt.Sprintf("replica: the cluster cannot be read back: %v", err))
	}
}

// treeReader is the tree as a membership.Reader.
type treeReader struct{ tree *store.Store }

// Value is membership.Reader's.
func (r treeReader) Value(path string) (string, bool) {
	n, ok := r.tree.Lookup(path)
	if !ok || n.Dir {
		return "", false
	}
	return n.Value, true
}

// Names is membership.Reader's.
func (r treeReader) Names(dir string) []string {
	var names []string
	for n := range r.tree.Snapshot().All(dir) {
		if name := strings.TrimPrefix(n.Path, dir+"/"); !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

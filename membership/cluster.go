package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Refusals of a change of members. Their texts are part of the members API.
var (
	ErrIDRemoved     = errors.New("etcdserver: ID removed")
	ErrIDExists      = errors.New("etcdserver: ID exists")
	ErrIDNotFound    = errors.New("etcdserver: ID not found")
	ErrPeerURLExists = errors.New("etcdserver: peerURL exists")
)

// Reader reads files and directories of the store. Paths are whole-store paths.
type Reader interface {
	// Value returns the content of the file at path, or false if there is none.
	Value(path string) (string, bool)
	// Names returns the last path components of the direct children of dir, in
	// any order; none when there is no such directory.
	Names(dir string) []string
}

// Cluster is the membership at one moment. It never changes once read.
type Cluster struct {
	members []Member // ascending by ID
	removed map[ID]bool
	version string
}

// Read builds the view from the store. An error means that /0 holds something
// this package did not write, and names the path.
func Read(r Reader) (*Cluster, error) {
	c := &Cluster{removed: make(map[ID]bool)}
	for _, name := range r.Names(MembersDir) {
		id, err := ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("%w in %s", err, MembersDir)
		}
		m, err := readMember(r, id)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	c.members = sortByID(c.members)
	for _, name := range r.Names(RemovedDir) {
		id, err := ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("%w in %s", err, RemovedDir)
		}
		c.removed[id] = true
	}
	c.version, _ = r.Value(VersionPath)
	return c, nil
}

// readMember reads the two files of a member; only the raft attributes must be
// there.
func readMember(r Reader, id ID) (Member, error) {
	path := RaftAttributesPath(id)
	text, ok := r.Value(path)
	if !ok {
		return Member{}, fmt.Errorf("membership: member %s has no %s", id, path)
	}
	var raft raftAttributes
	if err := json.Unmarshal([]byte(text), &raft); err != nil {
		return Member{}, fmt.Errorf("membership: reading %s: %w", path, err)
	}
	m := Member{ID: id, Name: raft.Name, PeerURLs: raft.PeerURLs}

	path = AttributesPath(id)
	text, ok = r.Value(path)
	if !ok {
		return m, nil
	}
	var own attributes
	if err := json.Unmarshal([]byte(text), &own); err != nil {
		return Member{}, fmt.Errorf("membership: reading %s: %w", path, err)
	}
	m.Name, m.ClientURLs = own.Name, own.ClientURLs
	return m, nil
}

// Members returns the members in ascending order of ID. The slice is shared:
// callers only read it.
func (c *Cluster) Members() []Member { return c.members }

// Member returns the member with this ID, or false.
func (c *Cluster) Member(id ID) (Member, bool) {
	for _, m := range c.members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// Removed tells whether the member once belonged to the cluster and left.
func (c *Cluster) Removed(id ID) bool { return c.removed[id] }

// Version is the cluster version, "" before the first decision.
func (c *Cluster) Version() string { return c.version }

// ChangeKind is what a Change does with its member.
type ChangeKind uint8

// The kinds of change.
const (
	Add     ChangeKind = iota + 1
	Remove             // only the ID of the member matters
	Update             // new peer URLs for the ID
	Promote            // the ID, which only listened so far, votes from now on
)

// Change is a change of members that somebody asks for.
type Change struct {
	Kind   ChangeKind
	Member Member
}

// Check tells whether the change may be applied to this membership. It is asked
// when the change is applied, on every member alike, so requests that race
// cannot both succeed. The error is one of ErrIDRemoved, ErrIDExists,
// ErrIDNotFound and ErrPeerURLExists, the first that holds in this order.
func (c *Cluster) Check(change Change) error {
	id := change.Member.ID
	if c.removed[id] {
		return ErrIDRemoved
	}
	_, known := c.Member(id)
	switch change.Kind {
	case Add:
		if known {
			return ErrIDExists
		}
		return c.checkFree(change.Member)
	case Update:
		if !known {
			return ErrIDNotFound
		}
		return c.checkFree(change.Member)
	case Remove, Promote:
		if !known {
			return ErrIDNotFound
		}
		return nil
	}
	panic(fmt.Sprintf("membership: unknown kind of change %d", change.Kind))
}

// checkFree refuses peer URLs that another member has.
func (c *Cluster) checkFree(m Member) error {
	for _, other := range c.members {
		if other.ID == m.ID {
			continue
		}
		for _, u := range m.PeerURLs {
			if slices.Contains(other.PeerURLs, u) {
				return ErrPeerURLExists
			}
		}
	}
	return nil
}

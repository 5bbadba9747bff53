package membership

import (
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ID names a member or a cluster. Zero is never a valid ID.
type ID uint64

// String is the form used everywhere a person or a client sees an ID:
// lower-case hex without leading zeros.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// ParseID reads the form String writes; it also takes upper case and leading
// zeros. Anything else is an error that names the text.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("membership: %q is not a hexadecimal ID", s)
	}
	return ID(n), nil
}

// Member is one member as the cluster knows it.
type Member struct {
	ID         ID
	Name       string   // empty until a member added at run time publishes itself
	PeerURLs   []string // sorted; where other members reach it
	ClientURLs []string // where clients reach it; empty until it publishes itself
}

// NewMember makes a member and computes its ID. The ID depends on the peer URLs
// and the cluster token, not on the name, so every founding member computes the
// same IDs by itself. A member added to a running cluster has the moment of the
// request in its ID instead of the token: when is then not nil, token is "" and
// the same URLs may come back later as a new member.
func NewMember(name string, peerURLs []string, token string, when *time.Time) Member {
	urls := slices.Sorted(slices.Values(peerURLs))
	sum := sha1.New()
	for _, u := range urls {
		sum.Write([]byte(u))
	}
	sum.Write([]byte(token))
	if when != nil {
		sum.Write(strconv.AppendInt(nil, when.Unix(), 10))
	}
	return Member{ID: first8(sum.Sum(nil)), Name: name, PeerURLs: urls}
}

// ClusterID is the ID of the cluster that these members found.
func ClusterID(members []Member) ID {
	sum := sha1.New()
	for _, m := range sortByID(members) {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(m.ID)))
	}
	return first8(sum.Sum(nil))
}

// first8 reads the first eight bytes of a hash as an ID.
func first8(hash []byte) ID { return ID(binary.BigEndian.Uint64(hash)) }

// sortByID copies members into ascending order of ID.
func sortByID(members []Member) []Member {
	return slices.SortedFunc(slices.Values(members), func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name))
	})
}

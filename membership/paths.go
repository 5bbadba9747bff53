package membership

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Where membership lives in the store. Clients cannot reach /0: their keys are
// under /1.
const (
	MembersDir  = "/0/members"         // one directory per member
	RemovedDir  = "/0/removed_members" // one empty file per member that left
	VersionPath = "/0/version"         // the cluster version, such as "2.3.0"
)

// MemberPath is the directory of a member.
func MemberPath(id ID) string { return MembersDir + "/" + id.String() }

// AttributesPath is the file a member writes about itself when it publishes.
func AttributesPath(id ID) string { return MemberPath(id) + "/attributes" }

// RaftAttributesPath is the file that makes a member: its peer URLs.
func RaftAttributesPath(id ID) string { return MemberPath(id) + "/raftAttributes" }

// RemovedPath is the mark that a member left; its ID never returns.
func RemovedPath(id ID) string { return RemovedDir + "/" + id.String() }

// MemberOf tells whose directory path is, or lies in; false when it is none of a
// member.
func MemberOf(path string) (ID, bool) {
	rest, ok := strings.CutPrefix(path, MembersDir+"/")
	if !ok {
		return 0, false
	}
	name, _, _ := strings.Cut(rest, "/")
	id, err := ParseID(name)
	return id, err == nil
}

// raftAttributes is written when a member is added. The name is there only for
// members known by name before they publish, which are the founding ones.
type raftAttributes struct {
	PeerURLs []string `json:"peerURLs"`
	Name     string   `json:"name,omitempty"`
}

// attributes is written by the member itself.
type attributes struct {
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// RaftAttributes is the content of RaftAttributesPath for m.
func RaftAttributes(m Member) string {
	return encode(raftAttributes{PeerURLs: m.PeerURLs, Name: m.Name})
}

// Attributes is the content of AttributesPath for m.
func Attributes(m Member) string {
	return encode(attributes{Name: m.Name, ClientURLs: m.ClientURLs})
}

// CheckAttributes tells whether value can be read back from AttributesPath.
func CheckAttributes(value string) error {
	var own attributes
	return json.Unmarshal([]byte(value), &own)
}

// encode writes one of the two records above, which cannot fail.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("membership: encoding %+v: %v", v, err))
	}
	return string(b)
}

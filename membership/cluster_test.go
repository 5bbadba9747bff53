package membership

import (
	"errors"
	"path"
	"reflect"
	"strings"
	"testing"
)

// files is a Reader over a map of paths to contents.
type files map[string]string

func (f files) Value(path string) (string, bool) {
	v, ok := f[path]
	return v, ok
}

func (f files) Names(dir string) []string {
	seen := make(map[string]bool)
	var names []string
	for p := range f {
		rest, below := strings.CutPrefix(p, dir+"/")
		if !below {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func TestEncodings(t *testing.T) {
	founder := NewMember("a", []string{"http://h:1"}, "tok", nil)
	added := Member{ID: 0xabc, PeerURLs: []string{"http://h:2", "http://i:2"}}
	published := Member{ID: 0xabc, Name: `q"`, ClientURLs: []string{"http://h:3"}}
	tests := []struct{ what, got, want string }{
		{"raft attributes of a founder", RaftAttributes(founder), `{"peerURLs":["http://h:1"],"name":"a"}`},
		{"raft attributes of an added member", RaftAttributes(added), `{"peerURLs":["http://h:2","http://i:2"]}`},
		{"attributes", Attributes(published), `{"name":"q\"","clientURLs":["http://h:3"]}`},
		{"member path", MemberPath(0xabc), "/0/members/abc"},
		{"attributes path", AttributesPath(0xabc), "/0/members/abc/attributes"},
		{"raft attributes path", RaftAttributesPath(0xabc), "/0/members/abc/raftAttributes"},
		{"removed path", RemovedPath(0x0abc), "/0/removed_members/abc"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
}

func TestMemberOf(t *testing.T) {
	tests := []struct {
		path string
		want ID // 0 when the path is of no member
	}{
		{AttributesPath(0xabc), 0xabc},
		{RaftAttributesPath(1), 1},
		{MemberPath(7), 7},
		{MembersDir, 0},
		{MembersDir + "/", 0},
		{MembersDir + "/zz/attributes", 0},
		{RemovedPath(7), 0},
		{VersionPath, 0},
		{"/1/0/members/7", 0},
	}
	for _, tt := range tests {
		if got, ok := MemberOf(tt.path); got != tt.want || ok != (tt.want != 0) {
			t.Errorf("MemberOf(%s) = %s, %v, want %s", tt.path, got, ok, tt.want)
		}
	}
}

// cluster3 has a founder that published (1), one that did not (2), a member
// added at run time (0x10) and one that left (7).
func cluster3() files {
	return files{
		RaftAttributesPath(0x10): `{"peerURLs":["http://c:1"]}`,
		RaftAttributesPath(2):    `{"peerURLs":["http://b:1","http://b:2"],"name":"b"}`,
		RaftAttributesPath(1):    `{"peerURLs":["http://a:1"],"name":"old"}`,
		AttributesPath(1):        `{"name":"a","clientURLs":["http://a:3","http://a:2"]}`,
		RemovedPath(7):           "",
		VersionPath:              "2.3.0",
	}
}

func TestRead(t *testing.T) {
	c, err := Read(cluster3())
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{
		{ID: 1, Name: "a", PeerURLs: []string{"http://a:1"}, ClientURLs: []string{"http://a:3", "http://a:2"}},
		{ID: 2, Name: "b", PeerURLs: []string{"http://b:1", "http://b:2"}},
		{ID: 0x10, PeerURLs: []string{"http://c:1"}},
	}
	if got := c.Members(); !reflect.DeepEqual(got, want) {
		t.Errorf("Members() = %+v, want %+v", got, want)
	}
	if m, ok := c.Member(2); !ok || m.Name != "b" {
		t.Errorf("Member(2) = %+v, %v", m, ok)
	}
	if m, ok := c.Member(7); ok {
		t.Errorf("Member(7) = %+v, want none: it left", m)
	}
	if !c.Removed(7) || c.Removed(1) {
		t.Errorf("Removed(7), Removed(1) = %v, %v, want true, false", c.Removed(7), c.Removed(1))
	}
	if got := c.Version(); got != "2.3.0" {
		t.Errorf("Version() = %q, want 2.3.0", got)
	}

	empty, err := Read(files{})
	if err != nil || len(empty.Members()) != 0 || empty.Version() != "" {
		t.Errorf("Read of an empty store = %+v, %v", empty, err)
	}
}

func TestReadRefusesForeignContent(t *testing.T) {
	tests := []struct {
		name, path, value string
		want              string // part of the error
	}{
		{"directory that is no ID", MembersDir + "/zz/raftAttributes", "{}", `"zz"`},
		{"mark that is no ID", RemovedDir + "/zz", "", `"zz"`},
		{"member without raft attributes", AttributesPath(5), "{}", RaftAttributesPath(5)},
		{"raft attributes are no JSON", RaftAttributesPath(2), "{", RaftAttributesPath(2)},
		{"attributes are no JSON", AttributesPath(2), "[]", AttributesPath(2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := cluster3()
			f[tt.path] = tt.value
			if _, err := Read(f); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Read with %s = %q: error %v, want one naming %s", path.Base(tt.path), tt.value, err, tt.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	c, err := Read(cluster3())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		kind ChangeKind
		id   ID
		urls []string
		want error
	}{
		{"add", Add, 9, []string{"http://d:1"}, nil},
		{"add with a URL in use", Add, 9, []string{"http://d:1", "http://b:2"}, ErrPeerURLExists},
		{"add a known ID before its URL", Add, 2, []string{"http://a:1"}, ErrIDExists},
		{"add a removed ID", Add, 7, []string{"http://d:1"}, ErrIDRemoved},
		{"update", Update, 2, []string{"http://d:1"}, nil},
		{"update keeps an own URL", Update, 2, []string{"http://b:1", "http://d:1"}, nil},
		{"update to a URL in use", Update, 2, []string{"http://a:1"}, ErrPeerURLExists},
		{"update an unknown ID before its URL", Update, 9, []string{"http://a:1"}, ErrIDNotFound},
		{"update a removed ID", Update, 7, []string{"http://d:1"}, ErrIDRemoved},
		{"remove", Remove, 1, nil, nil},
		{"remove an unknown ID", Remove, 9, nil, ErrIDNotFound},
		{"remove a removed ID", Remove, 7, nil, ErrIDRemoved},
		{"promote", Promote, 0x10, nil, nil},
		{"promote an unknown ID", Promote, 9, nil, ErrIDNotFound},
		{"promote a removed ID", Promote, 7, nil, ErrIDRemoved},
	}
	for _, tt := range tests {
		got := c.Check(Change{Kind: tt.kind, Member: Member{ID: tt.id, PeerURLs: tt.urls}})
		if !errors.Is(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

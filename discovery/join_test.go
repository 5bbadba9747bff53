package discovery

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"etcd2/membership"
)

const goodVersion = `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`

// serves makes the member at U answer with this list, in which {U} stands for its
// own URL.
func serves(t *testing.T, list, version string) string {
	t.Helper()
	says := answers{"/version": version}
	if version == "" {
		delete(says, "/version")
	}
	u := speak(t, "abc", says)
	says["/members"] = strings.ReplaceAll(list, "{U}", u)
	return u
}

func TestJoin(t *testing.T) {
	const both = `[{"id":9,"peerURLs":["{U}"],"name":"old name","clientURLs":["http://h:1"]},{"id":2,"peerURLs":["http://10.9.9.9:1"]}]`
	tests := []struct {
		name    string
		list    string // of the running cluster
		version string
		cluster string // a is the member that answers
		err     string
		log     string
	}{
		{name: "expected", list: both, version: goodVersion, cluster: "a={U},b=http://10.9.9.9:1"},
		{name: "host name", list: both, version: goodVersion, cluster: "a={U},b=http://b.example.com:1", log: "resolving b.example.com:1 to 10.9.9.9:1"},
		{name: "older, but not too old", list: both, version: `{"etcdserver":"2.2.5","etcdcluster":"2.2.0"}`, cluster: "a={U},b=http://10.9.9.9:1"},
		{name: "not added", list: `[{"id":9,"peerURLs":["{U}"]}]`, version: goodVersion, cluster: "a={U},b=http://10.9.9.9:1",
			err: "error validating peerURLs {ClusterID:abc Members:[&{ID:9 RaftAttributes:{PeerURLs:[{U}]} Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[]}: member count is unequal"},
		{name: "other URL", list: both, version: goodVersion, cluster: "a={U},b=http://10.9.9.9:2",
			err: "error validating peerURLs {ClusterID:abc Members:[&{ID:2 RaftAttributes:{PeerURLs:[http://10.9.9.9:1]} Attributes:{Name: ClientURLs:[]}} " +
				"&{ID:9 RaftAttributes:{PeerURLs:[{U}]} Attributes:{Name:old name ClientURLs:[http://h:1]}}] RemovedMemberIDs:[]}: unmatched member while checking PeerURLs"},
		{name: "URL too many", list: both, version: goodVersion, cluster: "a={U},b=http://10.9.9.9:1,b=http://10.9.9.9:2",
			err: "unmatched member while checking PeerURLs"},
		{name: "ran before", list: `[{"id":9,"peerURLs":["{U}"]},{"id":2,"peerURLs":["http://10.9.9.9:1"],"clientURLs":["http://h:1"]}]`, version: goodVersion,
			cluster: "a={U},b=http://10.9.9.9:1", err: "member 2 has already been bootstrapped"},
		{name: "too new", list: both, version: `{"etcdcluster":"2.4.0"}`, cluster: "a={U},b=http://10.9.9.9:1",
			err: ErrIncompatible.Error(), log: "the running cluster version(2.4.0) is higher than the maximum cluster version(2.3.0) supported"},
		{name: "too old", list: both, version: `{"etcdcluster":"2.1.0"}`, cluster: "a={U},b=http://10.9.9.9:1",
			err: ErrIncompatible.Error(), log: "the running cluster version(2.1.0) is lower than the minimal cluster version(2.2.0) supported"},
		{name: "2.0 tells no version", list: both, cluster: "a={U},b=http://10.9.9.9:1",
			err: ErrIncompatible.Error(), log: "the running cluster version(2.0.0) is lower"},
		{name: "undecided", list: both, version: `{"etcdcluster":"not_decided"}`, cluster: "a={U},b=http://10.9.9.9:1",
			err: ErrIncompatible.Error(), log: "cannot understand the cluster version of member 9 ("},
		{name: "no version at all", list: both, version: "x", cluster: "a={U},b=http://10.9.9.9:1",
			err: ErrIncompatible.Error(), log: "cannot get the version of member 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := serves(t, tt.list, tt.version)
			peers, err := membership.ParsePeers(strings.ReplaceAll(tt.cluster, "{U}", u))
			if err != nil {
				t.Fatal(err)
			}
			c, out := newClient(Config{Lookup: hosts(map[string]string{"b.example.com": "10.9.9.9"})})
			j, err := c.Join(t.Context(), "b", peers)
			if !strings.Contains(out.String(), tt.log) {
				t.Errorf("log lacks %q:\n%s", tt.log, out)
			}
			if tt.err != "" {
				if want := strings.ReplaceAll(tt.err, "{U}", u); err == nil || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("Join = %+v, %v, want error %q", j, err, want)
				}
				return
			}
			want := &Joined{ClusterID: 0xabc, Self: 2, Remotes: []membership.Member{{ID: 9, Name: "a", PeerURLs: []string{u}, ClientURLs: []string{"http://h:1"}}}}
			if err != nil || !reflect.DeepEqual(j, want) {
				t.Errorf("Join = %+v, %v, want %+v\n%s", j, err, want, out)
			}
		})
	}
}

func TestJoinNobody(t *testing.T) {
	c, _ := newClient(Config{})
	for _, cluster := range []string{"b=http://127.0.0.1:1", "a=" + silent() + ",b=http://127.0.0.1:1"} {
		peers, err := membership.ParsePeers(cluster)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Join(t.Context(), "b", peers)
		if want := "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls"; !errors.Is(err, ErrNobody) || err.Error() != want {
			t.Errorf("Join %s: %v, want %q", cluster, err, want)
		}
	}
}

// A member that lags has not heard of the newcomer yet, or still knows the one that
// was removed before it.
func TestOneMemberLags(t *testing.T) {
	for _, stale := range []string{`[{"id":1,"peerURLs":["{U}"]}]`, `[{"id":1,"peerURLs":["{U}"]},{"id":7,"peerURLs":["http://127.0.0.1:1"],"clientURLs":["http://h:1"]},{"id":3,"peerURLs":["{V}"]}]`} {
		list := `[{"id":1,"peerURLs":["{U}"]},{"id":2,"peerURLs":["http://127.0.0.1:1"]},{"id":3,"peerURLs":["{V}"]}]`
		says, knows := answers{"/version": goodVersion}, answers{"/version": goodVersion}
		u, v := speak(t, "abc", says), speak(t, "abc", knows)
		if u > v { // the first in order is asked first
			says, knows = knows, says
		}
		names := strings.NewReplacer("{U}", u, "{V}", v)
		says["/members"], knows["/members"] = names.Replace(stale), names.Replace(list)
		peers, err := membership.ParsePeers("a=" + u + ",b=http://127.0.0.1:1,c=" + v)
		if err != nil {
			t.Fatal(err)
		}
		c, out := newClient(Config{})
		if j, err := c.Join(t.Context(), "b", peers); err != nil || j.Self != 2 {
			t.Errorf("Join = %+v, %v\n%s", j, err, out)
		}
	}
}

// A member that cannot be asked does not keep a newcomer out, if another can.
func TestOneMemberIsDown(t *testing.T) {
	down := silent()
	list := fmt.Sprintf(`[{"id":1,"peerURLs":["{U}"]},{"id":2,"peerURLs":["http://127.0.0.1:1"]},{"id":3,"peerURLs":[%q]}]`, down)
	u := serves(t, list, goodVersion)
	peers, err := membership.ParsePeers("a=" + u + ",b=http://127.0.0.1:1,c=" + down)
	if err != nil {
		t.Fatal(err)
	}
	c, out := newClient(Config{})
	if j, err := c.Join(t.Context(), "b", peers); err != nil || j.Self != 2 || len(j.Remotes) != 2 {
		t.Fatalf("Join = %+v, %v\n%s", j, err, out)
	}
	for _, line := range []string{"failed to reach the peerURL(" + down + ") of member 3 (", "cannot get the version of member 3"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("log lacks %q:\n%s", line, out)
		}
	}
}

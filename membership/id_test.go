package membership

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// seed004 is the static cluster of the clustering guide.
const seed004 = "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://10.0.1.12:2380"

func TestIDsOfKnownClusters(t *testing.T) {
	tests := []struct {
		name    string
		cluster string
		token   string
		members map[string]string // name to ID
		want    string            // cluster ID
	}{
		{
			name:    "all defaults",
			cluster: "default=http://localhost:2380,default=http://localhost:7001",
			token:   "etcd-cluster",
			members: map[string]string{"default": "ce2a822cea30bfca"},
			want:    "7e27652122e8b2ae",
		},
		{
			name:    "guide, own token",
			cluster: seed004,
			token:   "etcd-cluster-1",
			members: map[string]string{"infra0": "140fedbeeb74765d", "infra1": "d5dc5f8d75d04e29", "infra2": "8a0a11c6194fc77"},
			want:    "acccc8912db0cd57",
		},
		{
			name:    "guide, default token",
			cluster: seed004,
			token:   "etcd-cluster",
			members: map[string]string{"infra0": "794aea3ba77a1d64", "infra1": "e25938377bdd2340", "infra2": "9d480e1db4ddec45"},
			want:    "e33cd1f1301c41a0",
		},
		{
			name:    "guide, infra3",
			cluster: "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra3=http://10.0.1.13:2380",
			token:   "etcd-cluster",
			members: map[string]string{"infra0": "794aea3ba77a1d64", "infra1": "e25938377bdd2340", "infra3": "d4c8049a9708f481"},
			want:    "de83bfe8225735ab",
		},
		{
			name:    "blog, node-a",
			cluster: "node-a=http://10.10.10.11:2380",
			token:   "etcd-cluster",
			members: map[string]string{"node-a": "ffcf00e267752181"},
			want:    "2f47b7801f733964",
		},
		{
			name:    "host names of SRV records",
			cluster: "infra0=http://infra0.example.com:2380,0=http://infra1.example.com:2380,1=http://infra2.example.com:2380",
			token:   "etcd-cluster-1",
			members: map[string]string{"infra0": "a434bc977dbbaf3e", "0": "89315860d4cce8f0", "1": "518d77c6d7c5a9c1"},
			want:    "c8ba12a1c26d31b1",
		},
		{
			name:    "discovery, the token is the URL",
			cluster: "a=http://10.0.1.10:2380,b=http://10.0.1.11:2380,c=http://10.0.1.12:2380",
			token:   "http://127.0.0.1:5000/v2/keys/discovery/tok1",
			members: map[string]string{"a": "c6006e67baa364cb", "b": "652877a57d0879d4", "c": "b069a81907ddfc0f"},
			want:    "4ab48438bf401f0c",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peers, err := ParsePeers(tt.cluster)
			if err != nil {
				t.Fatalf("ParsePeers(%q): %v", tt.cluster, err)
			}
			members := peers.Members(tt.token)
			if len(members) != len(tt.members) {
				t.Fatalf("%d members, want %d", len(members), len(tt.members))
			}
			for _, m := range members {
				if got := m.ID.String(); got != tt.members[m.Name] {
					t.Errorf("ID of %s = %s, want %s", m.Name, got, tt.members[m.Name])
				}
			}
			if !slices.IsSortedFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }) {
				t.Errorf("members not in order of ID: %v", members)
			}
			slices.Reverse(members)
			if got := ClusterID(members).String(); got != tt.want {
				t.Errorf("ClusterID = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNewMember(t *testing.T) {
	given := []string{"http://b:1", "http://a:1"}
	m := NewMember("n", given, "tok", nil)
	if want := []string{"http://a:1", "http://b:1"}; !slices.Equal(m.PeerURLs, want) {
		t.Errorf("PeerURLs = %v, want %v", m.PeerURLs, want)
	}
	if given[0] != "http://b:1" {
		t.Error("NewMember sorted the slice of its caller")
	}
	if other := NewMember("other", m.PeerURLs, "tok", nil); other.ID != m.ID {
		t.Errorf("ID depends on name or order of URLs: %s and %s", m.ID, other.ID)
	}

	// SHA-1("http://a:1" + "1136239445") and one second later.
	when := time.Unix(1136239445, 999_999_999)
	added := NewMember("", []string{"http://a:1"}, "", &when)
	if want := NewMember("", []string{"http://a:1"}, "1136239445", nil).ID; added.ID != want {
		t.Errorf("added member: ID = %s, want %s", added.ID, want)
	}
	later := when.Add(time.Second)
	if again := NewMember("", []string{"http://a:1"}, "", &later); again.ID == added.ID {
		t.Errorf("added a second later: same ID %s", again.ID)
	}
}

func TestParseID(t *testing.T) {
	for _, id := range []ID{1, 0x8a0a11c6194fc77, 1<<64 - 1} {
		got, err := ParseID(id.String())
		if got != id || err != nil {
			t.Errorf("ParseID(%q) = %v, %v, want %v", id.String(), got, err, id)
		}
	}
	for _, bad := range []string{"", "xyz", "-1", "0x1", "10000000000000000"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %v, want an error", bad, id)
		}
	}
}

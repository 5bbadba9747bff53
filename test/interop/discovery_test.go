package interop

import (
	"fmt"
	"strings"
	"testing"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// TestOursMeetAtTheirs: our members find each other in the directory that an etcd
// 3.4 keeps for them, and the one too many becomes their proxy.
func TestOursMeetAtTheirs(t *testing.T) {
	t.Parallel()
	place := proc.Start(t, installed(t))
	tokens := 0
	mint := func() (string, error) {
		tokens++
		token := fmt.Sprintf("discovery/token%d", tokens)
		return place.URL() + "/v2/keys/" + token, write(place, token+"/_config/size", "3")
	}
	members := proc.StartCluster(t, 3, proc.Options{Discovery: mint})
	registered := get(t, place, fmt.Sprintf("/v2/keys/discovery/token%d", tokens))
	for _, m := range members {
		if want := fmt.Sprintf(`"value":"%s=%s"`, m.Name, m.PeerURL()); !strings.Contains(registered, want) {
			t.Errorf("registered are %s, want %s among them", registered, want)
		}
	}
	surplus(t, proc.Options{Name: "n4"}, fmt.Sprintf("%s/v2/keys/discovery/token%d", place.URL(), tokens), members)
}

// TestTheirsMeetAtOurs: members of etcd 3.4 find each other by a URL of our discovery
// service.
func TestTheirsMeetAtOurs(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]proc.Options{
		"service": {Meeting: true},
		"member":  {Own: []string{"--enable-discovery-service"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			debian := installed(t)
			at := proc.Start(t, place)
			var token string
			debian.Discovery = func() (string, error) {
				status, body, err := ask(at, wire.Request{Method: "GET", Target: "/new?size=3"})
				if err == nil && status != 200 {
					err = fmt.Errorf("GET /new = %d %s", status, body)
				}
				token = strings.TrimSpace(body)
				return token, err
			}
			members := proc.StartCluster(t, 3, debian)
			debian.Name = "n4"
			surplus(t, debian, token, members)
		})
	}
}

// surplus starts one more than the cluster has place for: it becomes a proxy of the
// members.
func surplus(t *testing.T, o proc.Options, token string, members []*proc.Member) {
	t.Helper()
	o.Discovery = func() (string, error) { return token, nil }
	extra := proc.Start(t, o)
	if !strings.Contains(extra.Log(), "discovery cluster full, falling back to proxy") {
		t.Error("the surplus member does not tell that it falls back to being a proxy")
	}
	work(t, append(members, extra)...)
	list := get(t, extra, "/v2/members")
	if n := strings.Count(list, `"name"`); n != len(members) {
		t.Errorf("the cluster has %d members, want %d: %s", n, len(members), list)
	}
	endpoints := get(t, extra, "/v2/config/local/proxy")
	for _, m := range members {
		if !strings.Contains(list, m.PeerURL()) || !strings.Contains(endpoints, m.URL()) {
			t.Errorf("%s at %s and %s is not among the members %s or the endpoints %s", m.Name, m.URL(), m.PeerURL(), list, endpoints)
		}
	}
}

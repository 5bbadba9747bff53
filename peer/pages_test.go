package peer

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"etcd2/identity"
	"etcd2/membership"
)

type view struct{ version string }

func (view) ClusterID() membership.ID { return 0xabc }

func (view) Members() []membership.Member {
	return []membership.Member{
		{ID: 10, Name: "a", PeerURLs: []string{"http://a:1"}, ClientURLs: []string{"http://a:2"}},
		{ID: 11, PeerURLs: []string{"http://b:1"}},
	}
}

func (v view) ClusterVersion() string { return v.version }

// pages serves what the peer port tells everybody.
func pages(c Cluster) http.Handler {
	mux := http.NewServeMux()
	addPages(mux, c, func() identity.Identity { return identity.Identity{} })
	return mux
}

func TestPages(t *testing.T) {
	tests := []struct {
		name, method, path, version string
		status                      int
		body                        string // a regular expression
	}{
		{"members", "GET", "/members", "", 200,
			`\[{"id":10,"peerURLs":\["http://a:1"\],"name":"a","clientURLs":\["http://a:2"\]},{"id":11,"peerURLs":\["http://b:1"\]}\]\n`},
		{"version", "GET", "/version", "2.3.0", 200, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`},
		{"version undecided", "GET", "/version", "", 200, `{"etcdserver":"2.3.8","etcdcluster":"not_decided"}`},
		{"probing", "GET", "/raft/probing", "", 200, `{"OK":true,"Now":"[-0-9T:.]+(Z|[+-]\d\d:\d\d)"}\n`},
		{"other method", "POST", "/members", "", 405, `Method Not Allowed\n`},
		{"trailing slash", "GET", "/members/", "", 404, `404 page not found\n`},
		{"client API", "GET", "/v2/keys", "", 404, `404 page not found\n`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			pages(view{tt.version}).ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, nil))
			if rec.Code != tt.status {
				t.Errorf("%s %s = %d, want %d", tt.method, tt.path, rec.Code, tt.status)
			}
			if got := rec.Body.String(); !regexp.MustCompile("^" + tt.body + "$").MatchString(got) {
				t.Errorf("%s %s body = %q, want %q", tt.method, tt.path, got, tt.body)
			}
			if tt.status == http.StatusMethodNotAllowed && rec.Header().Get("Allow") != "GET" {
				t.Errorf("Allow = %q, want GET", rec.Header().Get("Allow"))
			}
		})
	}
	rec := httptest.NewRecorder()
	pages(view{}).ServeHTTP(rec, httptest.NewRequest("GET", "/members", nil))
	if got := rec.Header().Get("X-Etcd-Cluster-Id"); got != "abc" {
		t.Errorf("X-Etcd-Cluster-Id = %q, want abc", got)
	}
}

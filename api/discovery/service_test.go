package discovery

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

func decode(text string, into any) error { return json.Unmarshal([]byte(text), into) }

const someToken = "/0123456789abcdef0123456789abcdef"

func TestNew(t *testing.T) {
	tests := []struct {
		name    string
		cfg     Config
		method  string
		target  string
		tune    func(*http.Request)
		status  int
		base    string // of the answer, or a part of its text
		hasSize string
	}{
		{name: "three by default", target: "http://h:80/new", status: 200, base: "http://h:80/", hasSize: "3"},
		{name: "size", target: "http://h/new?size=5", status: 200, base: "http://h/", hasSize: "5"},
		{name: "largest", target: "http://h/new?size=32", status: 200, base: "http://h/", hasSize: "32"},
		{name: "too large", target: "http://h/new?size=33", status: 400, base: "from 1 to 32"},
		{name: "nobody", target: "http://h/new?size=0", status: 400, base: "from 1 to 32"},
		{name: "fewer than nobody", target: "http://h/new?size=-1", status: 400, base: "from 1 to 32"},
		{name: "no number", target: "http://h/new?size=three", status: 400, base: "from 1 to 32"},
		{name: "broken query", target: "http://h/new?size=%zz", status: 400, base: "the query cannot be read"},
		{name: "put", method: "PUT", target: "http://h/new?size=1", status: 200, base: "http://h/", hasSize: "1"},
		{name: "delete", method: "DELETE", target: "http://h/new", status: 405},
		{name: "configured", cfg: Config{URL: "https://disco.example/x/"}, target: "http://h/new", status: 200, base: "https://disco.example/x/", hasSize: "3"},
		{name: "over TLS", target: "http://h/new", tune: func(r *http.Request) { r.TLS = new(tls.ConnectionState) }, status: 200, base: "https://h/", hasSize: "3"},
		{name: "a stranger's header", target: "http://h/new", tune: header("X-Forwarded-Proto", "https"), status: 200, base: "http://h/", hasSize: "3"},
		{name: "a proxy's header", cfg: Config{TrustForwarded: true}, target: "http://h/new", tune: header("X-Forwarded-Proto", "http, https"), status: 200, base: "https://h/", hasSize: "3"},
		{name: "a proxy's host", cfg: Config{TrustForwarded: true}, target: "http://h/new", tune: header("X-Forwarded-Host", "disco.example"), status: 200, base: "http://disco.example/", hasSize: "3"},
		{name: "no scheme", cfg: Config{TrustForwarded: true}, target: "http://h/new", tune: header("X-Forwarded-Proto", "javascript"), status: 200, base: "http://h/", hasSize: "3"},
		{name: "no host", target: "http://h/new", tune: func(r *http.Request) { r.Host = "" }, status: 400, base: "no host"},
		{name: "host with a path", target: "http://h/new", tune: func(r *http.Request) { r.Host = "h/p" }, status: 400, base: "no host"},
		{name: "host with a user", target: "http://h/new", tune: func(r *http.Request) { r.Host = "u@h" }, status: 400, base: "no host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := newService(tt.cfg)
			if tt.method == "" {
				tt.method = "GET"
			}
			if tt.tune == nil {
				tt.tune = func(*http.Request) {}
			}
			a := ask(t, s, tt.method, tt.target, "", tt.tune)
			if a.status != tt.status || !strings.Contains(a.body, tt.base) {
				t.Fatalf("%s %s = %d %q, want %d and %q", tt.method, tt.target, a.status, a.body, tt.status, tt.base)
			}
			if tt.status != http.StatusOK {
				return
			}
			token, ok := strings.CutPrefix(a.body, tt.base)
			if !ok || !isToken(token) {
				t.Fatalf("answer %q, want a token behind %q", a.body, tt.base)
			}
			v, _, err := m.Get(registryPath + "/" + token)
			if err != nil || v.Node.Expires == 0 {
				t.Errorf("the token in the store: %+v, %v, want a directory that expires", v.Node, err)
			}
			if n := ask(t, s, "GET", "/"+token+"/_config/size", "").node(t); n.Value != tt.hasSize || n.Key != "/_etcd/registry/"+token+"/_config/size" {
				t.Errorf("size %+v, want %s", n, tt.hasSize)
			}
		})
	}
}

func TestTokensDiffer(t *testing.T) {
	s, _ := newService(Config{})
	if a, b := mint(t, s, ""), mint(t, s, ""); a == b {
		t.Errorf("two tokens are %s", a)
	}
}

// What founding a cluster takes is possible below a token, and nothing else.
func TestBelowAToken(t *testing.T) {
	tests := []struct {
		name, method, below, form string
		status, code              int
	}{
		{"list", "GET", "", "", 200, 0},
		{"list with a slash", "GET", "/", "", 200, 0},
		{"head", "HEAD", "", "", 200, 0},
		{"a member", "GET", "/a", "", 200, 0},
		{"a member with a slash", "GET", "/a/", "", 200, 0},
		{"the size", "GET", "/_config/size", "", 200, 0},
		{"the directory of the size", "GET", "/_config", "", 200, 0},
		{"no such member", "GET", "/b", "", 404, 100},
		{"an old event", "GET", "/a?wait=true&waitIndex=1&recursive=true", "", 200, 0},
		{"no index", "GET", "/a?wait=true&waitIndex=x", "", 400, 203},
		{"no boolean", "GET", "/a?wait=maybe", "", 400, 209},
		{"endless watch", "GET", "?wait=true&stream=true", "", 403, 107},
		{"register", "PUT", "/b", "value=x", 201, 0},
		{"register without a condition", "PUT", "/a", "value=x", 200, 0},
		{"register a percent sign", "PUT", "/a%25b", "value=x", 201, 0},
		{"register again", "PUT", "/a?prevExist=false", "value=x", 412, 105},
		{"no boolean in a write", "PUT", "/b?prevExist=maybe", "value=x", 400, 209},
		{"with a TTL", "PUT", "/b", "value=x&ttl=60", 201, 0},
		{"no TTL", "PUT", "/b", "value=x&ttl=soon", 400, 202},
		{"broken form", "PUT", "/b", "value=%zz", 400, 210},
		{"broken query", "PUT", "/b?x=%zz", "value=x", 400, 210},
		{"huge body", "PUT", "/b", "x=" + strings.Repeat("y", bodyBytesMax), 400, 210},
		{"directory", "PUT", "/b?dir=true", "", 403, 107},
		{"no directory", "PUT", "/b?dir=false", "value=x", 201, 0},
		{"compare", "PUT", "/a?prevIndex=7", "value=x", 403, 107},
		{"leave", "DELETE", "/a", "", 200, 0},
		{"leave on a condition", "DELETE", "/a?prevValue=other", "", 412, 101},
		{"leave with all others", "DELETE", "/a?recursive=true", "", 200, 0},
		{"remove the token", "DELETE", "", "", 405, 0},
		{"remove the token recursively", "DELETE", "?recursive=true&dir=true", "", 405, 0},
		{"change the size", "PUT", "/_config/size", "value=1", 405, 0},
		{"remove the size", "DELETE", "/_config/size", "", 405, 0},
		{"hidden", "PUT", "/_x", "value=1", 405, 0},
		{"replace the token", "PUT", "", "value=x", 405, 0},
		{"in order", "POST", "", "value=x", 405, 0},
		{"deeper", "PUT", "/a/b", "value=x", 404, 0},
		{"deeper in disguise", "PUT", "/a%2Fb", "value=x", 404, 0},
		{"up", "GET", "/..", "", 404, 0},
		{"up in disguise", "GET", "/%2e%2e", "", 404, 0},
		{"two slashes", "GET", "//", "", 404, 0},
		{"long key", "PUT", "/" + strings.Repeat("k", keyBytesMax+1), "value=x", 404, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := newService(Config{})
			token := mint(t, s, "")
			arrive(t, s, token, "a", "a=http://a:1")
			before := m.tree.Index()
			a := ask(t, s, tt.method, token+tt.below, tt.form)
			if a.status != tt.status || a.code() != tt.code {
				t.Errorf("%s %s = %d %s, want %d and code %d", tt.method, tt.below, a.status, a.body, tt.status, tt.code)
			}
			if changed, may := m.tree.Index() > before, a.status < 300 && tt.method != "GET" && tt.method != "HEAD"; changed != may {
				t.Errorf("%s %s = %d changed something: %v", tt.method, tt.below, a.status, changed)
			}
			if tt.code != 0 && (a.header.Get("X-Etcd-Index") == "" || a.header.Get("X-Etcd-Cluster-Id") != "7e27652122e8b2ae") {
				t.Errorf("headers of a refusal: %v", a.header)
			}
		})
	}
}

func TestUnknownToken(t *testing.T) {
	s, m := newService(Config{})
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := ask(t, s, method, someToken+"/a", "value=x")
		if a.status != http.StatusNotFound || a.code() != 100 || m.tree.Index() != 0 {
			t.Errorf("%s = %d %s, want 404 and code 100", method, a.status, a.body)
		}
	}
}

func TestBeside(t *testing.T) {
	s, _ := newService(Config{})
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "next") })
	for _, path := range []string{"/", "/newer", "/new/", "/v2/keys/new", someToken + "0", strings.ToUpper(someToken), someToken + "/a/b", "/x" + someToken} {
		if a := ask(t, s.Beside(next), "GET", path, ""); a.body != "next" {
			t.Errorf("GET %s = %d %q, want the next handler's answer", path, a.status, a.body)
		}
		if a := ask(t, s, "GET", path, ""); a.status != http.StatusNotFound {
			t.Errorf("GET %s at the service alone = %d, want 404", path, a.status)
		}
	}
	for _, path := range []string{"/new", someToken, someToken + "/a"} {
		if a := ask(t, s.Beside(next), "GET", path, ""); a.body == "next" {
			t.Errorf("GET %s reached the next handler", path)
		}
		if a := ask(t, s.Beside(next), "OPTIONS", path, ""); a.body != "next" {
			t.Errorf("OPTIONS %s = %d %q, want the next handler's answer", path, a.status, a.body)
		}
	}
}

// A token ends with all that is below it, and in its last minute nobody comes in.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newService(Config{})
		token := mint(t, s, "")
		arrive(t, s, token, "a", "a=http://a:1")
		time.Sleep(7*24*time.Hour - 61*time.Second)
		arrive(t, s, token, "b", "b=http://b:1")
		time.Sleep(2 * time.Second)
		if a := ask(t, s, "PUT", token+"/c", "value=x"); a.status != http.StatusNotFound || a.code() != 100 {
			t.Errorf("registering in the last minute = %d %s, want 404", a.status, a.body)
		}
		if a := ask(t, s, "GET", token+"/a", ""); a.status != http.StatusOK {
			t.Errorf("looking in the last minute = %d %s, want 200", a.status, a.body)
		}
		time.Sleep(59 * time.Second)
		m.Do(t.Context(), store.Op{Action: store.Expire})
		for _, below := range []string{"", "/a", "/_config/size"} {
			if a := ask(t, s, "GET", token+below, ""); a.status != http.StatusNotFound || a.code() != 100 {
				t.Errorf("GET %s afterwards = %d %s, want 404", below, a.status, a.body)
			}
		}
	})
}

// A token that an operator has made by hand may last for ever.
func TestTokenByHand(t *testing.T) {
	s, m := newService(Config{})
	if _, err := m.Do(t.Context(), store.Op{Action: store.Create, Path: registryPath + someToken + "/" + sizeKey, Value: "1"}); err != nil {
		t.Fatal(err)
	}
	arrive(t, s, someToken, "a", "a=http://a:1")
	if a := ask(t, s, "GET", someToken, "", header("Accept", "text/html")); !strings.Contains(a.body, "All 1 have arrived") || strings.Contains(a.body, "go away") {
		t.Errorf("page of a token without an end:\n%s", a.body)
	}
}

// Members that are told of trouble in the cluster come again.
func TestNoQuorum(t *testing.T) {
	s, m := newService(Config{})
	token := mint(t, s, "")
	for _, err := range []error{&store.Error{Code: store.RaftInternal, Cause: "etcdserver: request timed out"}, http.ErrServerClosed} {
		m.mu.Lock()
		m.refuses = err
		m.mu.Unlock()
		for _, target := range []string{token, token + "/a"} {
			if a := ask(t, s, "GET", target, ""); a.status < 500 {
				t.Errorf("GET = %d %s, want a status of 5xx", a.status, a.body)
			}
		}
		if a := ask(t, s, "PUT", token+"/a", "value=x"); a.status < 500 || a.code() != 300 {
			t.Errorf("PUT = %d %s, want a status of 5xx and code 300", a.status, a.body)
		}
		if a := ask(t, s, "GET", "/new", ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("GET /new = %d %s, want 503", a.status, a.body)
		}
		if a := ask(t, s, "GET", token, "", header("Accept", "text/html")); a.status < 500 || !strings.Contains(a.body, "Try again") {
			t.Errorf("page = %d %s, want a status of 5xx", a.status, a.body)
		}
	}
}

package v2

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"etcd2/etcdserver"
	"etcd2/store"
)

// muxClean is what http.ServeMux of the reference made of a decoded path.
func muxClean(p string) string {
	if p == "" {
		return "/"
	}
	if p[0] != '/' {
		p = "/" + p
	}
	clean := path.Clean(p)
	if p[len(p)-1] == '/' && clean != "/" {
		clean += "/"
	}
	return clean
}

func TestCleanPath(t *testing.T) {
	tests := []struct{ path, want string }{
		{"", "/"},
		{"/", "/"},
		{"/v2/keys", "/v2/keys"},
		{"/v2/keys/foo/", "/v2/keys/foo/"},
		{"/v2/keys//foo", "/v2/keys/foo"},
		{"/v2/keys/foo//", "/v2/keys/foo/"},
		{"/v2/keys/./foo", "/v2/keys/foo"},
		{"/v2/keys/foo/.", "/v2/keys/foo"},
		{"/v2/keys/x/../foo", "/v2/keys/foo"},
		{"/v2/keys/../../../0", "/0"},
		{"/v2/keys/..", "/v2"},
		{"/v2/keys/...", "/v2/keys/..."},
		{"/v2/keys/a.", "/v2/keys/a."},
		{"/v2/keys/..a", "/v2/keys/..a"},
		{"v2/keys", "/v2/keys"},
		{"*", "/*"},
	}
	for _, tt := range tests {
		if got := cleanPath(tt.path); got != tt.want {
			t.Errorf("cleanPath(%q) = %q, want %q", tt.path, got, tt.want)
		}
		if got, want := isClean(tt.path), tt.path == tt.want; got != want {
			t.Errorf("isClean(%q) = %t, want %t", tt.path, got, want)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"", "/", "//", "/v2/keys/../../0", "/v2/keys/a/./b//", "/v2/keys/\x00/..", "a/..", "/...", "/\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		clean := cleanPath(p)
		if want := muxClean(p); clean != want {
			t.Fatalf("cleanPath(%q) = %q, want %q", p, clean, want)
		}
		if got, want := isClean(p), clean == p; got != want {
			t.Fatalf("isClean(%q) = %t, want %t", p, got, want)
		}
		if !isClean(clean) {
			t.Fatalf("isClean(cleanPath(%q)) = false", p)
		}
	})
}

// pathRecorder refuses everything and remembers what it was asked for.
type pathRecorder struct {
	*member
	paths []string
}

func (p *pathRecorder) Get(path string) (store.View, etcdserver.Position, error) {
	p.paths = append(p.paths, path)
	return store.View{}, etcdserver.Position{}, &store.Error{Code: store.KeyNotFound}
}

func checkInside(t *testing.T, target string, paths []string) {
	t.Helper()
	for _, p := range paths {
		if p != "/1" && !strings.HasPrefix(p, "/1/") || path.Clean(p) != p {
			t.Fatalf("GET %q reached %q, outside /1", target, p)
		}
	}
}

// FuzzKeySpace sends arbitrary request targets and sees that nothing outside the
// key space is asked for.
func FuzzKeySpace(f *testing.F) {
	for _, seed := range []string{
		"/v2/keys/%2e%2e/%2e%2e/0/members", "/v2/keys/..%2f..%2f0", "/v2/keys/%2F%2F", "/v2/keys/a%2F..%2F..%2F2",
		"/v2/keys/%00/%2e%2e/%2e%2e/2", "/v2/keys%2f..%2f0", "/v2/keys/\xff", "http://h/v2/keys/../0", "/v2/keys/%2e", "/v2/keys/.%2e/x",
	} {
		f.Add(seed)
	}
	m := newMember(f)
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers this one
		}
		rec := &pathRecorder{member: m}
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Header: http.Header{}, Body: http.NoBody}
		Handler(rec, Config{}).ServeHTTP(httptest.NewRecorder(), r)
		checkInside(t, target, rec.paths)
	})
}

func TestTricksStayInTheKeySpace(t *testing.T) {
	m := newMember(t)
	for _, target := range []string{
		"/v2/keys/../../0/version", "/v2/keys/%2e%2e/%2e%2e/0/version", "/v2/keys/%2e%2e%2f0/version",
		"/v2/keys/a%2F..%2F..%2F0%2Fversion", "/v2/keys//0/version", "/v2/keys/%2F%2e%2e%2F0/version",
		"/v2/keys/%00/../../0/version", "/v2/keys/..%00/0/version", "/v2/keys/0/version", "/v2/keys/2",
	} {
		rec := &pathRecorder{member: m}
		r := httptest.NewRequest("GET", "http://h"+target, nil)
		w := httptest.NewRecorder()
		Handler(rec, Config{}).ServeHTTP(w, r)
		checkInside(t, target, rec.paths)
		if w.Code != http.StatusMovedPermanently && w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 301 or 404", target, w.Code)
		}
	}
}

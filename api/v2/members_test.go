package v2

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"etcd2/etcdserver"
	"etcd2/store"
)

const (
	one    = `{"id":"1","name":"one","peerURLs":["http://a:2380","http://b:2380"],"clientURLs":["http://b:2379","http://a:2379"]}`
	two    = `{"id":"2","name":"\u003c2\u003e","peerURLs":["http://c:2380"],"clientURLs":["http://a:4001"]}`
	coffee = `{"id":"c0ffee","name":"","peerURLs":["http://d:2380"],"clientURLs":[]}`
	added  = `{"id":"abc","name":"","peerURLs":["http://e:2380","http://f:2380"],"clientURLs":[]}`

	typeText = "text/plain; charset=utf-8"
	refused5 = `{"message":"Internal Server Error"}`
)

// changeRequest sends JSON, unless contentType says otherwise.
func changeRequest(m *member, cfg Config, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	Handler(m, cfg).ServeHTTP(w, r)
	return w
}

func urls(list ...string) string { return `{"peerURLs":["` + strings.Join(list, `","`) + `"]}` }

// TestMembersStory is what one client sees of one cluster, step by step.
func TestMembersStory(t *testing.T) {
	m := newMember(t)
	steps := []struct {
		method, target, body string
		status               int
		answer               string
	}{
		{"GET", "/v2/members", "", 200, `{"members":[` + one + `,` + two + `,` + coffee + "]}\n"},
		{"GET", "/v2/members/", "", 200, `{"members":[` + one + `,` + two + `,` + coffee + "]}\n"},
		{"GET", "/v2/members/leader", "", 200, one + "\n"},
		{"GET", "/v2/members/leader/", "", 404, `{"message":"Not found"}`},
		{"GET", "/v2/members/1", "", 404, `{"message":"Not found"}`},

		{"POST", "/v2/members", urls("http://f:2380", " http://e:2380"), 201, added + "\n"},
		{"POST", "/v2/members", urls("http://g:2380"), 409, `{"message":"etcdserver: ID exists"}`},
		{"DELETE", "/v2/members/ABC", "", 204, ""},
		{"DELETE", "/v2/members/abc", "", 410, `{"message":"Member permanently removed: abc"}`},
		{"PUT", "/v2/members/abc", urls("http://g:2380"), 410, `{"message":"Member permanently removed: abc"}`},
		{"POST", "/v2/members/leader", urls("http://c:2380", "http://x:1"), 409, `{"message":"etcdserver: peerURL exists"}`},
		{"POST", "/v2/members/any/path", `{"peerURLs":["http://e:2380","http://f:2380"],"name":"x","id":7}`, 201, added + "\n"},

		{"PUT", "/v2/members/2", urls("http://c:2380", "http://c:2381"), 204, ""},
		{"PUT", "/v2/members/2", urls("http://d:2380"), 409, `{"message":"etcdserver: peerURL exists"}`},
		{"PUT", "/v2/members/0bad", urls("http://d:2380"), 404, `{"message":"No such member: bad"}`},
		{"PUT", "/v2/members/xyz", "no JSON", 404, `{"message":"No such member: xyz"}`},
		{"PUT", "/v2/members/0x2", urls("http://d:2380"), 404, `{"message":"No such member: 0x2"}`},
		{"DELETE", "/v2/members/bad", "", 404, `{"message":"No such member: bad"}`},
		{"DELETE", "/v2/members/2/", "", 404, `{"message":"No such member: 2/"}`},
		{"DELETE", "/v2/members/leader", "", 404, `{"message":"No such member: leader"}`},

		{"POST", "/v2/members/leader?transfer=2", "", 204, ""},
		{"GET", "/v2/members/leader", "", 200, strings.Replace(two, `c:2380"`, `c:2380","http://c:2381"`, 1) + "\n"},
		{"POST", "/v2/members/leader?transfer=c0ffee", "", 409, `{"message":"etcdserver: the member does not vote yet"}`},
		{"POST", "/v2/members/leader?transfer=bad", "", 404, `{"message":"No such member: bad"}`},
		{"POST", "/v2/members/leader?transfer=abcdefg", "", 404, `{"message":"No such member: abcdefg"}`},
		{"POST", "/v2/members/leader?transfer=", "", 404, `{"message":"No such member: "}`},
		{"POST", "/v2/members?transfer=1", "", 400, `{"message":"unexpected end of JSON input"}`},
		{"DELETE", "/v2/members/2", "", 204, ""},
		{"GET", "/v2/members/leader", "", 503, `{"message":"During election"}`},
	}
	for _, s := range steps {
		w := changeRequest(m, Config{}, s.method, s.target, "application/json", s.body)
		contentType := "application/json"
		if s.status == 204 {
			contentType = ""
		}
		if w.Code != s.status || w.Body.String() != s.answer || w.Header().Get("Content-Type") != contentType {
			t.Errorf("%s %s %s = %d %q %q, want %d %q %q", s.method, s.target, s.body,
				w.Code, w.Header().Get("Content-Type"), w.Body, s.status, contentType, s.answer)
		}
		if got := w.Header().Get("X-Etcd-Cluster-Id"); got != "7e27652122e8b2ae" {
			t.Errorf("%s %s: X-Etcd-Cluster-Id %q", s.method, s.target, got)
		}
	}
}

func TestMembersMethods(t *testing.T) {
	m := newMember(t)
	for _, path := range []string{"/v2/members", "/v2/members/", "/v2/members/1", "/v2/members/leader"} {
		for _, method := range []string{"HEAD", "PATCH", "TRACE", "get"} {
			w := changeRequest(m, Config{}, method, path, "application/json", "")
			header := w.Header()
			if w.Code != 405 || w.Body.String() != "Method Not Allowed\n" || header.Get("Allow") != membersAllow ||
				header.Get("Content-Type") != typeText || header.Get("X-Etcd-Cluster-Id") != "" {
				t.Errorf("%s %s = %d %q, %v", method, path, w.Code, w.Body, header)
			}
		}
	}
	for _, path := range []string{"/v2/members", "/v2/members/"} {
		for _, method := range []string{"PUT", "DELETE"} {
			w := changeRequest(m, Config{}, method, path, "text/plain", "")
			header := w.Header()
			if _, allow := header["Allow"]; w.Code != 405 || allow || w.Body.String() != "Method Not Allowed\n" ||
				header.Get("Content-Type") != typeText || header.Get("X-Etcd-Cluster-Id") == "" {
				t.Errorf("%s %s = %d %q, %v", method, path, w.Code, w.Body, header)
			}
		}
	}
	if w := changeRequest(m, Config{}, "GET", "/v2/membership", "", ""); w.Code != 404 || w.Header().Get("X-Etcd-Cluster-Id") != "" {
		t.Errorf("GET /v2/membership = %d, %v", w.Code, w.Header())
	}
}

func TestMembersBodies(t *testing.T) {
	const good = "application/json"
	tests := []struct {
		contentType, body string
		status            int
		message           string
	}{
		{"", urls("http://x:1"), 415, "Bad Content-Type , accept application/json"},
		{"text/plain", "", 415, "Bad Content-Type text/plain, accept application/json"},
		{good + "x", urls("http://x:1"), 415, "Bad Content-Type application/jsonx, accept application/json"},
		{"text/json; charset=utf-8", urls("http://x:1"), 415, "Bad Content-Type text/json; charset=utf-8, accept application/json"},
		{"application", urls("http://x:1"), 415, "Bad Content-Type application, accept application/json"},
		{good + "; charset", urls("http://x:1"), 415, "Bad Content-Type application/json; charset, accept application/json"},
		{good + "; a=1; a=2", urls("http://x:1"), 415, "Bad Content-Type application/json; a=1; a=2, accept application/json"},
		{good + ", text/plain", urls("http://x:1"), 415, "Bad Content-Type application/json, text/plain, accept application/json"},
		{good + "; charset=utf-8", "{}", 400, "no valid URLs given"},
		{good, "", 400, "unexpected end of JSON input"},
		{good, "{", 400, "unexpected end of JSON input"},
		{good, "}", 400, "invalid character '}' looking for beginning of value"},
		{good, "{}", 400, "no valid URLs given"},
		{good, "null", 400, "no valid URLs given"},
		{good, `{"peerURLs":[]}`, 400, "no valid URLs given"},
		{good, urls("x"), 400, "URL scheme must be http or https: x"},
		{good, urls("http://x"), 400, `URL address does not have the form \"host:port\": http://x`},
		{good, urls("http://x:1/"), 400, "URL must not contain a path: http://x:1/"},
		{good, urls("http://x:1", "ftp://x:1"), 400, "URL scheme must be http or https: ftp://x:1"},
		{good, `{"peerURLs":["` + strings.Repeat("x", memberBytesMax), 400, "http: request body too large"},
	}
	for _, tt := range tests {
		for _, target := range []string{"POST /v2/members", "PUT /v2/members/1"} {
			m := newMember(t)
			method, target, _ := strings.Cut(target, " ")
			w := changeRequest(m, Config{}, method, target, tt.contentType, tt.body)
			if want := `{"message":"` + tt.message + `"}`; w.Code != tt.status || w.Body.String() != want {
				t.Errorf("%s %.80s of %q = %d %s, want %d %s", method, tt.body, tt.contentType, w.Code, w.Body, tt.status, want)
			}
		}
	}
}

// Parameters and case of the content type do not matter.
func TestMembersContentType(t *testing.T) {
	for _, contentType := range []string{
		"application/json", "application/json;", "application/json; charset=utf-8", "application/json;charset=UTF-8",
		`Application/JSON; Charset="utf-8"; x=y`, " application/json ; charset=latin1",
	} {
		m := newMember(t)
		if w := changeRequest(m, Config{}, "POST", "/v2/members", contentType, urls("http://x:1")); w.Code != 201 {
			t.Errorf("POST of %q = %d %s, want 201", contentType, w.Code, w.Body)
		}
		if w := changeRequest(m, Config{}, "PUT", "/v2/members/1", contentType, urls("http://x:2")); w.Code != 204 {
			t.Errorf("PUT of %q = %d %s, want 204", contentType, w.Code, w.Body)
		}
	}
}

// Raft takes the ID 0 for "no member", so a change of it is refused before the server
// sees it. A POST does not name a member: it adds one.
func TestMemberZero(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		answer         string
	}{
		{"DELETE", "/v2/members/0", 404, `{"message":"No such member: 0"}`},
		{"DELETE", "/v2/members/00", 404, `{"message":"No such member: 0"}`},
		{"DELETE", "/v2/members/0000000000000000", 404, `{"message":"No such member: 0"}`},
		{"PUT", "/v2/members/0", 404, `{"message":"No such member: 0"}`},
		{"PUT", "/v2/members/00000000000000000000", 404, `{"message":"No such member: 0"}`},
		{"POST", "/v2/members/leader?transfer=0", 404, `{"message":"No such member: 0"}`},
		{"GET", "/v2/members/0", 404, `{"message":"Not found"}`}, // as for every ID
		{"POST", "/v2/members/0", 500, refused5},                 // asked the server
	}
	for _, tt := range tests {
		m := newMember(t)
		m.others.refuses = errors.New("the server was asked")
		w := changeRequest(m, Config{}, tt.method, tt.target, "application/json", urls("http://x:1"))
		if w.Code != tt.status || w.Body.String() != tt.answer {
			t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.target, w.Code, w.Body, tt.status, tt.answer)
		}
	}
}

// What only the operator is told stands in the log, in the words of 2.3.8.
func TestMembersRefusedInSilence(t *testing.T) {
	late := &store.Error{Code: store.RaftInternal, Cause: "etcdserver: request timed out"}
	tests := []struct {
		method, target string
		err            error
		log            string
		status         int
		answer         string
	}{
		{"POST", "/v2/members", etcdserver.ErrUnsafeChange, etcdserver.ErrUnsafeChange.Error(), 500, refused5},
		{"DELETE", "/v2/members/2", etcdserver.ErrUnsafeChange, etcdserver.ErrUnsafeChange.Error(), 500, refused5},
		{"POST", "/v2/members", late, "error adding member abc (etcdserver: request timed out)", 500, refused5},
		{"PUT", "/v2/members/02", late, "error updating member 2 (etcdserver: request timed out)", 500, refused5},
		{"DELETE", "/v2/members/2", errNoLeader, "error removing member 2 (no leader)", 500, refused5},
		{"POST", "/v2/members/leader?transfer=2", late, "error transferring leadership to member 2 (etcdserver: request timed out)", 503,
			`{"message":"etcdserver: request timed out"}`},
	}
	for _, tt := range tests {
		m := newMember(t)
		m.others.refuses = tt.err
		var log bytes.Buffer
		cfg := Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		w := changeRequest(m, cfg, tt.method, tt.target, "application/json", urls("http://x:1"))
		if w.Code != tt.status || w.Body.String() != tt.answer || w.Header().Get("X-Etcd-Cluster-Id") == "" {
			t.Errorf("%s %s with %v = %d %s, %v; want %d %s", tt.method, tt.target, tt.err, w.Code, w.Body, w.Header(), tt.status, tt.answer)
		}
		if line := log.String(); !strings.Contains(line, "level=ERROR msg=\""+tt.log+"\"\n") {
			t.Errorf("%s %s with %v logs %s, want %q", tt.method, tt.target, tt.err, line, tt.log)
		}
	}

	m := newMember(t)
	m.others.refuses, m.others.leader = late, 0
	if w := changeRequest(m, Config{}, "POST", "/v2/members/leader?transfer=2", "", ""); w.Code != 503 || w.Body.String() != `{"message":"During election"}` {
		t.Errorf("transfer without a leader = %d %s", w.Code, w.Body)
	}
}

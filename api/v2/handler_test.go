package v2

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"etcd2/store"
)

// call sends one request straight into the handler. A body makes it a form.
func call(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestKeysStory(t *testing.T) {
	h := Handler(newMember(t), Config{})
	steps := []struct {
		method, target, form string
		status               int
		index                string
		body                 string
	}{
		{"PUT", "/v2/keys/foo", "value=1", 201, "4",
			`{"action":"set","node":{"key":"/foo","value":"1","modifiedIndex":4,"createdIndex":4}}`},
		{"PUT", "/v2/keys/foo", "value=2", 200, "5",
			`{"action":"set","node":{"key":"/foo","value":"2","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/foo","value":"1","modifiedIndex":4,"createdIndex":4}}`},
		{"GET", "/v2/keys/foo", "", 200, "5",
			`{"action":"get","node":{"key":"/foo","value":"2","modifiedIndex":5,"createdIndex":5}}`},
		{"GET", "/v2/keys/foo?quorum=true&wait=true", "", 200, "5",
			`{"action":"get","node":{"key":"/foo","value":"2","modifiedIndex":5,"createdIndex":5}}`},
		{"PUT", "/v2/keys/foo?prevExist=false", "value=3", 412, "5",
			`{"errorCode":105,"message":"Key already exists","cause":"/foo","index":5}`},
		{"PUT", "/v2/keys/foo?prevValue=9", "value=3", 412, "5",
			`{"errorCode":101,"message":"Compare failed","cause":"[9 != 2]","index":5}`},
		{"PUT", "/v2/keys/foo?noValueOnSuccess=true", "value=3", 200, "6", `{"action":"set"}`},
		{"PUT", "/v2/keys/new?noValueOnSuccess=true", "value=3", 201, "7", `{"action":"set"}`},
		{"DELETE", "/v2/keys/new?noValueOnSuccess=true", "", 200, "8",
			`{"action":"delete","node":{"key":"/new","modifiedIndex":8,"createdIndex":7},"prevNode":{"key":"/new","value":"3","modifiedIndex":7,"createdIndex":7}}`},
		{"POST", "/v2/keys/q", "value=j", 201, "9",
			`{"action":"create","node":{"key":"/q/00000000000000000009","value":"j","modifiedIndex":9,"createdIndex":9}}`},
		{"GET", "/v2/keys?sorted=true", "", 200, "9",
			`{"action":"get","node":{"dir":true,"nodes":[{"key":"/foo","value":"3","modifiedIndex":6,"createdIndex":6},{"key":"/q","dir":true,"modifiedIndex":9,"createdIndex":9}]}}`},
		{"GET", "/v2/keys/nope", "", 404, "9",
			`{"errorCode":100,"message":"Key not found","cause":"/nope","index":9}`},
		{"PUT", "/v2/keys/", "value=1", 400, "9",
			`{"errorCode":107,"message":"Root is read only","cause":"/","index":9}`},
		{"GET", "/v2/keys/nope?recursive=x", "", 400, "0",
			`{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"recursive\"","index":0}`},
		{"PUT", "/v2/keys/%3Cx%3E%26", "value=%ff", 201, "10",
			`{"action":"set","node":{"key":"/\u003cx\u003e\u0026","value":"\ufffd","modifiedIndex":10,"createdIndex":10}}`},
		{"PUT", "/v2/keys/x%2Fy", "value=1", 201, "11",
			`{"action":"set","node":{"key":"/x/y","value":"1","modifiedIndex":11,"createdIndex":11}}`},
	}
	for _, s := range steps {
		w := call(h, s.method, s.target, s.form)
		if w.Code != s.status || w.Body.String() != s.body+"\n" {
			t.Errorf("%s %s = %d %swant %d %s", s.method, s.target, w.Code, w.Body, s.status, s.body)
		}
		header := w.Header()
		if got := header.Get("X-Etcd-Index"); got != s.index {
			t.Errorf("%s %s: X-Etcd-Index %q, want %q", s.method, s.target, got, s.index)
		}
		if got := header.Get("X-Etcd-Cluster-Id"); got != "7e27652122e8b2ae" {
			t.Errorf("%s %s: X-Etcd-Cluster-Id %q", s.method, s.target, got)
		}
		if got := header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: Content-Type %q", s.method, s.target, got)
		}
		good := s.status < 300
		if (header.Get("X-Raft-Index") != "") != good || (header.Get("X-Raft-Term") == "2") != good {
			t.Errorf("%s %s: X-Raft-Index %q, X-Raft-Term %q with status %d",
				s.method, s.target, header.Get("X-Raft-Index"), header.Get("X-Raft-Term"), s.status)
		}
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	m := newMember(t)
	h := Handler(m, Config{})
	tests := []struct {
		err  error
		want string
	}{
		{&store.Error{Code: store.RaftInternal, Cause: "etcdserver: request timed out"},
			`{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}`},
		{errNoLeader,
			`{"errorCode":300,"message":"Raft Internal Error","cause":"no leader","index":0}`},
	}
	for _, tt := range tests {
		m.refuses = tt.err
		for _, target := range []string{"PUT /v2/keys/a", "DELETE /v2/keys/a", "GET /v2/keys/a?quorum=true"} {
			method, target, _ := strings.Cut(target, " ")
			w := call(h, method, target, "")
			if w.Code != 500 || w.Body.String() != tt.want+"\n" || w.Header().Get("X-Etcd-Index") != "0" {
				t.Errorf("%s %s = %d, X-Etcd-Index %q, %swant 500, 0, %s",
					method, target, w.Code, w.Header().Get("X-Etcd-Index"), w.Body, tt.want)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	h := Handler(newMember(t), Config{})
	allow := map[string]string{
		"/v2/keys/foo":        keysAllow,
		"/v2/keys":            keysAllow,
		"/v2/machines":        "GET,HEAD",
		"/v2/stats/self":      "GET",
		"/v2/stats/leader":    "GET",
		"/v2/stats/store":     "GET",
		"/v2/stats/agreement": "GET",
		"/version":            "GET",
		"/health":             "GET",
		"/livez":              "GET,HEAD",
		"/readyz":             "GET,HEAD",
		"/debug/vars":         "GET",
		"/config/local/log":   "PUT",
	}
	for path, list := range allow {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "TRACE", "FOO", "put"} {
			w := call(h, method, path+"?recursive=x", "")
			refused := w.Code == http.StatusMethodNotAllowed
			if refused == strings.Contains(","+list+",", ","+method+",") {
				t.Errorf("%s %s: status %d, allowed are %s", method, path, w.Code, list)
			}
			if !refused {
				continue
			}
			header := w.Header()
			if w.Body.String() != "Method Not Allowed\n" || header.Get("Allow") != list ||
				header.Get("Content-Type") != "text/plain; charset=utf-8" || header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s = %q, %v", method, path, w.Body, header)
			}
			if header.Get("X-Etcd-Cluster-Id") != "" || header.Get("X-Etcd-Index") != "" {
				t.Errorf("%s %s: a 405 with X-Etcd headers: %v", method, path, header)
			}
		}
	}
}

func TestNotFound(t *testing.T) {
	h := Handler(newMember(t), Config{})
	for _, path := range []string{
		"/", "/v2", "/v2/", "/v2/keysfoo", "/V2/keys", "/v1/keys/a", "/keys/a", "/v2/stats", "/v2/stats/", "/v2/stats/self/",
		"/v2/machines/", "/version/", "/health/", "/v2/leader", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap",
		"/config/local", "/metrics/", "/favicon.ico",
	} {
		for _, method := range []string{"GET", "PUT", "HEAD"} {
			w := call(h, method, path, "")
			header := w.Header()
			if w.Code != 404 || w.Body.String() != "404 page not found\n" ||
				header.Get("Content-Type") != "text/plain; charset=utf-8" || header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s = %d %q %v", method, path, w.Code, w.Body, header)
			}
		}
	}
}

func TestRedirects(t *testing.T) {
	h := Handler(newMember(t), Config{})
	tests := []struct{ target, location, body string }{
		{"/v2/keys//foo", "/v2/keys/foo", `<a href="/v2/keys/foo">Moved Permanently</a>.`},
		{"/v2/keys/x/%2e%2e/foo", "/v2/keys/foo", `<a href="/v2/keys/foo">Moved Permanently</a>.`},
		{"/v2/keys/x%2F%2Fy", "/v2/keys/x/y", `<a href="/v2/keys/x/y">Moved Permanently</a>.`},
		{"/v2/keys/x//y?recursive=true&sorted=true", "/v2/keys/x/y?recursive=true&sorted=true",
			`<a href="/v2/keys/x/y?recursive=true&amp;sorted=true">Moved Permanently</a>.`},
		{"/v2/keys/../../etc", "/etc", `<a href="/etc">Moved Permanently</a>.`},
		{"/v2/keys//a%3Fb%20c", "/v2/keys/a%3Fb%20c", `<a href="/v2/keys/a%3Fb%20c">Moved Permanently</a>.`},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
			w := call(h, method, tt.target, "")
			header := w.Header()
			body, contentType := "", ""
			if method == "GET" || method == "HEAD" {
				contentType = "text/html; charset=utf-8"
			}
			if method == "GET" {
				body = tt.body + "\n\n"
			}
			if w.Code != 301 || header.Get("Location") != tt.location || header.Get("Content-Type") != contentType || w.Body.String() != body {
				t.Errorf("%s %s = %d, Location %q, Content-Type %q, %q; want 301, %q, %q, %q", method, tt.target,
					w.Code, header.Get("Location"), header.Get("Content-Type"), w.Body, tt.location, contentType, body)
			}
			if header.Get("X-Etcd-Cluster-Id") != "" {
				t.Errorf("%s %s: a 301 with X-Etcd headers", method, tt.target)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	h := Handler(newMember(t), Config{})
	for _, path := range []string{"/v2/keys/foo", "/nope", "/v2/keys//x", "/version"} {
		if w := call(h, "OPTIONS", path, ""); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("OPTIONS %s = %d %q, want an empty 200", path, w.Code, w.Body)
		}
	}
}

func TestCORS(t *testing.T) {
	tests := []struct {
		cors         []string
		origin, want string
	}{
		{nil, "http://a", ""},
		{[]string{"http://a", "http://b:80"}, "http://a", "http://a"},
		{[]string{"http://a", "http://b:80"}, "http://b:80", "http://b:80"},
		{[]string{"http://a", "http://b:80"}, "http://b", ""},
		{[]string{"http://a"}, "", ""},
		{[]string{"*"}, "", "*"},
		{[]string{"http://a", "*"}, "http://a", "*"},
	}
	for _, tt := range tests {
		h := Handler(newMember(t), Config{CORS: tt.cors})
		for _, target := range []string{"GET /version", "GET /v2/keys/nope", "OPTIONS /x", "GET /nope", "PATCH /v2/keys/a", "GET /v2/keys//a"} {
			method, target, _ := strings.Cut(target, " ")
			r := httptest.NewRequest(method, target, nil)
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			header := w.Header()
			methods, headers := "", ""
			if tt.want != "" {
				methods, headers = "POST, GET, OPTIONS, PUT, DELETE", "accept, content-type, authorization"
			}
			if header.Get("Access-Control-Allow-Origin") != tt.want ||
				header.Get("Access-Control-Allow-Methods") != methods || header.Get("Access-Control-Allow-Headers") != headers {
				t.Errorf("%s %s from %q with CORS %q: headers %v, want origin %q", method, target, tt.origin, tt.cors, header, tt.want)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	const cutShort = `{"errorCode":210,"message":"Invalid POST form","cause":"unexpected EOF","index":0}`
	const tooLarge = `{"errorCode":210,"message":"Invalid POST form","cause":"http: POST too large","index":0}`
	big := func(n int) io.Reader { return strings.NewReader("value=" + strings.Repeat("x", n-len("value="))) }
	tests := []struct {
		name, contentType string
		body              io.Reader
		length            int64
		value             string // "" when refused
		refusal           string
	}{
		{"form", formType, strings.NewReader("value=a"), 7, "a", ""},
		{"form of unknown length", formType, strings.NewReader("value=a"), -1, "a", ""},
		{"a byte at a time", formType, iotest.OneByteReader(strings.NewReader("value=a")), -1, "a", ""},
		{"parameters of the type", formType + "; charset=utf-8", strings.NewReader("value=a"), 7, "a", ""},
		{"capitals", strings.ToUpper(formType), strings.NewReader("value=a"), 7, "a", ""},
		{"no type", "", strings.NewReader("value=ignored"), 13, "query", ""},
		{"another type", "application/json", strings.NewReader("value=ignored"), 13, "query", ""},
		{"multipart", "multipart/form-data; boundary=x", strings.NewReader("value=ignored"), 13, "query", ""},
		{"malformed type", "a/b; ;", strings.NewReader("value=ignored"), 13, "",
			`{"errorCode":210,"message":"Invalid POST form","cause":"mime: invalid media parameter","index":0}`},
		{"cut short", formType, io.MultiReader(strings.NewReader("value=a"), iotest.ErrReader(io.ErrUnexpectedEOF)), 100, "", cutShort},
		{"largest", formType, big(bodyBytesMax), bodyBytesMax, strings.Repeat("x", bodyBytesMax-len("value=")), ""},
		{"too large", formType, big(bodyBytesMax + 1), bodyBytesMax + 1, "", tooLarge},
		{"too large, of unknown length", formType, big(bodyBytesMax + 1), -1, "", tooLarge},
		{"too large and cut short", formType, io.MultiReader(strings.NewReader("value=a"), iotest.ErrReader(io.ErrUnexpectedEOF)), bodyBytesMax + 1, "", cutShort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMember(t)
			r := httptest.NewRequest("PUT", "/v2/keys/k?value=query", tt.body)
			r.ContentLength = tt.length
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			w := httptest.NewRecorder()
			Handler(m, Config{}).ServeHTTP(w, r)
			n, stored := m.tree.Lookup("/1/k")
			if tt.refusal != "" {
				if w.Code != 400 || w.Body.String() != tt.refusal+"\n" || stored {
					t.Errorf("PUT = %d %swant 400 %s; stored: %t", w.Code, w.Body, tt.refusal, stored)
				}
				return
			}
			if w.Code != 201 || !stored || n.Value != tt.value {
				t.Errorf("PUT = %d, stored %t, want 201 and a value of %d bytes", w.Code, stored, len(tt.value))
			}
		})
	}
}

// goneWriter is the connection of a client that has left.
type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestLongListingToAClientThatLeft(t *testing.T) {
	m := newMember(t)
	for _, key := range []string{"/1/a", "/1/b"} {
		if _, err := m.Do(t.Context(), store.Op{Action: store.Set, Path: key, Value: strings.Repeat("v", chunkBytes)}); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if e := recover(); e != http.ErrAbortHandler {
			t.Errorf("handler panicked with %v, want http.ErrAbortHandler, so that the connection is cut", e)
		}
	}()
	Handler(m, Config{}).ServeHTTP(goneWriter{httptest.NewRecorder()}, httptest.NewRequest("GET", "/v2/keys", nil))
}

// Targets that are no paths are refused in the way of http.ServeMux, which stands
// before the handlers of 2.3.8.
func TestTargetsThatAreNoPaths(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
	}{
		{"GET", "*", 400},
		{"PRI", "*", 400},
		{"OPTIONS", "*", 200},
		{"CONNECT", "127.0.0.1:80", 404},
		{"CONNECT", "//x", 404},
		{"CONNECT", "/v2/keys/../../0", 405},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.RequestURI, r.URL.Path = tt.method, tt.target, tt.target
		if tt.method == "CONNECT" && tt.target[0] != '/' {
			r.URL.Path = ""
		}
		w := httptest.NewRecorder()
		Handler(newMember(t), Config{}).ServeHTTP(w, r)
		if w.Code != tt.status || w.Header().Get("Location") != "" {
			t.Errorf("%s %s = %d, Location %q, want %d", tt.method, tt.target, w.Code, w.Header().Get("Location"), tt.status)
		}
	}
}

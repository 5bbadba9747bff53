package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// carrier is a RoundTripper from a function.
type carrier func(*http.Request) (*http.Response, error)

func (f carrier) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// says makes an answer.
func says(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"X-Etcd-Index": {"7"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// newClient makes a Client and ends its connections with the test.
func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatalf("New(%+v) = %v", cfg, err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve runs a server for the test.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// down is a URL at which nobody listens any more.
func down() string {
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.URL
}

const oneNode = `{"action":"get","node":{"key":"/k","value":"v","createdIndex":3,"modifiedIndex":4}}`

func TestEndpoints(t *testing.T) {
	tests := []struct{ endpoint, want string }{
		{"http://h:1", "http://h:1"},
		{"http://h:1/", "http://h:1"},
		{"https://h/base/?q#f", "https://h/base"},
		{"127.0.0.1:2379", "http://127.0.0.1:2379"},
		{"localhost:2379", "http://localhost:2379"},
		{"http://a b", ""},
		{"http://h:port", ""},
	}
	for _, tt := range tests {
		c, err := New(Config{Endpoints: []string{tt.endpoint}})
		if tt.want == "" {
			if err == nil {
				t.Errorf("New(%q) = %q, want an error", tt.endpoint, c.Endpoints())
			}
			continue
		}
		if err != nil || !slices.Equal(c.Endpoints(), []string{tt.want}) {
			t.Errorf("New(%q) = %v, %v, want %q", tt.endpoint, c, err, tt.want)
		}
	}
	if _, err := newClient(t, Config{}).Keys().Get(t.Context(), "/k", GetOptions{}); err != ErrNoEndpoints {
		t.Errorf("Get without endpoints = %v", err)
	}
}

// TestFailover: every kind of failure moves to the next endpoint, and the one that
// answered is the first to be asked afterwards.
func TestFailover(t *testing.T) {
	status := func(code int) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "{")
	})
	var around string
	around = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, around+r.URL.Path, http.StatusFound) })
	gone, failing, slow, gateway, nowhere := down(), status(500), status(503), status(502), status(307)
	_, refused := net.Dial("tcp", strings.TrimPrefix(gone, "http://"))
	bad := []struct{ url, text string }{
		{gone, refused.Error()},
		{failing, "client: etcd member " + failing + " has no leader"},
		{slow, "client: etcd member " + slow + " has no leader"},
		{gateway, "client: etcd member " + gateway + " returns server error [Bad Gateway]"},
		{nowhere, "client: Location header not set"},
		{around, "client: too many redirects"},
		{cut, "unexpected EOF"},
		{"ftp://h", `unsupported protocol scheme "ftp"`},
	}
	var urls []string
	want := "client: etcd cluster is unavailable or misconfigured"
	for i, b := range bad {
		urls = append(urls, b.url)
		want += fmt.Sprintf("; error #%d: %s", i, b.text)
	}
	c := newClient(t, Config{Endpoints: urls})
	_, err := c.Keys().Get(t.Context(), "/k", GetOptions{})
	var all *ClusterError
	if !errors.As(err, &all) || err.Error() != want {
		t.Fatalf("Get = %v\nwant %s", err, want)
	}
	if lines := strings.Count(all.Detail(), "\n"); lines != len(bad) || all.Summary() != unavailable {
		t.Errorf("%d lines of detail %q", lines, all.Detail())
	}

	good := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, oneNode) })
	c = newClient(t, Config{Endpoints: append(urls, good)})
	if r, err := c.Keys().Get(t.Context(), "/k", GetOptions{}); err != nil || r.Node.Value != "v" {
		t.Fatalf("Get = %+v, %v", r, err)
	}
	if first := c.Endpoints()[0]; first != good {
		t.Errorf("the first endpoint is %s, want %s, which answered", first, good)
	}
}

// TestHeaderTimeout: an endpoint that is slow to answer is left, one whose body is
// slow is not, and a watch may take any time.
func TestHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := carrier(func(r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Hour):
				return says(200, oneNode), nil
			}
		})
		c := newClient(t, Config{Endpoints: []string{"http://h:1", "http://h:2"}, Transport: hang})
		began := time.Now()
		_, err := c.Keys().Get(t.Context(), "/k", GetOptions{})
		if err == nil || !strings.Contains(err.Error(), "error #1: client: endpoint http://h:2 exceeded header timeout") || time.Since(began) != 10*time.Second {
			t.Errorf("Get = %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Keys().Get(ctx, "/k", GetOptions{}); err != context.DeadlineExceeded {
			t.Errorf("Get with a second to live = %v", err)
		}
		if r, err := c.Keys().Watcher("/k", WatcherOptions{}).Next(t.Context()); err != nil || r.Node.Value != "v" {
			t.Errorf("Next = %v, %v", r, err)
		}
	})
}

func TestRedirectKeepsSecrets(t *testing.T) {
	auth := make(chan string, 1) // of the request that was redirected
	told := func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := r.BasicAuth()
		auth <- r.Method + " " + r.URL.Path + " " + name
		io.WriteString(w, oneNode)
	}
	leader := serve(t, told)
	follower := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader+"/moved"+r.URL.Path, http.StatusTemporaryRedirect)
	})
	tests := []struct {
		name      string
		endpoints []string
		want      string
	}{
		{"to an endpoint", []string{follower, leader}, "PUT /moved/v2/keys/k root"},
		{"to a stranger", []string{follower}, "PUT /moved/v2/keys/k "},
	}
	for _, tt := range tests {
		c := newClient(t, Config{Endpoints: tt.endpoints, Username: "root", Password: "secret"})
		if _, err := c.Keys().Set(t.Context(), "k", "v", SetOptions{}); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := <-auth; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSync(t *testing.T) {
	list := ""
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, list) })
	tests := []struct {
		name, list string
		want       []string // endpoints, sorted; nil: {u}
		err        error
	}{
		{"none published", `{"members":[{"id":"1","clientURLs":[]}]}`, nil, ErrNoEndpoints},
		{"not the API", `[]`, nil, ErrInvalidJSON},
		{"no list", `{}`, nil, ErrInvalidJSON},
		{"no URL", `{"members":[{"id":"1","clientURLs":["http://a b"]}]}`, nil, &url.Error{}},
		{"two members", `{"members":[{"id":"1","clientURLs":["http://h:1","http://h:2"]},{"id":"2","clientURLs":["http://h:2"]}]}`, []string{"http://h:1", "http://h:2"}, nil},
	}
	for _, tt := range tests {
		list = tt.list
		c := newClient(t, Config{Endpoints: []string{u}})
		err := c.Sync(t.Context())
		var malformed *url.Error
		if errors.As(tt.err, &malformed) && errors.As(err, &malformed) {
			err, tt.err = nil, nil
		}
		want := tt.want
		if want == nil {
			want = []string{u}
		}
		got := c.Endpoints()
		slices.Sort(got)
		if err != tt.err || !slices.Equal(got, want) {
			t.Errorf("%s: Sync = %v with endpoints %q, want %v and %q", tt.name, err, got, tt.err, want)
		}
	}
}

func TestMembers(t *testing.T) {
	var asked, status, body string
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		asked = fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), sent)
		code := 0
		fmt.Sscan(status, &code)
		w.WriteHeader(code)
		io.WriteString(w, body)
	})
	m := newClient(t, Config{Endpoints: []string{u}}).Members()
	const one = `{"id":"8841b02a3b709613","name":"","peerURLs":["http://h:2380"],"clientURLs":[]}`
	text := func(one *Member, err error) string {
		if one != nil {
			return one.ID
		}
		return fmt.Sprint(err)
	}
	tests := []struct {
		name         string
		call         func(context.Context) string
		status, body string
		asked, want  string
	}{
		{"leader", func(ctx context.Context) string { return text(m.Leader(ctx)) }, "200", one, "GET /v2/members/leader  ", "8841b02a3b709613"},
		{"add", func(ctx context.Context) string { return text(m.Add(ctx, []string{"http://h:2380"})) }, "201", one,
			`POST /v2/members application/json {"peerURLs":["http://h:2380"]}`, "8841b02a3b709613"},
		{"add twice", func(ctx context.Context) string { return text(m.Add(ctx, []string{"http://h:2380"})) }, "409",
			`{"message":"etcdserver: peerURL exists"}`, `POST /v2/members application/json {"peerURLs":["http://h:2380"]}`, "etcdserver: peerURL exists"},
		{"add, answered with garbage", func(ctx context.Context) string { return text(m.Add(ctx, nil)) }, "201", "[1]", "POST /v2/members  ", ErrInvalidJSON.Error()},
		{"add, answered without ID", func(ctx context.Context) string { return text(m.Add(ctx, nil)) }, "201", "{}", "POST /v2/members  ", ErrInvalidJSON.Error()},
		{"update", func(ctx context.Context) string { return text(nil, m.Update(ctx, "a1", []string{"http://h:1"})) }, "204", "",
			`PUT /v2/members/a1 application/json {"peerURLs":["http://h:1"]}`, "<nil>"},
		{"remove", func(ctx context.Context) string { return text(nil, m.Remove(ctx, "a1")) }, "204", "", "DELETE /v2/members/a1  ", "<nil>"},
		{"remove twice", func(ctx context.Context) string { return text(nil, m.Remove(ctx, "a1")) }, "410", `{"message":"gone"}`, "DELETE /v2/members/a1  ", "<nil>"},
		{"remove nobody", func(ctx context.Context) string { return text(nil, m.Remove(ctx, "a1")) }, "404", "page", "DELETE /v2/members/a1  ", "unexpected status code 404"},
	}
	for _, tt := range tests {
		status, body = tt.status, tt.body
		if got := tt.call(t.Context()); got != tt.want || asked != tt.asked {
			t.Errorf("%s: asked %q, got %q\nwant  %q, %q", tt.name, asked, got, tt.asked, tt.want)
		}
	}
}

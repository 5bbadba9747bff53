package discovery

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"etcd2/api/v2"
	"etcd2/etcdserver"
	"etcd2/membership"
	"etcd2/peer"
	"etcd2/store"
)

// member is a real store behind the real keys API, without a log.
type member struct {
	v2.Server // what nobody asks for here
	tree      *store.Store

	mu      sync.Mutex // guards the fields below
	refuses error      // answer of Do and QuorumGet when not nil
	writing func()     // called by each Do before it writes, if not nil
}

func newMember() *member { return &member{tree: store.New(store.Config{})} }

func (m *member) state() (writing func(), refuses error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writing, m.refuses
}

func (m *member) Do(_ context.Context, op store.Op) (etcdserver.Reply, error) {
	writing, refuses := m.state()
	if writing != nil {
		writing()
	}
	if refuses != nil {
		return etcdserver.Reply{}, refuses
	}
	m.mu.Lock() // there is one applier
	defer m.mu.Unlock()
	op.Now = m.Now()
	e, err := m.tree.Apply(op)
	return etcdserver.Reply{Event: e, Index: m.tree.Index()}, err
}

func (m *member) Get(path string) (store.View, etcdserver.Position, error) {
	v, err := m.tree.Get(path)
	return v, etcdserver.Position{}, err
}

func (m *member) QuorumGet(_ context.Context, path string) (store.View, etcdserver.Position, error) {
	if _, refuses := m.state(); refuses != nil {
		return store.View{}, etcdserver.Position{}, refuses
	}
	return m.Get(path)
}

func (m *member) Watch(path string, o store.WatchOptions) (*store.Watcher, etcdserver.Position, error) {
	w, err := m.tree.Watch(path, o)
	return w, etcdserver.Position{}, err
}

// The metrics look at these when they are made.
func (m *member) Agreement() etcdserver.Agreement    { return etcdserver.Agreement{} }
func (m *member) Links() map[membership.ID]peer.Link { return nil }
func (m *member) Status() etcdserver.Status          { return etcdserver.Status{} }
func (m *member) StoreStats() store.Stats            { return m.tree.Stats() }
func (m *member) Members() []membership.Member       { return nil }
func (m *member) Leader() (membership.Member, bool)  { return membership.Member{}, false }
func (m *member) ClusterVersion() string             { return "" }

func (m *member) Age() (time.Duration, bool) { return 0, true }
func (m *member) Now() int64                 { return time.Now().UnixNano() }
func (m *member) WallOffset() int64          { return 0 }
func (m *member) ClusterID() membership.ID   { return 0x7e27652122e8b2ae }

// newService returns a service over a new member.
func newService(cfg Config) (*Service, *member) {
	m := newMember()
	return New(cfg, m, v2.Handler(m, v2.Config{})), m
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// node is the part of an answer of the keys API that members read.
type node struct {
	Key          string `json:"key"`
	Value        string `json:"value"`
	TTL          int64  `json:"ttl"`
	CreatedIndex uint64 `json:"createdIndex"`
	Nodes        []node `json:"nodes"`
}

func (a answer) node(t *testing.T) node {
	t.Helper()
	var body struct{ Node node }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
	return body.Node
}

// code is the errorCode of a refusal, 0 without one.
func (a answer) code() int {
	var body struct{ ErrorCode int }
	json.Unmarshal([]byte(a.body), &body) // a text has no code
	return body.ErrorCode
}

// ask sends one request straight to the handler. form is the body of a PUT.
func ask(t *testing.T, h http.Handler, method, target, form string, tune ...func(*http.Request)) answer {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	if method == "PUT" {
		r.Header.Set("Content-Type", formType)
	}
	for _, f := range tune {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// from has a request come from an address.
func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address + ":1024" }
}

// header sets one header of a request.
func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// mint makes a token and returns the path of its URL.
func mint(t *testing.T, h http.Handler, query string) string {
	t.Helper()
	a := ask(t, h, "GET", "http://disco.example:8087/new"+query, "")
	path, ok := strings.CutPrefix(a.body, "http://disco.example:8087/")
	if a.status != http.StatusOK || !ok || !isToken(path) {
		t.Fatalf("GET /new%s = %d %q, want the URL of a token", query, a.status, a.body)
	}
	return "/" + path
}

// arrive registers a member, which has to succeed.
func arrive(t *testing.T, h http.Handler, token, id, value string) {
	t.Helper()
	a := ask(t, h, "PUT", token+"/"+id+"?prevExist=false", url.Values{"value": {value}}.Encode())
	if a.status != http.StatusCreated {
		t.Fatalf("registering %s = %d %s", id, a.status, a.body)
	}
}

// send is ask over a connection.
func send(ctx context.Context, method, target, form string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form))
	if err != nil {
		return answer{}, err
	}
	if form != "" {
		req.Header.Set("Content-Type", formType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

//go:build unix

package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// freeze stops a process in its tracks: its connections stay open and nothing comes from
// it any more.
func freeze(t *testing.T, m *proc.Member) (thaw func()) {
	t.Helper()
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := m.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// allAvailable waits until the proxy uses all members.
func allAvailable(t *testing.T, front *proc.Member, members []*proc.Member) {
	t.Helper()
	proc.Eventually(t, patience, "all endpoints available", func() bool {
		return metric(t, front, "etcd_proxy_endpoints_available") == len(members)
	})
}

// TestMemberHangs: each member hangs in turn. Reads are answered all the same.
func TestMemberHangs(t *testing.T) {
	t.Parallel()
	front, members := startFront(t)
	first := serving(t, front, members)
	for _, m := range append([]*proc.Member{first}, without(members, first)...) {
		allAvailable(t, front, members)
		thaw := freeze(t, m)
		for range 4 {
			get(t, front, "/v2/keys/busy")
		}
		if status, _, err := ask(front, wire.Request{Method: "HEAD", Target: "/v2/keys/busy"}); err != nil || status != 200 {
			t.Errorf("HEAD while %s hangs = %d, error %v", m.Name, status, err)
		}
		thaw()
	}
	if line := "does not answer (no response header for 1s), trying others"; !strings.Contains(front.Log(), line) {
		t.Errorf("the log has no line %q", line)
	}
}

// TestMemberHangsUnderWritesAndWatches: a write that the member may have got is not
// repeated and not called a success, the next one is carried out by another member, and a
// watch goes on there.
func TestMemberHangsUnderWritesAndWatches(t *testing.T) {
	t.Parallel()
	front, members := startFront(t)
	target := serving(t, front, members)
	lead(t, without(members, target)[0])
	put(t, front, "watched", "none") // by now the others know who leads
	level(t, members)
	poll := wait(t, front, "watched")
	if err := poll.Head(patience); err != nil {
		t.Fatal(err)
	}
	thaw := freeze(t, target)
	status, body, err := ask(front, wire.Form("POST", "/v2/keys/queue", "value=1"))
	if err != nil || status != http.StatusGatewayTimeout || !strings.Contains(body, "may have been carried out or not") {
		t.Errorf("a write at a member that hangs = %d %s, error %v, want 504", status, body, err)
	}
	put(t, front, "watched", "one")
	eventOf(t, poll, "one")
	thaw()
	allAvailable(t, front, members)
	level(t, members)
	if body := get(t, front, "/v2/keys/queue?quorum=true"); strings.Count(body, `"value":"1"`) > 1 {
		t.Errorf("the write was carried out twice: %s", body)
	}
}

// TestBlackHole: one of the client URLs takes connections and never answers. Requests go
// to the other one, but for the write that fell into it.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	if proc.Foreign() {
		t.Skip("another implementation is under test (TEST_ETCD); this test is about our proxy")
	}
	m := proc.Start(t, proc.Options{})
	put(t, m, "k", "v")
	hole := proc.Reserve(t) // the system takes connections for it
	t.Cleanup(func() { hole.Close() })
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", "1")
		fmt.Fprintf(w, `[{"id":1,"peerURLs":["http://127.0.0.1:1"],"name":"a","clientURLs":["http://%s"]},{"id":2,"peerURLs":["http://127.0.0.1:2"],"name":"b","clientURLs":[%q]}]`, hole.Addr(), m.URL())
	}))
	defer list.Close()
	for _, first := range []string{"GET", "PUT"} {
		// The order of the endpoints is one by chance: try until the hole comes first.
		var front *proc.Member
		for front == nil {
			front = proc.New(t, proc.Options{Name: "front", Cluster: "a=" + list.URL, Flags: []string{"--proxy", "on"}})
			if err := front.Begin(); err != nil {
				t.Fatal(err)
			}
			proc.Eventually(t, patience, "the proxy listens", func() bool { return strings.Contains(front.Log(), "listening for client requests") })
			if !strings.HasPrefix(get(t, front, "/v2/config/local/proxy"), fmt.Sprintf(`{"endpoints":["http://%s"`, hole.Addr())) {
				front.Kill()
				front = nil
			}
		}
		if first == "GET" {
			holds(t, front, "k", "v")
		} else {
			status, body, err := ask(front, wire.Form("PUT", "/v2/keys/lost", "value=1"))
			if err != nil || status != http.StatusGatewayTimeout {
				t.Errorf("a write into the hole = %d %s, error %v, want 504", status, body, err)
			}
		}
		began := time.Now()
		put(t, front, "k", "v")
		holds(t, front, "k", "v")
		if took := time.Since(began); took > patience/2 {
			t.Errorf("later requests took %s", took)
		}
		if n := metric(t, front, "etcd_proxy_endpoints_available"); n != 1 {
			t.Errorf("%d endpoints are available, want 1", n)
		}
		front.Kill()
	}
	if status, _, err := ask(m, wire.Request{Method: "GET", Target: "/v2/keys/lost"}); err != nil || status != 404 {
		t.Errorf("the write that got no response = %d at the other member, error %v, want 404", status, err)
	}
}

package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
)

// form is a request with a body, for a connection that stays open.
func form(method, target, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", method, target, len(body), body)
}

func plain(method, target string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\n\r\n", method, target)
}

// reply is the response to one request.
type reply struct {
	status int
	body   string
}

// sayAll sends requests on one connection, closes its sending half and reads the
// responses. The methods are those of the requests.
func sayAll(m *proc.Member, requests ...string) (replies []reply, err error) {
	conn, err := net.DialTimeout("tcp", m.Client, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.Join(requests, "")); err != nil {
		return nil, err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	from := bufio.NewReader(conn)
	for _, r := range requests {
		method, _, _ := strings.Cut(r, " ")
		res, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			return replies, err
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply{res.StatusCode, string(body)})
	}
	return replies, nil
}

// say is sayAll for one request.
func say(t *testing.T, m *proc.Member, request string) reply {
	t.Helper()
	replies, err := sayAll(m, request)
	if err != nil {
		t.Fatalf("%.60q at %s: %v", request, m.Client, err)
	}
	return replies[0]
}

// TestHalfClosedClients: a client that closes its sending half after the request, as "nc
// -N" does, gets the response of a member through a proxy as it does at a member. A
// success that no member has sent would be worse than none.
func TestHalfClosedClients(t *testing.T) {
	t.Parallel()
	front, members := startFront(t)
	for _, m := range []*proc.Member{members[0], front} {
		writesHalfClosed(t, m, "half/"+m.Name)
		changesHalfClosed(t, m, "/v2/keys/changed/"+m.Name)
	}
	// A watch that is half closed ends soon, and not before what has happened already.
	put(t, front, "watched", "one")
	index := level(t, members)
	if r := say(t, front, plain("GET", fmt.Sprintf("/v2/keys/watched?wait=true&waitIndex=%d", index))); r.status != 200 || !strings.Contains(r.body, `"value":"one"`) {
		t.Errorf("a poll for a past event = %+v", r)
	}
	if replies, err := sayAll(front, plain("GET", "/v2/keys/watched?wait=true")); err == nil {
		t.Errorf("a poll without an event = %+v, want the connection cut", replies)
	}
}

// writesHalfClosed writes 300 keys and looks whether all that was told is true.
func writesHalfClosed(t *testing.T, m *proc.Member, dir string) {
	t.Helper()
	const writes = 300
	each(t, writes, 4, func(i int) error {
		replies, err := sayAll(m, form("PUT", fmt.Sprintf("/v2/keys/%s/%d", dir, i), "value=1"))
		if err == nil && (replies[0].status != 201 || !strings.Contains(replies[0].body, `"action":"set"`)) {
			err = fmt.Errorf("%+v", replies[0])
		}
		return err
	})
	var list struct {
		Node struct{ Nodes []struct{ Key string } }
	}
	if err := json.Unmarshal([]byte(get(t, m, "/v2/keys/"+dir+"?quorum=true")), &list); err != nil || len(list.Node.Nodes) != writes {
		t.Errorf("%s stored %d of %d writes, error %v", m.Name, len(list.Node.Nodes), writes, err)
	}
}

// changesHalfClosed makes one request of each kind.
func changesHalfClosed(t *testing.T, m *proc.Member, key string) {
	t.Helper()
	for _, tt := range []struct {
		request string
		status  int
		body    string
	}{
		{form("PUT", key, "value=1"), 201, `"value":"1"`},
		{form("PUT", key+"?prevValue=1", "value=2"), 200, `"action":"compareAndSwap"`},
		{form("PUT", key+"?prevValue=1", "value=3"), 412, `"errorCode":101`},
		{plain("GET", key), 200, `"value":"2"`},
		{plain("GET", key+"?quorum=true"), 200, `"value":"2"`},
		{plain("HEAD", key), 200, ""},
		{plain("DELETE", key), 200, `"action":"delete"`},
		{plain("GET", key), 404, `"errorCode":100`},
		{plain("GET", "/v2/members"), 200, `"members"`},
	} {
		if r := say(t, m, tt.request); r.status != tt.status || !strings.Contains(r.body, tt.body) {
			t.Errorf("%.80q at %s = %+v, want %d and %s", tt.request, m.Name, r, tt.status, tt.body)
		}
	}
	var queue []string
	for i := range 10 {
		queue = append(queue, form("POST", key+"-queue", fmt.Sprintf("value=%d", i)))
	}
	replies, err := sayAll(m, queue...) // pipelined on one connection
	if err != nil || slices.ContainsFunc(replies, func(r reply) bool { return r.status != 201 }) {
		t.Errorf("pipelined POSTs at %s = %+v, error %v", m.Name, replies, err)
	}
	var list struct {
		Node struct{ Nodes []struct{ Value string } }
	}
	if err := json.Unmarshal([]byte(get(t, m, key+"-queue?quorum=true&sorted=true")), &list); err != nil {
		t.Fatal(err)
	}
	for i, n := range list.Node.Nodes {
		if n.Value != fmt.Sprint(i) {
			t.Errorf("place %d of the queue at %s has %s", i, m.Name, n.Value)
		}
	}
	if len(list.Node.Nodes) != len(queue) {
		t.Errorf("the queue at %s has %d of %d entries", m.Name, len(list.Node.Nodes), len(queue))
	}
}

// TestHalfClosedAtAReadonlyProxy: what it refuses, it refuses them too.
func TestHalfClosedAtAReadonlyProxy(t *testing.T) {
	t.Parallel()
	if proc.Foreign() {
		t.Skip("another implementation is under test (TEST_ETCD); this test is about our proxy")
	}
	m := proc.Start(t, proc.Options{})
	put(t, m, "k", "v")
	front := proc.Start(t, proc.Options{Name: "front", Cluster: proc.InitialCluster([]*proc.Member{m}), Flags: []string{"--proxy", "readonly"}})
	for _, tt := range []struct {
		request string
		status  int
	}{
		{plain("GET", "/v2/keys/k"), 200}, {plain("HEAD", "/v2/keys/k"), 200}, {plain("DELETE", "/v2/keys/k"), 501},
		{form("PUT", "/v2/keys/k", "value=w"), 501}, {plain("OPTIONS", "/v2/keys/k"), 501},
	} {
		if r := say(t, front, tt.request); r.status != tt.status {
			t.Errorf("%.40q = %+v, want %d", tt.request, r, tt.status)
		}
	}
	holds(t, front, "k", "v")
}

// TestClientsVanish: clients that reset the connection right after their request leave
// nothing behind, and are no fault of the members.
func TestClientsVanish(t *testing.T) {
	t.Parallel()
	const clients, slack = 2000, 2*128 + 20 // slack: each connection kept for reuse has two goroutines
	front, members := startFront(t)
	before := metric(t, front, "go_goroutines")
	requests := []string{form("PUT", "/v2/keys/gone", "value=1"), plain("GET", "/v2/keys/busy?wait=true"),
		plain("GET", "/v2/keys/busy?quorum=true"), plain("GET", "/v2/keys/busy?wait=true&stream=true")}
	each(t, clients, 10, func(i int) error {
		conn, err := net.DialTimeout("tcp", front.Client, patience)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(conn, requests[i%len(requests)]); err != nil {
			return err
		}
		if i/len(requests)%2 == 0 {
			conn.(*net.TCPConn).SetLinger(0)
		}
		return conn.Close()
	})
	put(t, front, "busy", "2")
	now := 0
	defer func() { t.Logf("%d goroutines in the proxy, %d before", now, before) }()
	proc.Eventually(t, patience, "as few goroutines in the proxy as before", func() bool {
		now = metric(t, front, "go_goroutines")
		return now <= before+slack
	})
	watched(t, members, 0)
	proc.Eventually(t, patience, "all endpoints available", func() bool {
		return metric(t, front, "etcd_proxy_endpoints_available") == len(members)
	})
}

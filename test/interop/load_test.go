package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// startFront runs our proxy in front of three of our members.
func startFront(t *testing.T) (front *proc.Member, members []*proc.Member) {
	t.Helper()
	if proc.Foreign() {
		t.Skip("another implementation is under test (TEST_ETCD); this test is about our proxy")
	}
	members = proc.StartCluster(t, 3, proc.Options{})
	front = proc.Start(t, proc.Options{Name: "front", Cluster: proc.InitialCluster(members), Flags: []string{"--proxy", "on"}})
	put(t, front, "busy", "0")
	level(t, members)
	return front, members
}

// metric reads a metric of a server; it has no labels.
func metric(t *testing.T, m *proc.Member, name string) int {
	t.Helper()
	for line := range strings.Lines(get(t, m, "/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("%s shows no metric %s", m.Client, name)
	return 0
}

// caller is a client connection that has sent a request. It is lighter than one of
// package wire, for tests with thousands of them.
type caller struct {
	net.Conn
	answer *http.Response
}

// call sends a GET and waits for the head of the answer.
func call(m *proc.Member, target string) (*caller, error) {
	conn, err := net.DialTimeout("tcp", m.Client, patience)
	if err != nil {
		return nil, err
	}
	c := &caller{Conn: conn}
	conn.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n", target)
	if err == nil {
		c.answer, err = http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil)
	}
	if err == nil && c.answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s = %s", target, c.answer.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// hangUp ends the connections that were made.
func hangUp(callers []*caller) {
	for _, c := range callers {
		if c != nil {
			c.Close()
		}
	}
}

// each runs f for 0 to n-1, some of them at a time, and reports what went wrong first.
func each(t *testing.T, n, atOnce int, f func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	var first atomic.Pointer[error]
	for range atOnce {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && first.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					err = fmt.Errorf("client %d: %w", i, err)
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		t.Fatal(*err)
	}
}

// TestManyPollsCostOneWatch: two thousand clients wait for a key, the members know
// of one.
func TestManyPollsCostOneWatch(t *testing.T) {
	t.Parallel()
	const clients = 2000
	front, members := startFront(t)
	callers := make([]*caller, clients)
	defer func() { hangUp(callers) }()
	each(t, clients, 20, func(i int) (err error) {
		callers[i], err = call(front, "/v2/keys/busy?wait=true") // the head tells that the watch has begun
		return err
	})
	watched(t, members, 1)
	if n := metric(t, front, "etcd_proxy_watches_joined_total"); n != clients-1 {
		t.Errorf("%d polls shared the request of another one, want %d", n, clients-1)
	}
	put(t, front, "busy", "1")
	each(t, clients, 20, func(i int) error {
		callers[i].SetDeadline(time.Now().Add(patience))
		body, err := io.ReadAll(callers[i].answer.Body)
		if err == nil && !strings.Contains(string(body), `"value":"1"`) {
			err = fmt.Errorf("the event is %q", body)
		}
		return err
	})
	watched(t, members, 0)
}

// TestClientsLeaveNothing: ten thousand clients begin to wait and hang up, and the
// proxy is as before.
func TestClientsLeaveNothing(t *testing.T) {
	t.Parallel()
	const clients, slack = 10_000, 20 // slack: connections kept for reuse have goroutines
	front, members := startFront(t)
	before := metric(t, front, "go_goroutines")
	each(t, clients, 20, func(i int) error {
		target := "/v2/keys/busy?wait=true"
		if i%8 == 0 {
			target += "&stream=true" // these are not shared
		}
		c, err := call(front, target)
		if err != nil {
			return err
		}
		c.Conn.(*net.TCPConn).SetLinger(0) // the port is free again at once
		return c.Close()
	})
	var now int
	proc.Eventually(t, patience, "as few goroutines in the proxy as before", func() bool {
		now = metric(t, front, "go_goroutines")
		return now <= before+slack
	})
	watched(t, members, 0)
	if n := metric(t, front, "etcd_proxy_watches_open"); n != 0 {
		t.Errorf("%d watches are open for nobody", n)
	}
	if n := metric(t, front, "etcd_proxy_endpoints_available"); n != len(members) {
		t.Errorf("%d endpoints are available, want %d: clients that leave are no fault of theirs", n, len(members))
	}
}

// TestMemberDiesUnderLoad: the member to which all requests go is killed, and every
// request is answered as if nothing had happened. It does not lead: a write that a
// follower has passed on to a leader who dies may have happened or not, and its answer
// says so, with or without a proxy.
func TestMemberDiesUnderLoad(t *testing.T) {
	t.Parallel()
	const workers, requests, polls = 8, 100, 20
	front, members := startFront(t)
	target := serving(t, front, members)
	lead(t, without(members, target)[0])

	callers := make([]*caller, polls)
	defer func() { hangUp(callers) }()
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	var done atomic.Int64
	each(t, workers, workers, func(i int) error {
		for n := range requests {
			if done.Add(1) == workers*requests/3 {
				for k := range callers {
					var err error
					if callers[k], err = call(front, fmt.Sprintf("/v2/keys/last/%d?wait=true", k)); err != nil {
						return err
					}
				}
				target.Kill()
			}
			if err := roundTrip(client, fmt.Sprintf("%s/v2/keys/worker%d", front.URL(), i), strconv.Itoa(n)); err != nil {
				return err
			}
		}
		return nil
	})
	for k, c := range callers {
		put(t, front, fmt.Sprintf("last/%d", k), "done")
		c.SetDeadline(time.Now().Add(patience))
		if body, err := io.ReadAll(c.answer.Body); err != nil || !strings.Contains(string(body), `"value":"done"`) {
			t.Errorf("poll %d ended with %q, error %v", k, body, err)
		}
	}
	if n := metric(t, front, "etcd_proxy_endpoints_available"); n != len(members)-1 {
		t.Errorf("%d endpoints are available, want %d", n, len(members)-1)
	}
}

// TestPollsOutliveTheLeader: clients begin to wait at the leader while others write,
// and it is killed. The others may not know its last writes yet; the polls go on
// all the same.
func TestPollsOutliveTheLeader(t *testing.T) {
	t.Parallel()
	const clients, atOnce = 200, 8
	front, members := startFront(t)
	target := serving(t, front, members)
	lead(t, target)
	callers := make([]*caller, clients)
	defer func() { hangUp(callers) }()
	each(t, clients, atOnce, func(i int) (err error) {
		if callers[i], err = call(front, fmt.Sprintf("/v2/keys/watched/%d?wait=true", i)); err != nil {
			return err
		}
		if i == clients-1 {
			target.Kill()
			return nil
		}
		_ = write(front, "busy", strconv.Itoa(i)) // may fail once the leader is dead
		return nil
	})
	var last error
	proc.Eventually(t, patience, "a write while the others elect a leader", func() bool {
		last = write(front, "busy", "again")
		return last == nil
	})
	each(t, clients, atOnce, func(i int) error {
		if err := write(front, fmt.Sprintf("watched/%d", i), "done"); err != nil {
			return err
		}
		callers[i].SetDeadline(time.Now().Add(patience))
		body, err := io.ReadAll(callers[i].answer.Body)
		if err == nil && !strings.Contains(string(body), `"value":"done"`) {
			err = fmt.Errorf("the event is %q", body)
		}
		return err
	})
}

// serving returns the member to which the proxy sends requests.
func serving(t *testing.T, front *proc.Member, members []*proc.Member) *proc.Member {
	t.Helper()
	var list struct{ Endpoints []string }
	if err := json.Unmarshal([]byte(get(t, front, "/v2/config/local/proxy")), &list); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(members, func(m *proc.Member) bool { return len(list.Endpoints) == 3 && m.URL() == list.Endpoints[0] })
	if i < 0 {
		t.Fatalf("the endpoints are %q, want those of three members", list.Endpoints)
	}
	return members[i]
}

// lead makes a member the leader.
func lead(t *testing.T, m *proc.Member) {
	t.Helper()
	var self struct{ ID string }
	if err := json.Unmarshal([]byte(get(t, m, "/v2/stats/self")), &self); err != nil {
		t.Fatal(err)
	}
	status, body, err := ask(m, wire.Request{Method: "POST", Target: "/v2/members/leader?transfer=" + self.ID})
	if err != nil || status != http.StatusNoContent {
		t.Fatalf("transfer of leadership = %d %s, error %v", status, body, err)
	}
}

// roundTrip writes a value and reads it back.
func roundTrip(client *http.Client, key, value string) error {
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		target, form := key+"?quorum=true", ""
		if method == http.MethodPut {
			target, form = key, url.Values{"value": {value}}.Encode()
		}
		req, err := http.NewRequest(method, target, strings.NewReader(form))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode/100 != 2 || !strings.Contains(string(body), fmt.Sprintf(`"value":%q`, value)) {
			return fmt.Errorf("%s %s = %s %s, error %v, want value %q", method, target, res.Status, body, err, value)
		}
	}
	return nil
}

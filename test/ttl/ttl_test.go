// Package ttl holds server processes to the promises about TTLs, whatever happens to
// the leaders.
//
// A key with a TTL is there at least that long from the moment the request was sent.
// It is gone at most 200 ms after its TTL, plus the time without a leader, and after a
// kill of all members plus 10 s, since an idle member notes the time only so often.
// The expiration that a member shows is the wall-clock time at which the key goes if
// the leader stays, the same at every member, and never in the past.
//
// CHAOS is how long the random run takes, CHAOS_SEED its choices.
package ttl

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"etcd2/test/expiry"
	"etcd2/test/proc"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // the tests wait far more than they compute
		panic(err)
	}
	os.Exit(proc.Main(m))
}

const (
	dir       = "/ttl"                 // all keys with a TTL
	heartbeat = 100 * time.Millisecond // the servers' default
	timeout   = 60 * time.Second       // nothing waits for it in a good run

	// requestTimeout bounds a request to a member that may be paused. Servers give up
	// earlier.
	requestTimeout = 20 * time.Second

	// slack is for the machine: the tests of this package run at the same time as others
	// on two cores, so that an entry, a sync or an event may wait in a queue. The bugs that
	// are looked for differ by an election, which takes a second.
	slack = 500 * time.Millisecond
)

var limits = expiry.Limits{
	Early: 20 * time.Millisecond,
	Late:  200*time.Millisecond + slack,
	Shown: 300 * time.Millisecond,
}

// cluster is members under test and what was seen of them. The test's goroutine owns
// the processes; the rest may be used by any.
type cluster struct {
	t        *testing.T
	members  []*proc.Member
	watchers []*expiry.Watcher // one at each member
	line     *expiry.Timeline
	http     *http.Client

	// heartbeat is how old the time is that the others know when a leader is lost.
	heartbeat time.Duration

	mu     sync.Mutex // guards the fields below
	writes []expiry.Write
}

// start runs n members and a watcher at each.
func start(t *testing.T, n int, o proc.Options) *cluster {
	t.Helper()
	c := &cluster{t: t, members: proc.StartCluster(t, n, o), line: &expiry.Timeline{}, heartbeat: heartbeat}
	c.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	t.Cleanup(c.http.CloseIdleConnections)
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	t.Cleanup(func() { stop(); watching.Wait() })
	for _, m := range c.members {
		index, err := m.Index()
		if err != nil {
			t.Fatal(err)
		}
		w := expiry.NewWatcher(m.URL, dir, index+1)
		c.watchers = append(c.watchers, w)
		watching.Go(func() { w.Run(ctx) })
	}
	return c
}

// answer is what a member said.
type answer struct {
	Node struct {
		Key        string    `json:"key"`
		Value      string    `json:"value"`
		Expiration time.Time `json:"expiration"`
		Modified   uint64    `json:"modifiedIndex"`
	} `json:"node"`
	Code      int    `json:"errorCode"`
	Message   string `json:"message"`
	body      string
	call, end time.Time
}

// ask sends a request to a member. Its error is that no answer of the store came.
func (c *cluster) ask(m *proc.Member, within time.Duration, method, key string, form url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, m.URL()+"/v2/keys"+key+"?"+form.Encode(), nil)
	if err != nil {
		return answer{}, err
	}
	a := answer{call: time.Now()}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.body, a.end = string(body), time.Now()
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err == nil && (resp.StatusCode >= 500 || a.Code >= 300) {
		err = fmt.Errorf("%s %s at %s: status %d, error %d %s", method, key, m.Name, resp.StatusCode, a.Code, a.Message)
	}
	return a, err
}

// write gives a key a TTL and records it. It returns false when no answer came, or one
// that nothing was done.
func (c *cluster) write(m *proc.Member, within time.Duration, method, key string, ttl int, form url.Values) (answer, bool) {
	if form == nil {
		form = url.Values{"value": {"x"}}
	}
	form.Set("ttl", strconv.Itoa(ttl))
	w := expiry.Write{Key: key, InOrder: method == http.MethodPost, TTL: time.Duration(ttl) * time.Second, Call: time.Now()}
	a, err := c.ask(m, within, method, key, form)
	w.End = time.Now()
	if err == nil {
		if a.Code != 0 {
			return a, false
		}
		w.Key, w.InOrder = a.Node.Key, false
		w.Call, w.End, w.Index, w.Expiration = a.call, a.end, a.Node.Modified, a.Node.Expiration
		c.line.Acknowledged(a.call, a.end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, w)
	return a, err == nil
}

// set writes and must succeed.
func (c *cluster) set(m *proc.Member, method, key string, ttl int, form url.Values) answer {
	c.t.Helper()
	a, ok := c.write(m, requestTimeout, method, dir+key, ttl, form)
	if !ok {
		c.t.Fatalf("%s %s with ttl=%d and %v at %s was not done: %d %s", method, key, ttl, form, m.Name, a.Code, a.Message)
	}
	return a
}

// awaitLeader waits until one of the members leads, and a write through it is
// acknowledged.
func (c *cluster) awaitLeader(of ...*proc.Member) (leader *proc.Member) {
	c.t.Helper()
	proc.Eventually(c.t, timeout, "one of the members leads and takes a write", func() bool {
		if leader = proc.Leader(of...); leader == nil {
			return false
		}
		a, err := c.ask(leader, time.Second, http.MethodPut, "/probe", url.Values{"value": {"x"}})
		if err == nil {
			c.line.Acknowledged(a.call, a.end)
		}
		return err == nil
	})
	return leader
}

// fault carries out the beginning of a fault. The others know the time from the last
// heartbeat before it.
func (c *cluster) fault(do func() error) {
	c.t.Helper()
	began := time.Now().Add(-c.heartbeat)
	if err := do(); err != nil {
		c.t.Fatal(err)
	}
	c.line.Fault(began, time.Now())
}

// killAll kills all members and starts them again after a time.
func (c *cluster) killAll(down time.Duration) {
	c.t.Helper()
	c.fault(func() error {
		for _, m := range c.members {
			m.Kill()
		}
		return nil
	})
	c.pass(down)
	for _, m := range c.members {
		if err := m.Begin(); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, m := range c.members {
		if err := m.WaitReady(timeout); err != nil {
			c.t.Fatal(err)
		}
	}
	c.awaitLeader(c.members...)
}

// pass lets time pass, where the length of a state is what the test is about.
func (c *cluster) pass(d time.Duration) { <-time.After(d) }

// expired waits until all watchers have seen the end of a write.
func (c *cluster) expired(a answer) (first expiry.Expired) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
	defer cancel()
	for i, w := range c.watchers {
		e, err := w.Await(ctx, a.Node.Key, a.Node.Modified)
		if err != nil {
			c.t.Fatal(err)
		}
		if i == 0 || e.At.Before(first.At) {
			first = e
		}
	}
	return first
}

// judge waits until the last key has expired, and judges all of them.
func (c *cluster) judge(limits expiry.Limits) {
	c.t.Helper()
	c.awaitLeader(c.members...)
	proc.Eventually(c.t, timeout, "all keys with a TTL are gone", func() bool {
		a, err := c.ask(c.members[0], time.Second, http.MethodGet, dir, url.Values{"recursive": {"true"}})
		return err == nil && a.Code == 0 && !strings.Contains(a.body, `"expiration"`)
	})
	c.expired(c.set(c.members[0], http.MethodPut, "/last", 1, nil))
	var seen [][]expiry.Expired
	for _, w := range c.watchers {
		seen = append(seen, w.Events(dir))
	}
	r := expiry.Judge(c.writes, seen, c.line, limits)
	c.t.Logf("%d writes with a TTL: %v", len(c.writes), r)
	for _, v := range r.Violations {
		c.t.Error(v)
	}
}

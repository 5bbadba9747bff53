package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// These tests use real connections, whose ends the system reports in its own way.

// member is a member on the network.
type member struct {
	*http.Server
	url string
}

func serveMember(t *testing.T, h http.Handler) *member {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return &member{srv, "http://" + l.Addr().String()}
}

// runProxy runs a proxy for these members.
func runProxy(t *testing.T, members ...*member) (*Proxy, *httptest.Server) {
	t.Helper()
	s := new(source)
	var urls []string
	for _, m := range members {
		urls = append(urls, m.url)
	}
	s.Set(nil, urls...)
	// These tests are about many clients, on machines that may be busy: a member that
	// is slow to answer must not count as one that has gone.
	p := New(Config{Members: s, DialTimeout: time.Minute, WriteTimeout: time.Minute, ProbeInterval: -1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()
	front := httptest.NewUnstartedServer(p)
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	front.Start()
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		cancel()
		<-done
	})
	return p, front
}

// waiter is a member whose polls end when they are told to.
type waiter struct {
	polls atomic.Int64
	fire  chan struct{}
}

func (m *waiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Etcd-Index", "10")
	if r.URL.Query().Get("wait") == "" {
		io.WriteString(w, "ok")
		return
	}
	m.polls.Add(1)
	http.NewResponseController(w).Flush()
	select {
	case <-m.fire:
		io.WriteString(w, event(11))
	case <-r.Context().Done():
	}
}

func TestManyPollsCostOne(t *testing.T) {
	const clients = 2000
	m := &waiter{fire: make(chan struct{})}
	_, front := runProxy(t, serveMember(t, m))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var waiting, all sync.WaitGroup
	waiting.Add(clients)
	for range clients {
		all.Go(func() {
			res, err := client.Get(front.URL + xPoll)
			waiting.Done() // the head tells that the watch has begun
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); err != nil || string(text) != event(11) {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
	waiting.Wait()
	close(m.fire)
	all.Wait()
	if n := m.polls.Load(); n != 1 {
		t.Errorf("%d clients cost %d polls at the member, want 1", clients, n)
	}
}

// Two of three members die while clients read, write and wait. Nobody notices.
func TestMembersDieUnderLoad(t *testing.T) {
	const workers, requests = 8, 300
	w := &waiter{fire: make(chan struct{})}
	members := []*member{serveMember(t, w), serveMember(t, w), serveMember(t, w)}
	p, front := runProxy(t, members...)
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	ask := func(method, target string) (string, error) {
		req, err := http.NewRequest(method, front.URL+target, strings.NewReader("value=1"))
		if err != nil {
			return "", err
		}
		if method == "GET" {
			req.Body, req.ContentLength = nil, 0
		}
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(text)), err
	}
	var polls, load sync.WaitGroup
	for i := range workers {
		polls.Go(func() {
			if got, err := ask("GET", fmt.Sprintf("/v2/keys/%d?wait=true", i)); err != nil || got != "200 "+event(11) {
				t.Errorf("poll %d: %q, %v", i, got, err)
			}
		})
	}
	var done atomic.Int64
	for range workers {
		load.Go(func() {
			for n := range requests {
				method := []string{"GET", "PUT"}[n%2]
				if got, err := ask(method, "/v2/keys/x"); err != nil || got != "200 ok" {
					t.Errorf("%s: %q, %v", method, got, err)
				}
				switch done.Add(1) {
				case workers * requests / 3, workers * requests * 2 / 3:
					kill(p, members)
				}
			}
		})
	}
	load.Wait()
	close(w.fire)
	polls.Wait()
	if n := len(p.endpoints.Available()); n != 1 {
		t.Errorf("%d endpoints are available, want 1", n)
	}
}

// kill ends the member that requests go to.
func kill(p *Proxy, members []*member) {
	target := p.endpoints.Available()[0].text
	for _, m := range members {
		if m.url == target {
			m.Close()
		}
	}
}

// Clients that leave, whatever they waited for, leave nothing behind.
func TestClientsLeaveNothing(t *testing.T) {
	const clients, atOnce = 10_000, 50
	m := &waiter{fire: make(chan struct{})}
	p, front := runProxy(t, serveMember(t, m))
	before := runtime.NumGoroutine()
	addr := front.Listener.Addr().String()
	var next atomic.Int64
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for n := next.Add(1); n <= clients; n = next.Add(1) {
				target := xPoll
				if n%8 == 0 {
					target += "&stream=true"
				}
				if err := waitAndLeave(addr, target); err != nil {
					t.Errorf("client %d: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before || p.polls.Len() > 0 {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before; %d polls wait\n%s",
				runtime.NumGoroutine(), before, p.polls.Len(), stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(time.Millisecond) // nothing tells when a goroutine of net/http has ended
	}
	if n := len(p.endpoints.Available()); n != 1 {
		t.Errorf("%d endpoints are available, want 1", n)
	}
}

// waitAndLeave begins to wait and cuts the connection.
func waitAndLeave(addr, target string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0) // no rest of it stays in the system
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

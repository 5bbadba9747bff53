package v2

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/test/pki"
)

// secureSite is a front behind TLS, inside a bubble.
type secureSite struct {
	pipeListener
	client *tls.Config
	server *http.Server
	log    *strings.Builder // read after end
	end    func()
}

func newSecureSite(t *testing.T, cfg Config) *secureSite {
	t.Helper()
	ca := pki.New(t, "authority")
	pair := ca.Issue("server", time.Hour, pki.Server)
	s := &secureSite{
		pipeListener: newPipeListener(),
		client:       &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"},
		log:          new(strings.Builder),
	}
	s.server = NewHTTPServer(Handler(newMember(t), cfg), slog.New(slog.NewTextHandler(s.log, nil)))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1) // one result
	secure := tls.NewListener(s, &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
	go func() { done <- NewFront(s.server).Run(ctx, secure) }()
	s.end = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *secureSite) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := s.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A connection is answered over TLS by the front and by net/http, which finds its
// TLS state.
func TestFrontOverTLS(t *testing.T) {
	for name, cfg := range map[string]Config{"front": {}, "without": {CORS: []string{"*"}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSecureSite(t, cfg)
				var mu sync.Mutex // guards states
				var states []tls.ConnectionState
				s.server.ConnState = func(c net.Conn, now http.ConnState) {
					if now != http.StateNew {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if c, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
						states = append(states, c.ConnectionState())
					}
				}
				conn := tls.Client(s.dial(t), s.client)
				defer conn.Close()
				go io.WriteString(conn, put("/v2/keys/a", "value=1", "")+
					"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"+
					"GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				all, err := io.ReadAll(conn)
				if err != nil {
					t.Error(err)
				}
				answer := string(all)
				for _, want := range []string{"HTTP/1.1 201 Created", `{"etcdserver":`, `{"action":"get","node":{"key":"/a","value":"1"`} {
					if strings.Count(answer, want) != 1 {
						t.Errorf("answers lack %q:\n%s", want, answer)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if len(states) != 1 || !states[0].HandshakeComplete {
					t.Errorf("net/http sees the states %+v, want one after a handshake", states)
				}
			})
		})
	}
}

// Without TLS nothing claims that there is any.
func TestReplayedWithoutTLS(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, ok := replay(a, nil).(interface{ ConnectionState() tls.ConnectionState }); ok {
		t.Error("a connection without TLS has a TLS state")
	}
}

func TestFrontRefusesHTTPWhereTLSIsSpoken(t *testing.T) {
	for _, request := range []string{
		"GET /v2/keys/ HTTP/1.1\r\nHost: a\r\n\r\n", put("/v2/keys/a", "value=1", ""),
		"POST /v2/keys/ HTTP/1.1\r\n", "HEAD /v2/keys/ HTTP/1.1\r\n", "DELETE /v2/keys/ HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSecureSite(t, Config{})
			conn := s.dial(t)
			go io.WriteString(conn, request)
			answer, _ := io.ReadAll(conn)
			if string(answer) != notTLS {
				t.Errorf("%q: answer %q", request, answer)
			}
			s.end()
			if !strings.Contains(s.log.String(), "client sent an HTTP request to an HTTPS server") {
				t.Errorf("%q: log %s", request, s.log)
			}
		})
	}
}

// Who never finishes a handshake is let go after a while, and meanwhile keeps
// nobody else waiting, not even a stop.
func TestFrontDoesNotWaitForHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecureSite(t, Config{})
		start := time.Now()
		silent := s.dial(t)
		conn := tls.Client(s.dial(t), s.client)
		defer conn.Close()
		go io.WriteString(conn, "GET /v2/keys/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("beside a slow one: %q, %v", answer, err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("beside a slow one the answer took %v", took)
		}
		io.ReadAll(silent)
		if took := time.Since(start); took != readHeaderTimeout {
			t.Errorf("a silent client was left after %v, want %v", took, readHeaderTimeout)
		}
		s.dial(t)
		synctest.Wait()
		start = time.Now()
		s.end()
		if took := time.Since(start); took != 0 {
			t.Errorf("the stop waited %v for a silent client", took)
		}
	})
}

// Nor does a stop wait longer than for others for a client that does not take the
// goodbye of TLS.
func TestStopDoesNotWaitForGoodbyes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecureSite(t, Config{})
		deaf := tls.Client(s.dial(t), s.client)
		if err := deaf.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		s.end()
		if took := time.Since(start); took > stopGrace {
			t.Errorf("the stop took %v, want at most %v", took, stopGrace)
		}
	})
}

func TestCertificateExpiryIsAMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(90 * time.Second)
		s := newSite(t, newMember(t), Config{Certificates: map[string]func() time.Time{
			"client": func() time.Time { return end },
			"peer":   func() time.Time { return end.Add(-2 * time.Minute) },
		}})
		resp := s.get(t.Context(), "/metrics")
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`etcd_server_certificate_expiry_seconds{port="client"} 90` + "\n",
			`etcd_server_certificate_expiry_seconds{port="peer"} -30` + "\n",
		} {
			if !strings.Contains(string(page), want) {
				t.Errorf("metrics lack %q", want)
			}
		}
	})
}

// A watch rests over TLS too, and its connection goes on afterwards.
func TestWatchOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecureSite(t, Config{})
		watcher := tls.Client(s.dial(t), s.client)
		defer watcher.Close()
		if _, err := io.WriteString(watcher, poll); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() {
			writer := tls.Client(s.dial(t), s.client)
			defer writer.Close()
			io.WriteString(writer, put("/v2/keys/foo", "value=1", "Connection: close\r\n"))
			io.Copy(io.Discard, writer)
			io.WriteString(watcher, lastGet)
		})
		all, err := io.ReadAll(watcher)
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{`{"action":"set",`, "}\n\r\n" + lastChunk + "HTTP/1.1 200 OK", `{"action":"get",`} {
			if strings.Count(string(all), want) != 1 {
				t.Errorf("answers lack %q:\n%s", want, all)
			}
		}
	})
}

package v2

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/etcdserver"
	"etcd2/store"
)

// A client that says nothing is left after the idle time, one that stops in the
// middle of a body after the time for bodies.
func TestFrontLeavesSilentClients(t *testing.T) {
	for _, tt := range []struct {
		name, begin string
		after       time.Duration
	}{
		{"idle", "", 5 * time.Minute},
		{"one byte", "P", 10 * time.Second},
		{"after a watch", "GET /v2/keys/foo?wait=true&waitIndex=4 HTTP/1.1\r\nHost: a\r\n\r\n", 5 * time.Minute},
		{"half a body", "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", time.Minute},
		{"half a head", "PUT /v2/keys/a HTT", 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, newMember(t), Config{})
				s.set("/foo", "1")
				conn, err := s.lis.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				if tt.begin != "" { // a pipe takes an empty write for something
					if _, err := io.WriteString(conn, tt.begin); err != nil {
						t.Fatal(err)
					}
				}
				start := time.Now()
				io.Copy(io.Discard, conn)
				if took := time.Since(start); took < tt.after || took > tt.after+deadlineStep {
					t.Errorf("left after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// A client that asks and does not read its answers is left after the time for
// writing; one that reads late, but in time, gets them all.
func TestFrontLeavesClientsThatDoNotRead(t *testing.T) {
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprintf("reads %v", reads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, newMember(t), Config{WriteTimeout: time.Minute})
				conn, err := s.lis.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				const get = "GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\n\r\n"
				var answers int
				for range 5 {
					if _, err := io.WriteString(conn, get); err != nil {
						t.Fatal(err)
					}
					time.Sleep(50 * time.Second)
					if !reads {
						time.Sleep(time.Minute)
					}
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						break
					}
					io.Copy(io.Discard, resp.Body)
					answers++
				}
				if want := map[bool]int{true: 5, false: 0}[reads]; answers != want {
					t.Errorf("%d answers, want %d", answers, want)
				}
			})
		})
	}
}

// slowLog is a member whose writes wait until they are let go.
type slowLog struct {
	*member
	begun, release chan struct{}
}

func (s *slowLog) Do(ctx context.Context, op store.Op) (etcdserver.Reply, error) {
	close(s.begun)
	select {
	case <-s.release:
		return s.member.Do(ctx, op)
	case <-ctx.Done():
		return etcdserver.Reply{}, ctx.Err()
	}
}

// When the front is to stop, a write under way is finished and answered; it does
// not wait for one that hangs, nor for a client that rests.
func TestFrontFinishesWhatIsUnderWay(t *testing.T) {
	for _, finishes := range []bool{true, false} {
		t.Run(fmt.Sprintf("finishes %v", finishes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &slowLog{newMember(t), make(chan struct{}), make(chan struct{})}
				h := Handler(m, Config{})
				lis := newPipeListener()
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1) // one result
				go func() { done <- NewFront(NewHTTPServer(h, slog.New(slog.DiscardHandler))).Run(ctx, lis) }()
				idle, err := lis.Dial(ctx, "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer idle.Close()
				conn, err := lis.Dial(ctx, "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, put("/v2/keys/a", "value=1", ""))
				<-m.begun
				start := time.Now()
				stop()
				time.Sleep(stopGrace / 2)
				if finishes {
					close(m.release)
				}
				answer, _ := io.ReadAll(conn)
				if got := strings.HasPrefix(string(answer), "HTTP/1.1 201 "); got != finishes {
					t.Errorf("answer after the stop: %q", answer)
				}
				if err := <-done; err != nil {
					t.Errorf("Run = %v", err)
				}
				if took := time.Since(start); took > stopGrace {
					t.Errorf("the stop took %v, want at most %v", took, stopGrace)
				}
			})
		})
	}
}

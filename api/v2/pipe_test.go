package v2

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// pipeListener is a network inside one test bubble.
type pipeListener struct{ *handover }

func newPipeListener() pipeListener { return pipeListener{newHandover()} }

func (l pipeListener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// DialHalves is Dial for a client that may close its side and still listen.
func (l pipeListener) DialHalves(ctx context.Context) (client halves, err error) {
	there, toServer := net.Pipe()
	back, toClient := net.Pipe()
	select {
	case l.conns <- halves{there, toClient}:
		return halves{back, toServer}, nil
	case <-ctx.Done():
		return halves{}, ctx.Err()
	}
}

// halves is a connection with a pipe for each direction.
type halves struct {
	net.Conn // what is read
	out      net.Conn
}

func (h halves) Write(b []byte) (int, error)        { return h.out.Write(b) }
func (h halves) CloseWrite() error                  { return h.out.Close() }
func (h halves) Close() error                       { return errors.Join(h.Conn.Close(), h.out.Close()) }
func (h halves) SetWriteDeadline(t time.Time) error { return h.out.SetWriteDeadline(t) }

// SetReadDeadline takes one behind the last byte too, as a socket does.
func (h halves) SetReadDeadline(t time.Time) error {
	h.Conn.SetReadDeadline(t)
	return nil
}

func (h halves) SetDeadline(t time.Time) error {
	return errors.Join(h.SetReadDeadline(t), h.SetWriteDeadline(t))
}

// site is a running server and a client of it, inside a bubble.
type site struct {
	*member
	t      *testing.T
	lis    pipeListener
	stop   context.CancelFunc // cuts the watches
	client *http.Client
}

// newSite starts a server. It ends with the test; what is still open then is cut.
func newSite(t *testing.T, m *member, cfg Config) *site {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cfg.Stop = ctx
	s := &site{member: m, t: t, lis: newPipeListener(), stop: stop}
	h := Handler(m, cfg)
	serving, cut := context.WithCancel(context.Background())
	served := make(chan error, 1) // one result
	go func() { served <- NewFront(NewHTTPServer(h, slog.New(slog.DiscardHandler))).Run(serving, s.lis) }()
	transport := &http.Transport{DialContext: s.lis.Dial}
	s.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		stop()
		transport.CloseIdleConnections()
		cut()
		if err := <-served; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return s
}

// get sends a GET and returns when the head of the answer is there.
func (s *site) get(ctx context.Context, target string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://member"+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("GET %s: %v", target, err)
	}
	return resp
}

// lines hands out the lines of an open answer as they come; the channel closes at
// its end, clean or not.
func lines(resp *http.Response) (text <-chan string, end <-chan error) {
	out := make(chan string, 1000) // more than any test sends
	done := make(chan error, 1)    // one result
	go func() {
		defer close(out)
		r := bufio.NewReader(resp.Body)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				out <- line
			}
			if err != nil {
				if err == io.EOF {
					err = nil
				}
				done <- err
				return
			}
		}
	}()
	return out, done
}

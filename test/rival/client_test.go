package rival

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"etcd2/test/wire"
)

// message is one request byte for byte, and what a comparison has to know of it.
type message struct {
	text   string
	head   bool   // the answer to a HEAD has no body, whatever it announces
	watch  bool   // leave the answer open
	key    string // that is watched
	stream bool
	past   bool // the watch begins at an index that has been
}

// reply is one answer.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // the connection ended before the answer did
}

// channel talks to one server on a connection that is kept as long as the
// server keeps it.
type channel struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func (c *channel) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// answerPatience is short, because the answer of some broken requests is silence.
const answerPatience = 3 * time.Second

// say sends a message and reads the answer.
func (c *channel) say(t *testing.T, m message) reply {
	t.Helper()
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, wire.Patience)
		if err != nil {
			t.Fatal(err)
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(answerPatience))
	_, _ = io.WriteString(c.conn, m.text) // a server may answer and hang up while it is written to
	method := "GET"
	if m.head {
		method = "HEAD"
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.close()
		return reply{err: err}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Close {
		c.close()
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(body), err: err}
}

// listener is a watch that was begun, and gathers what comes.
type listener struct {
	conn  net.Conn
	reply reply // without a body

	mu    sync.Mutex // guards the fields below
	body  bytes.Buffer
	ended bool
}

// listen begins a watch and returns when its head has come.
func listen(t *testing.T, addr string, m message) *listener {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, wire.Patience)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{conn: conn}
	t.Cleanup(l.close)
	_ = conn.SetDeadline(time.Now().Add(wire.Patience))
	if _, err := io.WriteString(conn, m.text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("head of the watch %q: %v", m.text, err)
	}
	l.reply = reply{status: resp.StatusCode, header: resp.Header}
	_ = conn.SetDeadline(time.Time{})
	go func() {
		_, _ = io.Copy(l, resp.Body) // until the server ends it, or close
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true
	}()
	return l
}

// Write takes what comes.
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.body.Write(p)
}

// heard returns what has come so far, and whether that was all.
func (l *listener) heard() (body string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.body.String(), l.ended
}

func (l *listener) close() { _ = l.conn.Close() }

// describe writes an answer down for a failure.
func (r reply) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d err=%v\n", r.status, r.err)
	var names []string
	for name := range r.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s: %s\n", name, strings.Join(r.header[name], ", "))
	}
	fmt.Fprintf(&b, "  %.1500q", r.body)
	return b.String()
}

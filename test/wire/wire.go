// Package wire sends HTTP/1.1 requests exactly as a test wrote them.
//
// net/http cleans paths, escapes targets, reuses connections and retries; a test
// of what a server does with a request must have none of that. Each Exchange is
// one request on its own TCP connection, and its answer can be read in the pieces
// in which a long poll or a stream delivers it.
//
// An Exchange belongs to one goroutine.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Patience is how long the reading methods wait when the caller names no time.
const Patience = 10 * time.Second

// Errors a test can tell apart.
var (
	ErrTimeout = errors.New("wire: nothing more came in time")
	ErrEnded   = errors.New("wire: the response has ended")
)

// Field is one header line.
type Field struct{ Name, Value string }

// Request is what goes on the wire. Target and the header values are sent
// verbatim; Host, Connection, User-Agent and Content-Length (for PUT, POST and
// any body) are added unless Header names them.
type Request struct {
	Method string
	Target string
	Header []Field
	Body   []byte
}

// Form returns a request whose body is an already encoded form.
func Form(method, target, encoded string) Request {
	return Request{
		Method: method,
		Target: target,
		Header: []Field{{"Content-Type", "application/x-www-form-urlencoded"}},
		Body:   []byte(encoded),
	}
}

// bytes writes the request out; host goes into the Host line.
func (r Request) bytes(host string) []byte {
	has := func(name string) bool {
		for _, f := range r.Header {
			if strings.EqualFold(f.Name, name) {
				return true
			}
		}
		return false
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.Method, r.Target)
	for _, f := range []Field{{"Host", host}, {"User-Agent", "etcd2-test"}, {"Connection", "close"}} {
		if !has(f.Name) {
			fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	bodied := len(r.Body) > 0 || r.Method == "PUT" || r.Method == "POST"
	if bodied && !has("Content-Length") && !has("Transfer-Encoding") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	for _, f := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	return b.Bytes()
}

// Exchange is one request that was sent and the answer that is arriving.
type Exchange struct {
	Sent   time.Time   // just before the request went out
	Status int         // set by Head
	Header http.Header // set by Head

	conn   net.Conn
	head   chan head   // capacity 1: the reader never waits to hand the head over
	data   chan []byte // capacity 16: a few reads may run ahead of the test
	gone   chan struct{}
	buf    []byte // arrived, not yet asked for
	ended  bool
	broken error // why data ended, other than a proper end
}

type head struct {
	resp *http.Response
	err  error
}

// Send dials addr (host:port), sends r and returns without waiting for the
// answer. A peer that closes before it has read everything is not an error here:
// it may have answered already.
func Send(addr string, r Request) (*Exchange, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	x := &Exchange{
		Sent: time.Now(),
		conn: conn,
		head: make(chan head, 1),
		data: make(chan []byte, 16),
		gone: make(chan struct{}),
	}
	go x.read(r.Method)
	_ = conn.SetWriteDeadline(time.Now().Add(Patience))
	_, _ = conn.Write(r.bytes(addr)) // a server may answer and hang up while it is still being written to
	return x, nil
}

// Do sends r and waits for the whole answer.
func Do(addr string, r Request) (*Exchange, []byte, error) {
	x, err := Send(addr, r)
	if err != nil {
		return nil, nil, err
	}
	defer x.Close()
	if err := x.Head(Patience); err != nil {
		return x, nil, err
	}
	body, err := x.All(Patience)
	return x, body, err
}

// read decodes the answer on its own goroutine; Close ends it.
func (x *Exchange) read(method string) {
	defer close(x.data)
	br := bufio.NewReaderSize(x.conn, 64<<10)
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(br, &http.Request{Method: method})
	}
	x.head <- head{resp, err}
	if err != nil {
		return
	}
	for {
		p := make([]byte, 64<<10)
		n, err := resp.Body.Read(p)
		if n > 0 {
			select {
			case x.data <- p[:n]:
			case <-x.gone:
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				x.broken = err // published by close(x.data)
			}
			return
		}
	}
}

// Head waits for the status line and the headers and fills in Status and Header.
func (x *Exchange) Head(within time.Duration) error {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case h := <-x.head:
		if h.err != nil {
			return fmt.Errorf("wire: no response head: %w", h.err)
		}
		x.Status, x.Header = h.resp.StatusCode, h.resp.Header
		return nil
	case <-t.C:
		return ErrTimeout
	}
}

// Value returns a header as a test compares it: several lines of one name joined
// by ", ". The second result tells whether the header is there at all.
func (x *Exchange) Value(name string) (string, bool) {
	vs := x.Header.Values(name)
	return strings.Join(vs, ", "), len(vs) > 0
}

// more waits for the next piece of the body.
func (x *Exchange) more(t *time.Timer) error {
	if x.ended {
		return ErrEnded
	}
	select {
	case p, ok := <-x.data:
		if !ok {
			x.ended = true
			return nil
		}
		x.buf = append(x.buf, p...)
		return nil
	case <-t.C:
		return ErrTimeout
	}
}

// All returns what is left of the body once the server has ended it. A
// connection cut before the proper end is an error, and what came is returned too.
func (x *Exchange) All(within time.Duration) ([]byte, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for !x.ended {
		if err := x.more(t); err != nil {
			return x.buf, fmt.Errorf("%w; so far %.300q", err, x.buf)
		}
	}
	out := x.buf
	x.buf = nil
	return out, x.broken
}

// Lines returns the next n lines of the body, newlines included, and leaves the
// response open.
func (x *Exchange) Lines(n int, within time.Duration) ([]byte, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for {
		end := 0
		for range n {
			i := bytes.IndexByte(x.buf[end:], '\n')
			if i < 0 {
				end = -1
				break
			}
			end += i + 1
		}
		if end >= 0 {
			out := x.buf[:end:end]
			x.buf = x.buf[end:]
			return out, nil
		}
		if err := x.more(t); err != nil {
			return nil, fmt.Errorf("%w; wanted %d lines, so far %.300q", err, n, x.buf)
		}
	}
}

// Silent returns nil when nothing arrives for d and the response stays open.
func (x *Exchange) Silent(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		switch {
		case len(x.buf) > 0:
			return fmt.Errorf("wire: expected silence, got %.300q", x.buf)
		case x.ended:
			return ErrEnded
		}
		if err := x.more(t); errors.Is(err, ErrTimeout) {
			return nil
		}
	}
}

// Close disconnects. The answer need not have ended.
func (x *Exchange) Close() {
	select {
	case <-x.gone:
	default:
		close(x.gone)
		_ = x.conn.Close()
	}
}

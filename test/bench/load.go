package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds the wait for any one answer.
const patience = time.Minute

// client is one keep-alive connection. It understands just enough HTTP to know
// where an answer ends, so that its own cost stays small beside the server's.
type client struct {
	conn net.Conn
	br   *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, br: bufio.NewReaderSize(conn, 4<<10)}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// roundTrip sends a request and reads its answer to the end. It returns the
// length of the body.
func (c *client) roundTrip(request []byte) (int64, error) {
	if err := c.send(request); err != nil {
		return 0, err
	}
	return c.answer()
}

func (c *client) send(request []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(request)
	return err
}

// head reads the head of an answer: the length of the body, or -1 when it comes in
// chunks.
func (c *client) head() (int64, error) {
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 2")) {
		return 0, fmt.Errorf("answer %q", bytes.TrimSpace(line))
	}
	length := int64(-1)
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64); err != nil {
				return 0, err
			}
		}
	}
}

// answer reads one answer and throws the body away.
func (c *client) answer() (int64, error) {
	length, err := c.head()
	if err != nil {
		return 0, err
	}
	if length >= 0 {
		_, err := io.CopyN(io.Discard, c.br, length)
		return length, err
	}
	return c.chunks()
}

// chunks reads a chunked body.
func (c *client) chunks() (int64, error) {
	total := int64(0)
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return total, err
		}
		if _, err := io.CopyN(io.Discard, c.br, size+2); err != nil { // with the line end after it
			return total, err
		}
		if size == 0 {
			return total, nil
		}
		total += size
	}
}

// value is what every key holds: 64 bytes that need no escaping.
var value = strings.Repeat("0123456789abcdef", 4)

// putRequest appends a form-encoded PUT of a key.
func putRequest(b []byte, addr, key, value string) []byte {
	form := "value=" + url.QueryEscape(value)
	b = append(b, "PUT /v2/keys"...)
	b = append(b, key...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, addr...)
	b = append(b, "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(form)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, form...)
}

// getRequest appends a GET of a key; query starts with "?" or is empty.
func getRequest(b []byte, addr, key, query string) []byte {
	b = append(b, "GET /v2/keys"...)
	b = append(b, key...)
	b = append(b, query...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, addr...)
	return append(b, "\r\n\r\n"...)
}

// load is a shape of traffic.
type load struct {
	addr    string
	conns   int
	length  time.Duration // how long; zero means until next gives nothing
	request func(b []byte, n int64, r *rand.Rand) []byte
	limit   int64 // number of requests when length is zero
}

// outcome is what a load measured.
type outcome struct {
	requests int64
	took     time.Duration
	hist     *histogram
}

func (o outcome) rate() float64 { return float64(o.requests) / o.took.Seconds() }

// run puts the load on the server: every connection sends its next request when
// the answer to the last one is complete.
func (l load) run(ctx context.Context) (outcome, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	hists := make([]histogram, l.conns)
	errs := make([]error, l.conns)
	begin := time.Now()
	for i := range l.conns {
		wg.Go(func() { errs[i] = l.worker(ctx, uint64(i), &next, begin, &hists[i]) })
	}
	wg.Wait()
	out := outcome{took: time.Since(begin), hist: new(histogram)}
	for i := range hists {
		out.hist.merge(&hists[i])
	}
	out.requests = out.hist.total
	return out, errors.Join(errs...)
}

func (l load) worker(ctx context.Context, seed uint64, next *atomic.Int64, begin time.Time, h *histogram) error {
	c, err := dial(l.addr)
	if err != nil {
		return err
	}
	defer c.close()
	r := rand.New(rand.NewPCG(1, seed))
	var buf []byte
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		sent := time.Now()
		if l.length > 0 && sent.Sub(begin) >= l.length || l.length == 0 && n >= l.limit {
			return nil
		}
		buf = l.request(buf[:0], n, r)
		if _, err := c.roundTrip(buf); err != nil {
			return err
		}
		h.add(time.Since(sent))
	}
	return ctx.Err()
}

package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// crowd opens connections and sends the same bytes on each. It returns fewer when
// this process may not open so many.
func crowd(t *testing.T, addr string, n int, hello string) []net.Conn {
	t.Helper()
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	for range n {
		c, err := net.DialTimeout("tcp", addr, wire.Patience)
		if err != nil {
			t.Skipf("this machine lets a process open %d connections only: %v", len(conns), err)
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, hello); err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
	}
	return conns
}

func TestIdleConnectionsAreCarried(t *testing.T) {
	m := proc.Start(t, proc.Options{})
	crowd(t, m.Client, 10_000, "")
	put(t, m, "/a", "1")
	holds(t, m, "/a", "1")
}

// TestSlowHeadersAreCutOff has clients that begin a request and never finish it.
// They must not keep others waiting, and they are let go after the time a head
// may take.
func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	conns := crowd(t, m.Client, 500, "GET /v2/keys/a HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	put(t, m, "/a", "1")
	holds(t, m, "/a", "1")
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, errs[i] = io.Copy(io.Discard, c) // until the server hangs up
		})
	}
	wg.Wait()
	for i, err := range errs {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("slow connection %d was still open after 30s", i)
		}
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	for _, tt := range []struct {
		name string
		req  wire.Request
	}{
		{"one header", wire.Request{Method: "GET", Target: "/v2/keys/", Header: []wire.Field{{Name: "X-Big", Value: strings.Repeat("x", 2<<20)}}}},
		{"many headers", wire.Request{Method: "GET", Target: "/v2/keys/", Header: slices.Repeat([]wire.Field{{Name: "X-Many", Value: strings.Repeat("x", 1000)}}, 2000)}},
		{"the target", wire.Request{Method: "GET", Target: "/v2/keys/" + strings.Repeat("x", 2<<20)}},
	} {
		x, err := wire.Send(m.Client, tt.req)
		if err != nil {
			t.Fatal(err)
		}
		// The server may hang up before it has read all; an answer, if it arrives, is
		// 431 (or 414 for the target).
		if err := x.Head(wire.Patience); errors.Is(err, wire.ErrTimeout) {
			t.Errorf("%s: no answer and no end", tt.name)
		} else if err == nil && x.Status != 431 && x.Status != 414 {
			t.Errorf("%s: status %d, want 431", tt.name, x.Status)
		}
		x.Close()
	}
	put(t, m, "/a", "1")
}

func TestHugeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	form := []wire.Field{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}
	value := []byte("value=" + strings.Repeat("x", 11<<20))
	var chunked bytes.Buffer
	for piece := range bytes.Lines(bytes.ReplaceAll(value, []byte(strings.Repeat("x", 1<<20)), []byte(strings.Repeat("x", 1<<20)+"\n"))) {
		fmt.Fprintf(&chunked, "%x\r\n%s\r\n", len(piece), piece)
	}
	chunked.WriteString("0\r\n\r\n")
	tests := []struct {
		name string
		req  wire.Request
	}{
		{"with a length", wire.Request{Method: "PUT", Target: "/v2/keys/big", Header: form, Body: value}},
		{"in chunks", wire.Request{Method: "PUT", Target: "/v2/keys/big", Body: chunked.Bytes(),
			Header: append([]wire.Field{{Name: "Transfer-Encoding", Value: "chunked"}}, form...)}},
	}
	for _, tt := range tests {
		x, body, err := wire.Do(m.Client, tt.req)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if x.Status != 400 || !strings.Contains(string(body), `"errorCode":210`) {
			t.Errorf("%s: %d %.200s, want 400 and code 210", tt.name, x.Status, body)
		}
	}
	if x, _, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/big"}); err != nil || x.Status != 404 {
		t.Errorf("a refused value was stored: %v, %v", x, err)
	}
	put(t, m, "/a", "1")
}

// TestPathTricksStayInTheKeySpace tries to reach the server's own directories,
// which live in the same tree beside the keys of clients.
func TestPathTricksStayInTheKeySpace(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	machines := func() string {
		_, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/machines"})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	before := machines()
	ups := []string{"..", "%2e%2e", ".%2e", "%2E.", "..%00", "..%2f..", "%2e%2e%2f%2e%2e", "..;", "..\\..", "%5c..", "\x00", "%00", "%ff%fe", "\xff", "%252e%252e", "/", "//", "/./..", "%2f..%2f.."}
	for _, up := range ups {
		for _, below := range []string{"0", "0/members", "0/version", "2", "2/users/root", "1/0/members"} {
			for _, method := range []string{"GET", "PUT", "DELETE", "POST"} {
				target := "/v2/keys/" + up + "/" + below
				r := wire.Form(method, target+"?recursive=true&dir=true", "")
				x, body, err := wire.Do(m.Client, r)
				if err != nil {
					continue // the request itself was broken; the server hung up
				}
				for _, secret := range []string{"raftAttributes", "peerURLs", "clientURLs", `"2.3.0"`} {
					if strings.Contains(string(body), secret) {
						t.Errorf("%s %q = %d %.200q: it shows the server's own directories", method, target, x.Status, body)
					}
				}
				if x.Status >= 500 {
					t.Errorf("%s %q = %d %.200q", method, target, x.Status, body)
				}
			}
		}
	}
	if after := machines(); after != before {
		t.Errorf("the member list changed from %q to %q", before, after)
	}
	m.Kill()
	restart(t, m)
	if after := machines(); after != before {
		t.Errorf("the member list after a restart changed from %q to %q", before, after)
	}
}

// TestNonsenseIsRefused sends what is not HTTP, or only nearly. The server answers
// with a 4xx or hangs up; it never hangs and never dies.
// TestClientsThatOnlyListenAreAnswered has clients that close their side of the
// connection behind the request, as "printf ... | nc" does, and wait.
func TestClientsThatOnlyListenAreAnswered(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	put(t, m, "/a", "1")
	const form = "Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for _, tt := range []struct{ name, text, want string }{
		{"a read", "GET /v2/keys/a HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
		{"a write", "PUT /v2/keys/a HTTP/1.1\r\n" + form + "Content-Length: 7\r\n\r\nvalue=2", "200"},
		{"a write in chunks", "PUT /v2/keys/a HTTP/1.1\r\n" + form + "Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=3\r\n0\r\n\r\n", "200"},
		{"an old write", "PUT /v2/keys/a HTTP/1.0\r\n" + form + "Content-Length: 7\r\n\r\nvalue=4", "200"},
		{"an old agreed read", "GET /v2/keys/a?quorum=true HTTP/1.0\r\n\r\n", "200"},
		{"health", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
		{"a watch of the past", "GET /v2/keys/a?wait=true&waitIndex=4 HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
		{"an old delete", "DELETE /v2/keys/a HTTP/1.0\r\n\r\n", "200"},
	} {
		c, err := net.DialTimeout("tcp", m.Client, wire.Patience)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, tt.text)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(wire.Patience))
		answer, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil || !bytes.HasPrefix(answer[min(len(answer), len("HTTP/1.1 ")):], []byte(tt.want)) {
			t.Errorf("%s: answer %q, %v, want %s", tt.name, answer, err, tt.want)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	tests := []struct{ name, text string }{
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"an empty line", "\r\n\r\n\r\n"},
		{"one word", "HELLO\r\n\r\n"},
		{"no version", "GET /v2/keys/\r\n\r\n"},
		{"a version from the future", "GET /v2/keys/ HTTP/9.9\r\nHost: x\r\n\r\n"},
		{"no host", "GET /v2/keys/ HTTP/1.1\r\n\r\n"},
		{"two hosts", "GET /v2/keys/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
		{"a header without a colon", "GET /v2/keys/ HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"},
		{"two lengths", "PUT /v2/keys/n HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
		{"a negative length", "PUT /v2/keys/n HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"},
		{"a length beyond all", "PUT /v2/keys/n HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"},
		{"an unknown coding", "PUT /v2/keys/n HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: banana\r\n\r\n"},
		{"a broken escape", "GET /v2/keys/%zz HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"a space in the target", "GET /v2/keys/a b HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"a control character in the method", "G\x01T /v2/keys/ HTTP/1.1\r\nHost: x\r\n\r\n"},
	}
	for _, tt := range tests {
		c, err := net.DialTimeout("tcp", m.Client, wire.Patience)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, tt.text)
		_ = c.(*net.TCPConn).CloseWrite() // what is not a request by now will not become one
		_ = c.SetReadDeadline(time.Now().Add(wire.Patience))
		answer := make([]byte, 64)
		n, err := io.ReadAtLeast(c, answer, 12)
		_ = c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: no answer and no end", tt.name)
			continue
		}
		if err == nil && !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 4")) && !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 50")) {
			t.Errorf("%s: answer %q, want a refusal", tt.name, answer[:n])
		}
	}
	put(t, m, "/a", "1")
}

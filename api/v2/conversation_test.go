package v2

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

// What may happen in a conversation beside the pieces that arrive.
const (
	event = "(foo is set)"
	goes  = "(the client closes its side)"
	stops = "(the server stops)"
)

// What many conversations begin and end with.
const (
	poll    = "GET /v2/keys/foo?wait=true HTTP/1.1\r\nHost: a\r\n\r\n"
	follow  = "GET /v2/keys/foo?wait=true&stream=true HTTP/1.1\r\nHost: a\r\n\r\n"
	lastGet = "GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)

// conversations are what clients may put on one connection, in the pieces in
// which they arrive. The end of each ends the connection.
var conversations = []struct {
	name   string
	pieces []string
	plain  bool // answered at the front to the end
}{
	{"get", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"get with what curl adds", []string{"GET /v2/keys/foo?quorum=true HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nUser-Agent: curl/7.88\r\nAccept: */*\r\nConnection: close\r\n\r\n"}, true},
	{"quorum get of nothing", []string{"GET /v2/keys/none?quorum=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"get with a bound", []string{"GET /v2/keys/foo?maxStale=1m HTTP/1.1\r\nHost: a\r\n\r\n", "GET /v2/keys?maxStale=0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"get with a bad bound", []string{"GET /v2/keys/foo?maxStale=x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"head with a bound", []string{"HEAD /v2/keys/foo?maxStale=1m HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"missing", []string{"GET /v2/keys/none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"put", []string{put("/v2/keys/new", "value=1", "Connection: close\r\n")}, true},
	{"put over", []string{put("/v2/keys/foo", "value=1&ttl=100", "Connection: close\r\n")}, true},
	{"body later", []string{strings.TrimSuffix(put("/v2/keys/new", "value=1", "Connection: close\r\n"), "value=1"), "val", "ue=1"}, true},
	{"long body", []string{put("/v2/keys/new", "value="+strings.Repeat("x", 20_000), "Connection: close\r\n")}, true},
	{"longer body", []string{put("/v2/keys/new", "value="+strings.Repeat("x", 200_000), "Connection: close\r\n")}, false},
	{"post without body", []string{"POST /v2/keys/q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"delete", []string{"DELETE /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"keep-alive", []string{put("/v2/keys/a", "value=1", ""), put("/v2/keys/a", "value=2", ""), "GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"pipelined", []string{put("/v2/keys/a", "value=1", "") + put("/v2/keys/a", "value=2", "") + "GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"listing", []string{"GET /v2/keys?sorted=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"long listing", []string{"GET /v2/keys/long?recursive=true HTTP/1.1\r\nHost: a\r\n\r\n" + "GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"answer of the longest length", []string{put("/v2/keys/long/x", "value="+strings.Repeat("x", lengthBytesMax-90), "Connection: close\r\n")}, true},
	{"answer in a chunk", []string{put("/v2/keys/long/x", "value="+strings.Repeat("x", lengthBytesMax-89), "") + "GET /v2/keys/long/x HTTP/1.1\r\nHost: a\r\n\r\nGET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"escapes", []string{"GET /v2/keys/%66oo?recursive=%74rue HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"bad parameter", []string{"GET /v2/keys/foo?recursive=maybe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"bad form", []string{put("/v2/keys/foo", "value=%zz", "Connection: close\r\n")}, true},
	{"a body that is no form", []string{strings.Replace(put("/v2/keys/foo", "value=1", "Connection: close\r\n"), formType, "text/plain", 1)}, true},
	{"a content type that is none", []string{strings.Replace(put("/v2/keys/foo", "value=1", "Connection: close\r\n"), formType, "a/b; c", 1)}, true},
	{"broken escape", []string{"GET /v2/keys/%zz HTTP/1.1\r\nHost: a\r\n\r\n"}, false},
	{"path to clean", []string{"GET /v2/keys/../../x?a=b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"escaped path to clean", []string{"GET /v2/keys/%2e%2e/%2e%2e/0/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"other endpoint", []string{"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"nothing there", []string{"GET /v2/keysfoo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"other method", []string{"PATCH /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"head", []string{"HEAD /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"options", []string{"OPTIONS /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"old version", []string{"GET /v2/keys/foo HTTP/1.0\r\n\r\n"}, false},
	{"no host", []string{"GET /v2/keys/foo HTTP/1.1\r\n\r\n"}, false},
	{"two hosts", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}, false},
	{"two connections", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"}, true},
	{"two lengths", []string{"PUT /v2/keys/foo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}, false},
	{"length and chunks", []string{"PUT /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}, false},
	{"chunked", []string{"PUT /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: " + formType + "\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nvalue=c\r\n0\r\n\r\n"}, false},
	{"folded header", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\nConnection: close\r\n\r\n"}, false},
	{"blank before the colon", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost : a\r\n\r\n"}, false},
	{"bare line ends", []string{"GET /v2/keys/foo HTTP/1.1\nHost: a\nConnection: close\n\n"}, false},
	{"head in pieces", []string{"GET /v2/keys/foo HT", "TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"a body where none belongs", []string{"GET /v2/keys/foo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"}, false},
	{"not HTTP", []string{"\x16\x03\x01\x02\x00\x01\x00"}, false},
	{"plain, then odd", []string{put("/v2/keys/a", "value=1", ""), "GET /version HTTP/1.1\r\nHost: a\r\n\r\n", "GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"plain, then a past watch", []string{put("/v2/keys/a", "value=1", "") + "GET /v2/keys/foo?wait=true&waitIndex=4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"watch of the past", []string{"GET /v2/keys/foo?wait=true&waitIndex=4 HTTP/1.1\r\nHost: a\r\n\r\n" + lastGet}, true},
	{"watch of the past by one that listens only", []string{"GET /v2/keys/foo?wait=true&waitIndex=4 HTTP/1.1\r\nHost: a\r\n\r\n", goes}, true},
	{"watch of what is cleared", []string{"GET /v2/keys/foo?wait=true&waitIndex=3 HTTP/1.1\r\nHost: a\r\n\r\n" + lastGet}, true},
	{"last watch of what is cleared", []string{"GET /v2/keys/foo?wait=true&waitIndex=3&stream=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"watch of the future", []string{"GET /v2/keys/foo?wait=true&waitIndex=11 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", event, event, event}, true},
	{"long poll, then a get", []string{poll, event, lastGet}, true},
	{"long poll, then an odd request", []string{poll, event, "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"long polls", []string{poll, event, poll, event, poll + poll, event, event, lastGet}, true},
	{"get behind a long poll", []string{poll + lastGet, event}, true},
	{"get during a long poll", []string{poll, lastGet, event}, true},
	{"half a get behind a long poll", []string{poll + "GET /v2/keys/foo HT", event, "TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, true},
	{"half a get during a long poll", []string{poll, "GET /v2/keys/foo HT", event, "TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
	{"left long poll", []string{poll, goes}, true},
	{"long poll left with a get behind it", []string{poll + lastGet, goes}, true},
	{"long poll left with half a get behind it", []string{poll + "GET /v2/ke", goes}, false},
	{"long poll left after a get", []string{poll, lastGet, goes, event}, true},
	{"stream", []string{follow, event, event, goes}, true},
	{"stream from the past", []string{"GET /v2/keys/?recursive=true&wait=true&stream=true&waitIndex=4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", event, goes}, true},
	{"get behind a stream", []string{follow + lastGet, event, goes}, true},
	{"long poll cut", []string{poll, stops}, true},
	{"stream cut", []string{follow, event, stops}, true},
	{"stream cut with a get behind it", []string{follow + lastGet, event, stops}, true},
	{"stream cut after a get", []string{follow, lastGet, event, stops}, true},
}

func put(target, body, headers string) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: a\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", target, headers, formType, len(body), body)
}

var dates = regexp.MustCompile(`Date: [^\r]*GMT\r\n`)

// talk puts the pieces on a connection to a fresh member and returns all that
// comes back.
func talk(t *testing.T, front bool, pieces []string) (answer string, leaves bool) {
	t.Helper()
	m := newMemberWith(t, store.Config{HistoryEvents: 6})
	m.age = 12 * time.Millisecond
	set := func(key, value string) {
		if _, err := m.Do(t.Context(), store.Op{Action: store.Set, Path: "/1" + key, Value: value}); err != nil {
			t.Error(err)
		}
	}
	set("/foo", "bar")
	for i := range 5 {
		set(fmt.Sprintf("/long/%d", i), strings.Repeat("v", chunkBytes))
	}
	ctx, stop := context.WithCancel(context.Background())
	h := Handler(m, Config{Stop: ctx})
	srv := NewHTTPServer(h, slog.New(slog.DiscardHandler))
	var left atomic.Bool
	srv.ConnState = func(net.Conn, http.ConnState) { left.Store(true) }
	lis := newPipeListener()
	done := make(chan error, 1) // one result
	go func() {
		if front {
			done <- NewFront(srv).Run(ctx, lis)
			return
		}
		context.AfterFunc(ctx, func() { srv.Close() })
		srv.Serve(lis)
		done <- nil
	}()
	conn, err := lis.DialHalves(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, len(pieces)) // a socket has room, a pipe has not
	var busy sync.WaitGroup
	busy.Go(func() {
		for p := range out {
			if p == goes {
				conn.CloseWrite()
			} else if _, err := io.WriteString(conn, p); err != nil {
				return // the server has heard enough
			}
		}
	})
	busy.Go(func() {
		defer close(out)
		for _, p := range pieces {
			switch p {
			case event:
				set("/foo", "new")
			case stops:
				stop()
			default:
				out <- p
			}
			time.Sleep(time.Millisecond) // of the bubble: the server takes it first
		}
	})
	all, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Errorf("reading the answer: %v", err)
	}
	conn.Close()
	busy.Wait()
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	return dates.ReplaceAllString(string(all), "Date: now\r\n"), left.Load()
}

// With the front or without it, a client sees the same.
func TestFrontAnswersAsNetHTTP(t *testing.T) {
	for _, c := range conversations {
		t.Run(c.name, func(t *testing.T) {
			var front, other string
			synctest.Test(t, func(t *testing.T) {
				var left bool
				front, left = talk(t, true, c.pieces)
				if left == c.plain {
					t.Errorf("left the front: %v, want %v", left, !c.plain)
				}
			})
			synctest.Test(t, func(t *testing.T) { other, _ = talk(t, false, c.pieces) })
			if got, want := readable(t, front), readable(t, other); got != want {
				t.Errorf("front answers\n%.2000q\nnet/http answers\n%.2000q", got, want)
			}
			if !strings.Contains(c.pieces[0], "wait=true") {
				return
			}
			// The chunks of a watch are the same too.
			if got, want := lineByLine(front), lineByLine(other); !slices.Equal(got, want) {
				t.Errorf("front sends\n%q\nnet/http sends\n%q", got, want)
			}
		})
	}
}

// lineByLine is what is on the wire without its order, which readable looks at.
func lineByLine(text string) []string { return slices.Sorted(strings.SplitSeq(text, "\r\n")) }

// readable writes answers down without what may differ: the order of headers and
// the pieces of a chunked body.
func readable(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	for r := bufio.NewReader(strings.NewReader(text)); ; {
		resp, err := http.ReadResponse(r, nil)
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %v %v %v %d\n", resp.Status, resp.Header, resp.Close, resp.TransferEncoding, resp.ContentLength)
		// The answer to a HEAD announces a body that does not come.
		if _, err := io.Copy(&out, resp.Body); err == io.ErrUnexpectedEOF {
			out.WriteString("(cut)")
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

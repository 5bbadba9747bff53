package v2

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

func (s *site) set(key, value string) store.Event {
	s.t.Helper()
	reply, err := s.Do(context.Background(), store.Op{Action: store.Set, Path: storePath(key), Value: value})
	if err != nil {
		s.t.Fatalf("Do(set %s) = %v", key, err)
	}
	return reply.Event
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		resp := s.get(t.Context(), "/v2/keys/foo?wait=true")
		if resp.StatusCode != 200 || resp.Header.Get("X-Etcd-Index") != "3" || resp.Header.Get("Content-Type") != "application/json" ||
			resp.Header.Get("X-Raft-Index") != "3" || resp.Header.Get("X-Raft-Term") != "2" || resp.ContentLength != -1 {
			t.Errorf("head of the watch = %d, length %d, %v", resp.StatusCode, resp.ContentLength, resp.Header)
		}
		text, end := lines(resp)
		time.Sleep(48 * time.Hour) // an idle watch stays
		synctest.Wait()
		if len(text) != 0 || len(end) != 0 {
			t.Fatalf("an idle watch sent %d lines, ended %d times", len(text), len(end))
		}
		s.set("/bar", "other")
		s.set("/foo", "1")
		s.set("/foo", "2")
		if got, want := <-text, `{"action":"set","node":{"key":"/foo","value":"1","modifiedIndex":5,"createdIndex":5}}`+"\n"; got != want {
			t.Errorf("event = %s, want %s", got, want)
		}
		if err := <-end; err != nil || len(text) != 0 {
			t.Errorf("after its event the watch ended with %v and %d more lines, want a clean end", err, len(text))
		}
		if n := s.StoreStats().Watchers; n != 0 {
			t.Errorf("%d watchers left", n)
		}
	})
}

func TestWatchOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		s.set("/foo", "1")
		s.set("/foo", "2")
		resp := s.get(t.Context(), "/v2/keys/foo?wait=true&waitIndex=4")
		body, err := io.ReadAll(resp.Body)
		want := `{"action":"set","node":{"key":"/foo","value":"1","modifiedIndex":4,"createdIndex":4}}` + "\n"
		if err != nil || string(body) != want || resp.Header.Get("X-Etcd-Index") != "5" {
			t.Errorf("answer = %s, %v, X-Etcd-Index %s; want %s, 5", body, err, resp.Header.Get("X-Etcd-Index"), want)
		}
	})
}

func TestWatchOfClearedHistory(t *testing.T) {
	m := &member{tree: store.New(store.Config{HistoryEvents: 2})}
	for i := range 5 {
		op := store.Op{Action: store.Set, Path: "/1/foo", Value: fmt.Sprint(i)}
		if _, err := m.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"/v2/keys/foo?wait=true&waitIndex=1", "/v2/keys/foo?wait=true&waitIndex=1&stream=true"} {
		w := call(Handler(m, Config{}), "GET", target, "")
		want := `{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [4/1]","index":5}` + "\n"
		if w.Code != 400 || w.Body.String() != want || w.Header().Get("X-Etcd-Index") != "5" || w.Header().Get("X-Raft-Index") != "" {
			t.Errorf("GET %s = %d %s%v, want 400 %s", target, w.Code, w.Body, w.Header(), want)
		}
	}
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		s.set("/d/a", "0")
		ctx, leave := context.WithCancel(t.Context())
		text, end := lines(s.get(ctx, "/v2/keys/d?wait=true&recursive=true&stream=true&waitIndex=4"))
		for i := range 5 {
			if i > 0 {
				s.set("/d/a", fmt.Sprint(i))
			}
			if got, want := <-text, fmt.Sprintf(`"value":"%d","modifiedIndex":%d`, i, 4+i); !strings.Contains(got, want) {
				t.Errorf("event %d = %s, want %s", i, got, want)
			}
			time.Sleep(time.Hour)
		}
		if n := s.StoreStats().Watchers; n != 1 {
			t.Errorf("%d watchers, want 1", n)
		}
		leave()
		<-end
		synctest.Wait()
		if n := s.StoreStats().Watchers; n != 0 {
			t.Errorf("%d watchers after the client left, want 0", n)
		}
	})
}

// A watcher that was cut off must see a broken connection, not an end.
func TestStopCutsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		_, poll := lines(s.get(t.Context(), "/v2/keys/foo?wait=true"))
		_, stream := lines(s.get(t.Context(), "/v2/keys/foo?wait=true&stream=true"))
		synctest.Wait()
		s.stop()
		for _, end := range []<-chan error{poll, stream} {
			if err := <-end; err != io.ErrUnexpectedEOF {
				t.Errorf("a watch ended with %v when the member stopped, want %v", err, io.ErrUnexpectedEOF)
			}
		}
	})
}

// A client that reads nothing gets what was queued for it before its queue
// overran, and then the end; the writer never waits.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &member{tree: store.New(store.Config{WatchQueue: 10})}
		s := newSite(t, m, Config{WriteTimeout: time.Minute})
		resp := s.get(t.Context(), "/v2/keys/foo?wait=true&stream=true")
		for i := range 100 {
			s.set("/foo", strings.Repeat("x", 8<<10)+fmt.Sprint(i))
		}
		text, end := lines(resp)
		if err := <-end; err != nil {
			t.Errorf("the slow client's stream ended with %v, want a clean end", err)
		}
		n := 0
		for line := range text {
			if want := fmt.Sprintf(`x%d","modifiedIndex":%d,`, n, n+1); !strings.Contains(line, want) {
				t.Fatalf("event %d = ...%s, want %s", n, line[len(line)-80:], want)
			}
			n++
		}
		if n < 10 || n > 20 {
			t.Errorf("%d events arrived, want those queued, about 10", n)
		}
	})
}

// A client that never reads again is left after the write timeout.
func TestStuckClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{WriteTimeout: time.Minute})
		conn, err := s.lis.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /v2/keys/foo?wait=true&stream=true HTTP/1.1\r\nHost: h\r\n\r\n")
		b := make([]byte, 15)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "HTTP/1.1 200 OK" {
			t.Fatalf("head = %q, %v", b, err)
		}
		rest := make([]byte, 4096)
		if _, err := conn.Read(rest); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.set("/foo", "1")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if n := s.StoreStats().Watchers; n != 1 {
			t.Errorf("%d watchers before the timeout, want 1", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := s.StoreStats().Watchers; n != 0 {
			t.Errorf("%d watchers after the timeout, want 0", n)
		}
	})
}

// A sender that stalls in its body is answered and let go; nothing is written.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{ReadTimeout: time.Minute})
		conn, err := s.lis.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "PUT /v2/keys/foo HTTP/1.1\r\nHost: h\r\nContent-Type: "+formType+"\r\nContent-Length: 100\r\n\r\nvalue=")
		start := time.Now()
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), `{"errorCode":210,`) {
			t.Errorf("answer = %q, %v", answer, err)
		}
		if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
			t.Errorf("the connection was closed after %s, want about a minute", took)
		}
		if _, ok := s.tree.Lookup("/1/foo"); ok {
			t.Error("half a form was stored")
		}
	})
}

func TestSlowHeadersAndIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		lasts := func(send string) time.Duration {
			conn, err := s.lis.Dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			start := time.Now()
			io.WriteString(conn, send)
			io.Copy(io.Discard, conn)
			return time.Since(start)
		}
		if d := lasts("GET /v2/keys HTTP/1.1\r\nHost: "); d != 10*time.Second {
			t.Errorf("half a head is waited for %s, want 10s", d)
		}
		if d := lasts("GET /version HTTP/1.1\r\nHost: h\r\n\r\n"); d != 5*time.Minute {
			t.Errorf("an idle connection lasts %s, want 5m", d)
		}
	})
}

// One connection, as keep-alive clients use it: the deadlines of one request must
// not reach into the next.
func TestDeadlinesEndWithTheirRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{ReadTimeout: time.Minute, WriteTimeout: time.Minute})
		var dials int
		s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return s.lis.Dial(ctx, network, addr)
		}
		for range 3 {
			resp, err := s.client.Post("http://member/v2/keys/q", formType, strings.NewReader("value=1"))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			text, end := lines(s.get(t.Context(), "/v2/keys/foo?wait=true"))
			time.Sleep(3 * time.Minute)
			s.set("/foo", "1")
			if got := <-text; !strings.Contains(got, `"/foo"`) {
				t.Errorf("event = %q", got)
			}
			if err := <-end; err != nil {
				t.Errorf("the watch ended with %v", err)
			}
			time.Sleep(3 * time.Minute)
		}
		if dials != 1 {
			t.Errorf("%d connections were needed, want 1", dials)
		}
	})
}

// What fits net/http's buffer is announced by its length, what does not comes in
// chunks and has no length in the answer to a HEAD either.
func TestLongAnswersOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		for i, size := range []int{10, 1900, lengthBytesMax, 10_000, 3 * chunkBytes} {
			dir := fmt.Sprintf("/d%d", i)
			s.set(dir+"/k", strings.Repeat("v", size))
			s.set(dir+"/l", "end")
			for _, target := range []string{dir, dir + "/k"} {
				resp := s.get(t.Context(), "/v2/keys"+target)
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Errorf("GET %s: %v", target, err)
				}
				want := int64(len(body))
				if want > lengthBytesMax {
					want = -1
				}
				if resp.ContentLength != want {
					t.Errorf("GET %s: Content-Length %d for %d bytes, want %d", target, resp.ContentLength, len(body), want)
				}
				head, err := s.client.Head("http://member/v2/keys" + target)
				if err != nil {
					t.Fatal(err)
				}
				if head.ContentLength != want {
					t.Errorf("HEAD %s: Content-Length %d, the GET has %d", target, head.ContentLength, want)
				}
			}
		}
	})
}

// After a long poll a connection rests as long as any other, however long the poll
// took.
func TestRestAfterLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		conn, err := s.lis.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, poll)
		var set time.Time
		time.AfterFunc(time.Hour, func() {
			set = time.Now()
			s.set("/foo", "1")
		})
		answer, _ := io.ReadAll(conn)
		if !strings.HasSuffix(string(answer), "}\n\r\n"+lastChunk) {
			t.Errorf("answer = %q, want a whole one", answer)
		}
		if rest := time.Since(set); rest != idleTimeout {
			t.Errorf("the connection was closed %v after the poll, want %v", rest, idleTimeout)
		}
	})
}

// A client that does not read does not hold up the stop either.
func TestStopCutsStuckClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, newMember(t), Config{})
		conn, err := s.lis.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, follow)
		if _, err := conn.Read(make([]byte, headRoom)); err != nil {
			t.Fatal(err)
		}
		s.set("/foo", "1")
		s.set("/foo", "2")
		synctest.Wait() // the first is being written
		s.stop()
		synctest.Wait()
		if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
			t.Errorf("the watch ended with %q, %v, want nothing", rest, err)
		}
		if n := s.StoreStats().Watchers; n != 0 {
			t.Errorf("%d watchers left, want 0", n)
		}
	})
}

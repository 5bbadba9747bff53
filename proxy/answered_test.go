package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is how a handler has ended.
type outcome struct {
	status int    // 0 if none was written
	text   string // of the body
	cut    bool   // the connection
	took   time.Duration
}

// recorder is a ResponseWriter that knows whether anything was written.
type recorder struct {
	*httptest.ResponseRecorder
	status int
	broken bool // the connection: nothing can be written any more
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseRecorder.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.broken {
		return 0, errors.New("broken pipe")
	}
	return w.ResponseRecorder.Write(b)
}

func (w *recorder) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if w.broken {
		return errors.New("broken pipe")
	}
	return nil
}

// ServeOne runs the handler of the proxy for a client that closes its half of the connection
// when leave ends, and whose connection may be broken.
func (b *bench) ServeOne(leave context.Context, method, target, body string, broken bool) (o outcome) {
	w := &recorder{ResponseRecorder: httptest.NewRecorder(), broken: broken}
	began := time.Now()
	defer func() {
		o = outcome{w.status, w.Body.String(), false, time.Since(began)}
		switch e := recover(); e {
		case nil:
		case http.ErrAbortHandler:
			o.cut = true
		default:
			panic(e)
		}
	}()
	r := httptest.NewRequest(method, target, strings.NewReader(body)).WithContext(leave)
	b.proxy.ServeHTTP(w, r)
	return o
}

func closed() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// requests are of every kind that the proxy handles in its own way.
var requests = []struct{ method, target, body string }{
	{"GET", "/v2/keys/x", ""},
	{"GET", "/v2/keys/x?quorum=true", ""},
	{"HEAD", "/v2/keys/x", ""},
	{"PUT", "/v2/keys/x", "value=1"},
	{"PUT", "/v2/keys/x?prevIndex=7", "value=1"},
	{"POST", "/v2/keys/queue", "value=1"},
	{"DELETE", "/v2/keys/x", ""},
	{"PATCH", "/v2/keys/x", "value=1"},
	{"GET", "/v2/keys/x?wait=true", ""},
	{"GET", "/v2/keys/x?wait=true&quorum=true", ""},
	{"GET", "/v2/keys/x?wait=true&stream=true", ""},
	{"GET", "/v2/members", ""},
	{"OPTIONS", "/v2/keys/x", ""},
	{"GET", "/metrics", ""},
	{"GET", configPath, ""},
	{"PUT", configPath, ""},
	{"OPTIONS", "*", ""},
}

// blocks waits until the proxy leaves.
func blocks(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // or net/http does not notice
	<-r.Context().Done()
}

// begins does the same after the head.
func begins(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("X-Etcd-Index", "10")
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// No request ends without an answer: either a status is written, or the connection is
// cut. net/http makes a 200 of a handler that does neither.
func TestNoRequestEndsWithoutAnAnswer(t *testing.T) {
	aborts := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, tt := range []struct {
		name   string
		cfg    Config
		member http.HandlerFunc // nil for a member that cannot be reached
		leave  time.Duration    // when the client closes its half; 0 for never, -1 for before
		stop   time.Duration    // when the proxy stops; 0 for never, -1 for before
		broken bool
	}{
		{name: "the member answers", member: says("a")},
		{name: "closed before", member: says("a"), leave: -1},
		{name: "closed before, nothing can be sent", member: says("a"), leave: -1, broken: true},
		{name: "closed before, readonly", cfg: Config{Readonly: true}, member: says("a"), leave: -1},
		{name: "closed before, other origin", cfg: Config{CORS: []string{"http://x"}}, member: says("a"), leave: -1},
		{name: "closed before, no member", leave: -1},
		{name: "closed during the wait", member: blocks, leave: time.Second},
		{name: "closed after the head", member: begins, leave: time.Second},
		{name: "gone after the head", member: begins, leave: time.Second, broken: true},
		{name: "the member dies", member: aborts},
		{name: "the member dies, closed before", member: aborts, leave: -1},
		{name: "no member", leave: 0},
		{name: "the proxy stops before", member: says("a"), stop: -1},
		{name: "the proxy stops during the wait", member: blocks, stop: time.Second},
		{name: "the proxy stops after the head", member: begins, stop: time.Second},
		{name: "the proxy stops, closed before", member: blocks, leave: -1, stop: time.Second},
		{name: "read time-out", cfg: Config{ReadTimeout: 2 * time.Second}, member: begins, leave: time.Second},
	} {
		for _, q := range requests {
			inBubble(t, tt.cfg, func(t *testing.T, b *bench) {
				stop := b.Run("a")
				if tt.member != nil {
					defer b.Serve("a", tt.member)()
				}
				leave := context.Background()
				switch {
				case tt.leave < 0:
					leave = closed()
				case tt.leave > 0:
					var cancel func()
					leave, cancel = context.WithTimeout(leave, tt.leave)
					defer cancel()
				}
				switch {
				case tt.stop < 0:
					stop()
				case tt.stop > 0:
					time.AfterFunc(tt.stop, stop)
				default:
					defer stop()
				}
				late := time.AfterFunc(2*time.Minute, func() {
					t.Errorf("%s: %s %s does not end", tt.name, q.method, q.target)
					b.proxy.stop(errStopping)
				})
				o := b.ServeOne(leave, q.method, q.target, q.body, tt.broken)
				late.Stop()
				if o.status == 0 && !o.cut {
					t.Errorf("%s: %s %s ends without an answer", tt.name, q.method, q.target)
				}
				if forwarded := q.method != "OPTIONS" && q.target != "/metrics" && q.target != configPath; forwarded &&
					o.status/100 == 2 && !o.cut && tt.cfg.ReadTimeout == 0 && o.text != "a" && q.method != "HEAD" {
					t.Errorf("%s: %s %s = %d %q, which no member has said", tt.name, q.method, q.target, o.status, o.text)
				}
				time.Sleep(3 * time.Minute)
			})
		}
	}
}

// A client that has closed its half of the connection before its request is looked at is
// answered by a member all the same.
func TestHalfClosedClientIsServed(t *testing.T) {
	for _, q := range requests[:12] {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("a")()
			got := ""
			defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				body, _ := io.ReadAll(r.Body)
				got = string(body)
				w.WriteHeader(http.StatusCreated)
				if q.method != "HEAD" {
					io.WriteString(w, "stored")
				}
			}))()
			o := b.ServeOne(closed(), q.method, q.target, q.body, false)
			if o.status != http.StatusCreated || o.cut || q.method != "HEAD" && o.text != "stored" || got != q.body {
				t.Errorf("%s %s: %+v, the member got %q", q.method, q.target, o, got)
			}
		})
	}
}

// What a client that has gone can hold is bounded: requests in time, watches in time and
// number.
func TestGoneClientsHoldLittle(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		want           time.Duration
	}{
		{"PUT", "/v2/keys/x", goneTimeout},
		{"GET", "/v2/keys/x?quorum=true", goneTimeout},
		{"GET", "/v2/keys/x?wait=true", goneWatchTimeout},
		{"GET", "/v2/keys/x?wait=true&stream=true", goneWatchTimeout},
	} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("a")()
			defer b.Serve("a", http.HandlerFunc(begins))()
			if o := b.ServeOne(closed(), tt.method, tt.target, "", false); !o.cut || o.took != tt.want {
				t.Errorf("%s %s: %+v, want it cut after %s", tt.method, tt.target, o, tt.want)
			}
		})
	}
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", http.HandlerFunc(begins))()
		ends := make(chan outcome, goneWatchesMax)
		for i := range goneWatchesMax {
			go func() { ends <- b.ServeOne(closed(), "GET", fmt.Sprintf("/v2/keys/%d?wait=true", i), "", false) }()
		}
		synctest.Wait()
		if o := b.ServeOne(closed(), "GET", "/v2/keys/x?wait=true", "", false); !o.cut || o.took != 0 {
			t.Errorf("one watch too many: %+v, want it cut at once", o)
		}
		if o := b.ServeOne(context.Background(), "GET", configPath, "", false); o.status != http.StatusOK {
			t.Errorf("meanwhile: %+v", o)
		}
		for range goneWatchesMax {
			<-ends
		}
		if n := b.proxy.leaving.watches.Load(); n != 0 {
			t.Errorf("%d watches are counted after their end", n)
		}
	})
}

// A client that joins a shared poll and leaves is cut, and the others go on.
func TestJoinedPollIsLeft(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, _ *watched) {
		stays := b.Poll(xPoll)
		if o := b.ServeOne(closed(), "GET", xPoll, "", false); !o.cut || o.took != goneWatchTimeout {
			t.Errorf("the client that left: %+v", o)
		}
		half := make(chan outcome)
		go func() { half <- b.ServeOne(closed(), "GET", xPoll, "", false) }()
		synctest.Wait()
		a.waiting <- event(11)
		if g := <-stays; g != (got{"10", event(11), nil}) {
			t.Errorf("the client that stays got %+v", g)
		}
		if o := <-half; o.status != http.StatusOK || o.cut || o.text != event(11) {
			t.Errorf("the client that is half closed got %+v", o)
		}
	})
}

// The end of the proxy is no answer of a member, also when no head was sent.
func TestStopRefusesPolls(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		stop := b.Run("a")
		defer b.Serve("a", http.HandlerFunc(blocks))()
		time.AfterFunc(time.Second, stop)
		for _, target := range []string{xPoll, xPoll + "&stream=true"} {
			if o := b.ServeOne(context.Background(), "GET", target, "", false); o.status != http.StatusServiceUnavailable || o.text != `{"message":"proxy: the proxy is stopping"}` {
				t.Errorf("GET %s: %+v, want 503", target, o)
			}
		}
	})
}

// A listing that stalls until the read time-out is no whole one. A watch is: clients of
// etcd 2.3 expect it to end so.
func TestReadTimeoutCutsAListing(t *testing.T) {
	inBubble(t, Config{ReadTimeout: time.Second}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"action":`)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))()
		for target, cut := range map[string]bool{"/v2/keys/?recursive=true": true, "/v2/keys/?wait=true&stream=true": false} {
			if o := b.ServeOne(context.Background(), "GET", target, "", false); o.cut != cut {
				t.Errorf("GET %s: %+v, want cut %t", target, o, cut)
			}
		}
	})
}

package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func wantLog(b *bench, want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := b.log.Take(); !slices.Equal(got, want) {
		b.t.Errorf("log:\n%q\nwant\n%q", got, want)
	}
}

func TestMembersAreFoundAndKept(t *testing.T) {
	kept := openPeers(t, t.TempDir())
	cfg := Config{PeerURLs: []string{"http://x:2380"}, Kept: kept}
	inBubble(t, cfg, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		wantLog(b,
			`INFO using peer urls [http://x:2380] `,
			`INFO+2 updated peer urls in cluster file from [http://x:2380] to [http://a:2380]`,
			`INFO endpoints found ["http://a:2379"]`)
		gone := errors.New("could not retrieve cluster information from the given urls")
		b.source.Set(gone)
		time.Sleep(31 * time.Second)
		wantLog(b, "WARN "+gone.Error())
		b.source.Set(nil) // a list without members is no news either
		time.Sleep(30 * time.Second)
		if _, text := b.Ask("GET", configPath, ""); text != `{"endpoints":["http://a:2379"]}`+"\n" {
			t.Errorf("endpoints after bad answers: %s", text)
		}
		b.source.Set(nil, "http://c:2379")
		time.Sleep(30 * time.Second)
		wantLog(b, `INFO+2 updated peer urls in cluster file from [http://a:2380] to [http://c:2380]`)
		if _, text := b.Ask("GET", configPath, ""); text != `{"endpoints":["http://c:2379"]}`+"\n" {
			t.Errorf("endpoints of the next list: %s", text)
		}
		want := [][]string{{"http://x:2380"}, {"http://a:2380"}, {"http://a:2380"}, {"http://a:2380"}}
		if !slices.EqualFunc(b.source.asked, want, slices.Equal[[]string]) {
			t.Errorf("asked %v, want %v", b.source.asked, want)
		}
	})
	if got := openPeers(t, kept.dir[:len(kept.dir)-len("/proxy")]).URLs(); !slices.Equal(got, []string{"http://c:2380"}) {
		t.Errorf("the file has %v", got)
	}
}

func TestStartFromFile(t *testing.T) {
	dir := t.TempDir()
	if err := openPeers(t, dir).save([]string{"http://a:2380"}); err != nil {
		t.Fatal(err)
	}
	kept := openPeers(t, dir)
	inBubble(t, Config{PeerURLs: kept.URLs(), Kept: kept}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		wantLog(b,
			`INFO using peer urls [http://a:2380] from cluster file "`+kept.File()+`"`,
			`INFO endpoints found ["http://a:2379"]`)
	})
}

func TestRefreshInterval(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		found    bool
		within   time.Duration
		want     int
	}{
		{0, true, 89 * time.Second, 3},
		{0, false, 9*time.Second + 1, 10},
		{40 * time.Second, false, 9*time.Second + 1, 10},
		{20 * time.Second, false, 59 * time.Second, 3},
	} {
		inBubble(t, Config{RefreshInterval: tt.interval}, func(t *testing.T, b *bench) {
			if tt.found {
				defer b.Run("a")()
			} else {
				defer b.Run()()
			}
			time.Sleep(tt.within)
			synctest.Wait()
			if got := len(b.source.asked); got != tt.want {
				t.Errorf("interval %s, found %t: asked %d times in %s, want %d", tt.interval, tt.found, got, tt.within, tt.want)
			}
		})
	}
}

func TestFailureWait(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a", "b")()
		stopA := b.Serve("a", says("a"))
		stopB := b.Serve("b", says("b"))
		defer stopB()
		b.order("a", "b")
		b.log.Take()
		ask := func() string {
			_, text := b.Ask("GET", "/v2/keys/x", "")
			return text
		}
		if got := ask(); got != "a" {
			t.Fatalf("the first endpoint did not answer but %q", got)
		}
		synctest.Wait() // a probe goes with the first request
		stopA()
		if got := ask(); got != "b" {
			t.Fatalf("the second endpoint did not answer but %q", got)
		}
		wantLog(b,
			"INFO failed to direct request to http://a:2379: connection refused",
			"INFO marked endpoint http://a:2379 unavailable")
		time.Sleep(5*time.Second + 1) // a probe fails
		wantLog(b)
		stopA = b.Serve("a", says("a"))
		defer stopA()
		time.Sleep(4 * time.Second)
		if got := ask(); got != "b" {
			t.Errorf("before the wait is over %q answers", got)
		}
		time.Sleep(time.Second)
		wantLog(b, "INFO marked endpoint http://a:2379 available, to retest connectivity")
		if got := ask(); got != "a" {
			t.Errorf("after the wait %q answers", got)
		}
	})
}

// With nowhere to go clients do not wait for long until a member is back.
func TestNobodyAvailable(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		for _, want := range []struct {
			status int
			text   string
		}{
			{http.StatusBadGateway, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
			{http.StatusServiceUnavailable, `{"message":"proxy: zero endpoints currently available"}`},
		} {
			res, text := b.Ask("PUT", "/v2/keys/x", "value=1")
			if res.StatusCode != want.status || text != want.text || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s %q, want %v", res.StatusCode, res.Header, text, want)
			}
		}
		if _, text := b.Ask("GET", configPath, ""); text != `{"endpoints":[]}`+"\n" {
			t.Errorf("endpoints: %s", text)
		}
		defer b.Serve("a", says("a"))()
		time.Sleep(time.Second + 1)
		synctest.Wait()
		if _, text := b.Ask("GET", "/v2/keys/x", ""); text != "a" {
			t.Errorf("a second after the member came back: %q", text)
		}
	})
}

// An endpoint that swallows packets costs the first client the dial time-out.
func TestDialTimeout(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("10.0.0.1", "b")()
		defer b.Serve("10.0.0.1", says("never"))()
		defer b.Serve("b", says("b"))()
		b.order("10.0.0.1", "b")
		for _, want := range []time.Duration{time.Second, 0} {
			began := time.Now()
			_, text := b.Ask("GET", "/v2/keys/x", "")
			if took := time.Since(began); text != "b" || took != want {
				t.Errorf("%q after %s, want b after %s", text, took, want)
			}
		}
	})
}

// What waits longer than the read time-out ends as it does at 2.3.8.
func TestReadTimeout(t *testing.T) {
	inBubble(t, Config{ReadTimeout: time.Second}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		over := make(chan struct{})
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			select {
			case <-over:
			case <-r.Context().Done():
			}
		}))()
		defer close(over)
		for _, target := range []string{"/v2/keys/x?wait=true", "/v2/keys/x?wait=true&stream=true"} {
			began := time.Now()
			res, text := b.Ask("GET", target, "")
			if took := time.Since(began); res.StatusCode != 200 || text != "" || took != time.Second {
				t.Errorf("GET %s: %d %q after %s, want 200 and nothing after 1s", target, res.StatusCode, text, took)
			}
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	inBubble(t, Config{ProbeInterval: -1}, func(t *testing.T, b *bench) {
		defer b.Run("deaf", "b")()
		// Takes the connection and reads nothing from it.
		l := &pipeListener{closed: make(chan struct{}), conns: make(chan net.Conn, 1)}
		b.hosts["deaf"] = l
		defer b.Serve("b", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))()
		b.order("deaf", "b")
		began := time.Now()
		_, text := b.Ask("PUT", "/v2/keys/x", "value=1")
		if took := time.Since(began); text != "value=1" || took != 5*time.Second {
			t.Errorf("%q after %s, want the body from b after 5s", text, took)
		}
	})
}

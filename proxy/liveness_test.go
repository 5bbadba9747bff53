package proxy

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// withFrozen runs a story with members a and b, which are asked in this order. a can be
// frozen.
func withFrozen(t *testing.T, story func(t *testing.T, b *bench, a *frozen, first, second *keeper)) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a", "b")()
		first, second := &keeper{name: "a"}, &keeper{name: "b"}
		a := newFrozen(first)
		defer b.ServeProbed("a", a)()
		defer b.Serve("b", second)()
		b.order("a", "b")
		b.log.Take()
		story(t, b, a, first, second)
	})
}

const (
	silentLine = "WARN endpoint http://a:2379 does not answer (no response header for 1s), trying others"
	backLine   = "INFO marked endpoint http://a:2379 available, to retest connectivity"
)

// A read waits no longer for a silent member than it takes to find out, later ones do
// not wait at all, and the member is used again as soon as it answers.
func TestReadsLeaveASilentMember(t *testing.T) {
	for _, ask := range []string{"GET /v2/keys/x", "GET /v2/keys/x?quorum=true", "HEAD /v2/keys/x", "GET /v2/keys/?recursive=true", "GET /health"} {
		withFrozen(t, func(t *testing.T, b *bench, a *frozen, _, second *keeper) {
			method, target, _ := strings.Cut(ask, " ")
			b.Ask(method, target, "")
			thaw := a.Freeze()
			defer thaw()
			for _, want := range []time.Duration{1250 * time.Millisecond, 0, 0} {
				began := time.Now()
				res, text := b.Ask(method, target, "")
				if took := time.Since(began); res.StatusCode != 200 || method == "GET" && text != "b" || took > want {
					t.Errorf("%s: %d %q after %s, want b within %s", ask, res.StatusCode, text, took, want)
				}
			}
			wantLog(b, silentLine, "INFO failed to direct request to http://a:2379: the endpoint does not answer")
			time.Sleep(time.Minute)
			wantLog(b)
			thaw()
			time.Sleep(probeTimeout + 1)
			wantLog(b, backLine)
			b.order("a", "b") // the members were listed again
			if _, text := b.Ask("GET", "/v2/keys/x", ""); text != "a" {
				t.Errorf("after the thaw %s answers", text)
			}
		})
	}
}

// A member that hangs for a second or two answers the probe that waits for it.
func TestSilentMemberIsBackAtOnce(t *testing.T) {
	withFrozen(t, func(t *testing.T, b *bench, a *frozen, _, _ *keeper) {
		thaw := a.Freeze()
		b.Ask("GET", "/v2/keys/x", "")
		thaw()
		synctest.Wait()
		if _, text := b.Ask("GET", "/v2/keys/x", ""); text != "a" {
			t.Errorf("after the thaw %s answers", text)
		}
	})
}

// A member whose every answer is late stays out, and the log does not repeat itself.
func TestLateAnswersAreNotEnough(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a", "b")()
		defer b.ServeProbed("a", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
		}))()
		defer b.Serve("b", says("b"))()
		b.order("a", "b")
		b.log.Take()
		b.Ask("GET", "/v2/keys/x", "")
		wantLog(b, silentLine, "INFO failed to direct request to http://a:2379: the endpoint does not answer")
		time.Sleep(time.Minute)
		wantLog(b)
		if got := texts(b.proxy.endpoints.Available()); !slices.Equal(got, []string{"http://b:2379"}) {
			t.Errorf("available: %v", got)
		}
	})
}

// No client has to wait to find out about a member that others use.
func TestSilentMemberIsFoundBesideTheTraffic(t *testing.T) {
	withFrozen(t, func(t *testing.T, b *bench, a *frozen, _, _ *keeper) {
		b.Ask("GET", "/v2/keys/x", "")
		defer a.Freeze()()
		time.Sleep(2*time.Second + 1)
		wantLog(b, silentLine)
		began := time.Now()
		if _, text := b.Ask("PUT", "/v2/keys/x", "value=1"); text != "b" || time.Since(began) > 0 {
			t.Errorf("%q after %s, want b at once", text, time.Since(began))
		}
	})
}

// Members that nobody uses are left alone.
func TestIdleMembersAreNotProbed(t *testing.T) {
	withFrozen(t, func(t *testing.T, b *bench, a *frozen, _, _ *keeper) {
		b.Ask("GET", "/v2/keys/x", "")
		time.Sleep(inUseFor + time.Second)
		before := a.Probes()
		if before == 0 {
			t.Error("no probe while the member was in use")
		}
		time.Sleep(time.Minute)
		if n := a.Probes() - before; n != 0 {
			t.Errorf("%d probes of a member that is not in use", n)
		}
	})
}

// What takes long is no failure as long as the member answers probes.
func TestSlowAnswersAreWaitedFor(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a", "b")()
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5*time.Minute + time.Second) // not when the members are listed again
			io.WriteString(w, "a")
		}))()
		defer b.Serve("b", says("b"))()
		b.order("a", "b")
		b.log.Take()
		for _, method := range []string{"GET", "PUT"} {
			b.order("a", "b") // the members are listed again meanwhile
			if _, text := b.Ask(method, "/v2/keys/?recursive=true", ""); text != "a" {
				t.Errorf("%s: %q answers", method, text)
			}
		}
		wantLog(b)
	})
}

// A write that a silent member may have got is not sent to another one. Its client is
// told so, and later writes go elsewhere.
func TestWritesAreNotRepeatedAfterSilence(t *testing.T) {
	for _, ask := range []string{"PUT /v2/keys/x", "POST /v2/keys/queue", "DELETE /v2/keys/x", "PUT /v2/keys/x?prevValue=1", "PATCH /v2/keys/x"} {
		withFrozen(t, func(t *testing.T, b *bench, a *frozen, first, second *keeper) {
			method, target, _ := strings.Cut(ask, " ")
			thaw := a.Freeze()
			began := time.Now()
			res, text := b.Ask(method, target, "value=1")
			want := `{"message":"proxy: no response from http://a:2379; the request may have been carried out or not"}`
			if took := time.Since(began); res.StatusCode != http.StatusGatewayTimeout || text != want || took != 4*time.Second {
				t.Errorf("%s: %d %s after %s, want 504 %s after 4s", ask, res.StatusCode, text, took, want)
			}
			if _, text := b.Ask(method, target, "value=2"); text != "b" {
				t.Errorf("%s, again: %q answers", ask, text)
			}
			thaw()
			synctest.Wait()
			if got := second.Writes(); !slices.Equal(got, []string{ask + " value=2"}) {
				t.Errorf("the second member got %q", got)
			}
		})
	}
}

// A write is given the answer of its own member if that comes soon enough, though all
// others go elsewhere meanwhile. It is not forgotten when the member falls silent again.
func TestWritesOutlastAShortSilence(t *testing.T) {
	withFrozen(t, func(t *testing.T, b *bench, a *frozen, first, second *keeper) {
		thaw := a.Freeze()
		time.AfterFunc(3*time.Second, thaw)
		if res, text := b.Ask("PUT", "/v2/keys/x", "value=1"); text != "a" || len(second.Writes()) != 0 {
			t.Errorf("%d %q, the other member got %q, want the answer of a", res.StatusCode, text, second.Writes())
		}
	})
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		over := make(chan struct{})
		a := newFrozen(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
		defer b.ServeProbed("a", a)()
		defer close(over)
		thaw := a.Freeze()
		time.AfterFunc(3*time.Second, thaw) // the write begins, and takes long
		time.AfterFunc(30*time.Second, func() { time.AfterFunc(time.Hour, a.Freeze()) })
		began := time.Now()
		res, _ := b.Ask("PUT", "/v2/keys/x", "value=1")
		if took := time.Since(began); res.StatusCode != http.StatusGatewayTimeout || took > 36*time.Second {
			t.Errorf("%d after %s, want 504 some seconds after the second silence", res.StatusCode, took)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A write that never left, because the connection was not made, goes to the next member.
func TestWritesThatWereNotSentGoElsewhere(t *testing.T) {
	inBubble(t, Config{DialTimeout: -1}, func(t *testing.T, b *bench) {
		defer b.Run("10.0.0.1", "b")()
		defer b.Serve("10.0.0.1", says("never"))()
		second := &keeper{name: "b"}
		defer b.Serve("b", second)()
		b.order("10.0.0.1", "b")
		began := time.Now()
		if res, text := b.Ask("PUT", "/v2/keys/x", "value=1"); text != "b" || time.Since(began) > 5*time.Second {
			t.Errorf("%d %q after %s", res.StatusCode, text, time.Since(began))
		}
		if got := second.Writes(); len(got) != 1 {
			t.Errorf("b got %q", got)
		}
	})
}

// The read time-out is no reason to send a write twice either.
func TestReadTimeoutOfAWrite(t *testing.T) {
	inBubble(t, Config{ReadTimeout: 2 * time.Second}, func(t *testing.T, b *bench) {
		defer b.Run("a", "b")()
		over := make(chan struct{})
		defer b.Serve("a", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))()
		defer close(over)
		second := &keeper{name: "b"}
		defer b.Serve("b", second)()
		b.order("a", "b")
		if res, text := b.Ask("PUT", "/v2/keys/x", "value=1"); res.StatusCode != http.StatusGatewayTimeout || len(second.Writes()) != 0 {
			t.Errorf("%d %s, and b got %q, want 504 and nothing", res.StatusCode, text, second.Writes())
		}
	})
}

// A long poll goes on elsewhere when its member falls silent, also when that is no
// longer listed. A stream ends.
func TestWatchesLeaveASilentMember(t *testing.T) {
	for _, listed := range []bool{true, false} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("a", "c")()
			first, c := &watched{index: 10, waiting: make(chan string)}, &watched{index: 10, waiting: make(chan string)}
			a := newFrozen(first)
			defer b.ServeProbed("a", a)()
			defer b.Serve("c", c)()
			b.order("a", "c")
			poll := b.Poll(xPoll)
			stream := b.Poll(xPoll + "&stream=true")
			defer a.Freeze()()
			if !listed {
				b.source.Set(nil, "http://c:2379")
				time.Sleep(30 * time.Second)
			}
			time.Sleep(2*time.Second + resumePause)
			c.waiting <- event(12)
			if g := <-poll; g != (got{"10", event(12), nil}) {
				t.Errorf("listed %t: the poll got %+v", listed, g)
			}
			if g := <-stream; g.err == nil {
				t.Errorf("listed %t: the stream got %+v, want it cut", listed, g)
			}
			if polls := c.Polls(); !slices.Equal(polls, []string{"wait=true&waitIndex=11"}) {
				t.Errorf("listed %t: c was asked %q", listed, polls)
			}
		})
	}
}

// A machine that loses power takes no new connections either, which is a failure of
// another kind. What waits on the open ones ends all the same.
func TestMachineLosesPower(t *testing.T) {
	for _, dial := range []time.Duration{300 * time.Millisecond, time.Second, time.Minute} {
		inBubble(t, Config{DialTimeout: dial}, func(t *testing.T, b *bench) {
			defer b.Run("a", "c")()
			over := make(chan struct{})
			first, c := &watched{index: 10, waiting: make(chan string)}, &watched{index: 10, waiting: make(chan string)}
			a := newFrozen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					<-over
					return
				}
				first.ServeHTTP(w, r)
			}))
			defer b.ServeProbed("a", a)()
			defer close(over)
			defer b.Serve("c", c)()
			b.order("a", "c")
			poll := b.Poll(xPoll)
			write := make(chan outcome, 1)
			go func() { write <- b.ServeOne(context.Background(), "PUT", "/v2/keys/x", "value=1", false) }()
			synctest.Wait()
			defer a.Freeze()()
			b.mu.Lock()
			b.unplugged = "a"
			b.mu.Unlock()
			b.proxy.probes.CloseIdleConnections() // the next probe needs a new one
			c.waiting <- event(12)
			if g := <-poll; g != (got{"10", event(12), nil}) {
				t.Errorf("dial time-out %s: the poll got %+v", dial, g)
			}
			if o := <-write; o.status != http.StatusGatewayTimeout || o.took > 6*time.Second {
				t.Errorf("dial time-out %s: the write got %+v", dial, o)
			}
		})
	}
}

// An answer that was under way is cut, and never ends as if it were whole.
func TestSilenceCutsAnAnswer(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		over := make(chan struct{})
		a := newFrozen(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"action":"get",`)
			http.NewResponseController(w).Flush()
			<-over
		}))
		defer b.ServeProbed("a", a)()
		defer close(over)
		time.AfterFunc(time.Second, func() { time.AfterFunc(time.Minute, a.Freeze()) })
		g := <-b.Poll("/v2/keys/?recursive=true")
		if g.err == nil {
			t.Errorf("the client got %+v, want the answer cut", g)
		}
		time.Sleep(2 * time.Minute)
	})
}

// The loss of all endpoints is worth a warning, with the reason, and only one.
func TestAllEndpointsLost(t *testing.T) {
	withFrozen(t, func(t *testing.T, b *bench, a *frozen, _, _ *keeper) {
		b.Ask("GET", "/v2/keys/x", "")
		synctest.Wait()
		b.hosts["b"].Close()
		defer a.Freeze()()
		if res, text := b.Ask("GET", "/v2/keys/x", ""); res.StatusCode != http.StatusBadGateway {
			t.Errorf("%d %s, want 502", res.StatusCode, text)
		}
		b.Ask("GET", "/v2/keys/x", "")
		synctest.Wait()
		got := slices.DeleteFunc(b.log.Take(), func(line string) bool { return strings.HasPrefix(line, "INFO") })
		want := []string{silentLine, "WARN no endpoint is available, requests are refused until one answers; the last one failed: connection refused"}
		if !slices.Equal(got, want) {
			t.Errorf("log:\n%q\nwant\n%q", got, want)
		}
	})
}

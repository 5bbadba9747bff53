package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a member with one key that can be watched.
type watched struct {
	mu      sync.Mutex  // guards the fields below
	index   int         // of the member
	polls   []string    // queries of the polls that came
	waiting chan string // what is sent here answers one poll; "cut" breaks its connection
}

func (m *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	poll := r.URL.Query().Get("wait") == "true"
	if poll {
		m.polls = append(m.polls, r.URL.RawQuery)
	}
	w.Header().Set("X-Etcd-Index", fmt.Sprint(m.index))
	m.mu.Unlock()
	if !poll {
		return
	}
	http.NewResponseController(w).Flush()
	select {
	case text := <-m.waiting:
		if text == "cut" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, text)
	case <-r.Context().Done():
	}
}

func (m *watched) Set(index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = index
}

func (m *watched) Polls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.polls
}

func event(index int) string {
	return fmt.Sprintf(`{"action":"set","node":{"key":"/x","value":"v","modifiedIndex":%d,"createdIndex":%d}}`, index, index)
}

// got is what a client of a poll got.
type got struct {
	index, text string
	err         error
}

// Poll waits in the background.
func (b *bench) Poll(target string) <-chan got {
	answer := make(chan got, 1)
	go func() {
		res, err := b.client.Get("http://proxy" + target)
		if err != nil {
			answer <- got{err: err}
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		answer <- got{res.Header.Get("X-Etcd-Index"), string(text), err}
	}()
	synctest.Wait()
	return answer
}

const xPoll = "/v2/keys/x?wait=true"

// withWatched runs a story with one member, or two that are asked in order.
func withWatched(t *testing.T, story func(t *testing.T, b *bench, a, c *watched)) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a", "c")()
		a, c := &watched{index: 10, waiting: make(chan string)}, &watched{index: 10, waiting: make(chan string)}
		defer b.Serve("a", a)()
		defer b.Serve("c", c)()
		b.order("a", "c")
		story(t, b, a, c)
	})
}

func TestEqualPollsShareOne(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, _ *watched) {
		var clients []<-chan got
		for range 5 {
			clients = append(clients, b.Poll(xPoll))
		}
		if n := b.proxy.polls.Len(); n != 1 {
			t.Errorf("%d polls wait at members, want 1", n)
		}
		other := b.Poll("/v2/keys/y?wait=true")
		if polls := a.Polls(); len(polls) != 2 {
			t.Errorf("the member got %q, want one poll for each key", polls)
		}
		a.waiting <- event(11)
		a.waiting <- event(11)
		for i, c := range clients {
			if g := <-c; g != (got{"10", event(11), nil}) {
				t.Errorf("client %d got %+v", i, g)
			}
		}
		<-other
		if c := b.Poll(xPoll); len(a.Polls()) != 3 {
			t.Errorf("a poll after the answer joined one that is over")
		} else {
			a.waiting <- event(12)
			<-c
		}
	})
}

// Who joins late is not given an event that is older than its request, though the
// answer with it was still under way then: it may be the client's own write.
func TestLateJoinerMissesWhatIsPast(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, _ *watched) {
		early := b.Poll(xPoll)
		a.Set(15)
		b.Ask("PUT", "/v2/keys/x", "")
		late := b.Poll(xPoll)
		if polls := a.Polls(); len(polls) != 1 {
			t.Fatalf("the late client did not join: %q", polls)
		}
		a.waiting <- event(15)
		if g := <-early; g != (got{"10", event(15), nil}) {
			t.Errorf("the early client got %+v", g)
		}
		synctest.Wait()
		if polls := a.Polls(); len(polls) != 2 || polls[1] != "wait=true&waitIndex=16" {
			t.Fatalf("the late client asks %q, want events from 16 on", polls)
		}
		a.waiting <- event(16)
		if g := <-late; g != (got{"15", event(16), nil}) {
			t.Errorf("the late client got %+v", g)
		}
	})
}

// When a member dies under a poll, the poll goes on at another one where it was.
func TestPollOutlivesItsMember(t *testing.T) {
	for target, want := range map[string]string{
		xPoll:                                 "wait=true&waitIndex=11",
		xPoll + "&waitIndex=9&recursive=true": "wait=true&waitIndex=9&recursive=true",
	} {
		withWatched(t, func(t *testing.T, b *bench, a, c *watched) {
			client := b.Poll(target)
			b.order("c", "a") // as if a could no longer be reached
			a.waiting <- "cut"
			c.waiting <- event(12)
			if g := <-client; g != (got{"10", event(12), nil}) {
				t.Errorf("the client got %+v", g)
			}
			if polls := c.Polls(); len(polls) != 1 || polls[0] != want {
				t.Errorf("the other member was asked %q, want %q", polls, want)
			}
		})
	}
}

// When the leader dies the others have to learn its last writes first, and that takes
// as long as an election.
func TestPollWaitsForAMemberThatLags(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, c *watched) {
		client := b.Poll(xPoll)
		b.order("c", "a")
		c.Set(9)
		a.waiting <- "cut"
		time.Sleep(3 * time.Second)
		c.Set(10)
		time.Sleep(lagPause)
		c.waiting <- event(11)
		if g := <-client; g != (got{"10", event(11), nil}) {
			t.Errorf("the client got %+v", g)
		}
		if n := len(c.Polls()); n > 8 {
			t.Errorf("the member was asked %d times in three seconds", n)
		}
	})
}

// A poll that goes on at another member asks for what has happened meanwhile. That
// is past for who comes now, though the proxy does not know how far that member is.
func TestNobodyJoinsWhatIsResumed(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, c *watched) {
		early := b.Poll(xPoll)
		b.order("c", "a") // as if a could no longer be reached
		a.waiting <- "cut"
		c.Set(15)
		synctest.Wait()
		late := b.Poll(xPoll)
		time.Sleep(2 * resumePause)
		synctest.Wait()
		if polls := c.Polls(); len(polls) != 2 || polls[0] != "wait=true" || polls[1] != "wait=true&waitIndex=11" {
			t.Fatalf("the other member was asked %q, want both", polls)
		}
		c.waiting <- event(16)
		c.waiting <- event(16)
		if g := <-late; g != (got{"15", event(16), nil}) {
			t.Errorf("the late client got %+v", g)
		}
		<-early
	})
}

// A member that has begun anew has no such index: clients must start again too.
func TestPollIsCutWhenItCannotGoOn(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, _ *watched) {
		client := b.Poll(xPoll)
		a.Set(3)
		a.waiting <- "cut"
		if g := <-client; g.err == nil {
			t.Errorf("the client got %+v", g)
		}
	})
}

// Nobody joins a poll that began long ago.
func TestJoinWindow(t *testing.T) {
	withWatched(t, func(t *testing.T, b *bench, a, c *watched) {
		first := b.Poll(xPoll)
		time.Sleep(joinWindow + time.Second) // the members are listed again just before
		b.order("a", "c")
		second := b.Poll(xPoll)
		if polls := a.Polls(); len(polls) != 2 {
			t.Errorf("the member got %q, want two polls", polls)
		}
		a.waiting <- event(11)
		a.waiting <- event(11)
		<-first
		<-second
	})
}

// The end of Run cuts polls, whose clients would wait for nothing.
func TestRunEndsPolls(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		stop := b.Run("a")
		a := &watched{index: 10, waiting: make(chan string)}
		defer b.Serve("a", a)()
		client := b.Poll(xPoll)
		stop()
		if g := <-client; g.err == nil {
			t.Errorf("the client got %+v", g)
		}
		if res, text := b.Ask("GET", xPoll, ""); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("after the end: %d %s", res.StatusCode, text)
		}
	})
}

// A refusal goes to all who asked.
func TestPollIsRefused(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			http.Error(w, "the history has gone", http.StatusBadRequest)
		}))()
		first := b.Poll(xPoll)
		second, text := b.Ask("GET", xPoll, "")
		if g := <-first; g.text != text || second.StatusCode != http.StatusBadRequest || text != "the history has gone\n" {
			t.Errorf("the clients got %q and %d %q", g.text, second.StatusCode, text)
		}
	})
}

func TestPollOf(t *testing.T) {
	plain := pollKey{path: "/v2/keys/a%2Fb"}
	since, tree := plain, plain
	since.since, tree.recursive = 7, true
	for query, want := range map[string]*pollKey{
		"wait=true":                    &plain,
		"wait=1&quorum=false&stream=0": &plain,
		"waitIndex=0&wait=true":        &plain,
		"wait=true&waitIndex=7":        &since,
		"recursive=true&wait=true":     &tree,
		"wait=false":                   nil,
		"":                             nil,
		"wait=true&stream=true":        nil,
		"wait=true&quorum=true":        nil,
		"wait=true&wait=false":         nil,
		"wait=yes":                     nil,
		"wait=true&waitIndex=-1":       nil,
		"wait=true&maxStale=1s":        nil,
		"wait=true&recursive=":         nil,
		"wait=true;recursive=true":     nil,
		"wait=true&prevValue=x":        nil,
	} {
		got, ok := pollOf(httptest.NewRequest("GET", "/v2/keys/a%2Fb?"+query, nil), nil)
		switch {
		case ok != (want != nil):
			t.Errorf("pollOf(%q) = %t", query, ok)
		case ok && got != *want:
			t.Errorf("pollOf(%q) = %+v, want %+v", query, got, *want)
		}
	}
	for name, r := range map[string]*http.Request{
		"method":      httptest.NewRequest("HEAD", xPoll, nil),
		"path":        httptest.NewRequest("GET", "/v2/stats/self?wait=true", nil),
		"credentials": httptest.NewRequest("GET", xPoll, nil),
		"second":      httptest.NewRequest("GET", xPoll, nil), // of the same header
	} {
		if name == "credentials" {
			r.SetBasicAuth("root", "x")
		}
		if name == "second" {
			r.Header["Authorization"] = []string{"", "Basic cm9vdDp4"}
		}
		if _, ok := pollOf(r, nil); ok {
			t.Errorf("pollOf: %s does not matter, but must", name)
		}
	}
	if _, ok := pollOf(httptest.NewRequest("GET", xPoll, strings.NewReader("a")), []byte("a")); ok {
		t.Error("pollOf: a body does not matter, but must")
	}
}

func FuzzEventIndex(f *testing.F) {
	f.Add(`{"node":null}`, uint64(7))
	f.Add(`{"errorCode":401,"index":8}`, uint64(0))
	f.Add("\"modifiedIndex\":1", uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, text string, index uint64) {
		eventIndex([]byte(text)) // whatever it is, it does no harm
		node := map[string]any{"key": text, "value": text, "modifiedIndex": index, "createdIndex": index / 2}
		body, err := json.Marshal(map[string]any{"action": "set", "node": node, "prevNode": map[string]any{"modifiedIndex": 1}})
		if err != nil {
			t.Fatal(err)
		}
		if got := eventIndex(body); got != index {
			t.Errorf("eventIndex(%s) = %d, want %d", body, got, index)
		}
	})
}

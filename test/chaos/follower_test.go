package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// follower watches all keys, with one long poll after the other, and goes on at the
// next member when one does not answer.
type follower struct {
	w      *world
	at     int
	http   *http.Client
	next   uint64        // index from which it waits
	last   atomic.Uint64 // index at which it ends; 0 is not known yet
	events []seen
	failed error
}

// seen is one event as it came.
type seen struct {
	Action string `json:"action"`
	Node   struct {
		Key      string `json:"key"`
		Value    string `json:"value"`
		Modified uint64 `json:"modifiedIndex"`
	} `json:"node"`
}

func newFollower(w *world, id int) *follower {
	index, err := w.members[id].Index()
	if err != nil {
		w.t.Fatal(err)
	}
	return &follower{w: w, at: id, next: index + 1, http: plainHTTP(clientTimeout)}
}

// until has the follower end with the event of this index.
func (f *follower) until(index uint64) { f.last.Store(index) }

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil && f.failed == nil {
		if last := f.last.Load(); last != 0 && f.next > last {
			return
		}
		if !f.poll(ctx) {
			f.at = (f.at + 1) % size
			<-time.After(clientPause)
		}
	}
}

// poll waits for one event. It returns false when none came.
func (f *follower) poll(ctx context.Context) bool {
	target := fmt.Sprintf("%s/v2/keys/chaos?wait=true&recursive=true&waitIndex=%d", f.w.members[f.at].URL(), f.next)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		f.failed = err
		return false
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var e seen
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &e) != nil {
		return false
	}
	if e.Node.Modified < f.next {
		f.failed = fmt.Errorf("waited for index %d and got %+v", f.next, e)
	}
	f.next = e.Node.Modified + 1
	f.events = append(f.events, e)
	return true
}

// missing are the first events of a run that the follower should have seen and has
// not. A follower may go on past its end before it is told where that is.
func (f *follower) missing(truth map[uint64]seen) []seen {
	got := map[uint64]bool{}
	for _, e := range f.events {
		got[e.Node.Modified] = true
	}
	var out []seen
	for index, e := range truth {
		if !got[index] && index <= f.last.Load() && len(out) < 5 {
			out = append(out, e)
		}
	}
	return out
}

// checkFollowers compares what the followers saw with each other and with the
// writes that were acknowledged.
func checkFollowers(t *testing.T, crew []*client, followers []*follower) {
	t.Helper()
	truth := map[uint64]seen{}
	for _, f := range followers {
		if f.failed != nil {
			t.Errorf("follower: %v", f.failed)
		}
		for _, e := range f.events {
			if known, ok := truth[e.Node.Modified]; ok && known != e {
				t.Errorf("two events of one index: %+v and %+v", known, e)
			}
			truth[e.Node.Modified] = e
		}
	}
	for i, f := range followers {
		for _, e := range f.missing(truth) {
			t.Errorf("follower %d did not see %+v", i, e)
		}
	}
	missing := 0
	for _, c := range crew {
		for _, op := range c.history {
			if op.do.kind == "get" || !op.answer.done {
				continue
			}
			if e := truth[op.answer.index]; e.Node.Key != op.key || op.do.kind != "delete" && e.Node.Value != op.do.value {
				missing++
				t.Errorf("no follower saw %+v, but %+v", op, e)
			}
			if missing > 10 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d events, the same for all followers", len(truth))
}

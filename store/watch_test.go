package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// next is the next event of w, which must be there already.
func next(t testing.TB, w *Watcher) *Delivery {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is queued comes even so
	d, err := w.Next(ctx)
	if errors.Is(err, context.Canceled) && w.behind {
		d, err = w.Next(t.Context()) // the history is read in any case
	}
	if err != nil {
		t.Fatalf("watch of %s: Next() = %v, want an event", w.path, err)
	}
	return d
}

// silent checks that w waits.
func silent(t testing.TB, w *Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("watch of %s: Next() = %+v, %v, want silence", w.path, d, err)
	}
}

// ended checks that w has come to its end.
func ended(t testing.TB, w *Watcher) {
	t.Helper()
	if d, err := w.Next(t.Context()); err != io.EOF {
		t.Fatalf("watch of %s: Next() = %+v, %v, want io.EOF", w.path, d, err)
	}
}

func watch(t testing.TB, s *Store, path string, o WatchOptions) *Watcher {
	t.Helper()
	w, err := s.Watch(path, o)
	if err != nil {
		t.Fatalf("Watch(%q, %+v): %v", path, o, err)
	}
	return w
}

func set(path string) Op { return Op{Action: Set, Path: path} }

// TestWhoGetsWhat applies one op to a store and looks which of many watchers
// get its event: live, and from the history where that differs.
func TestWhoGetsWhat(t *testing.T) {
	before := []Op{
		set("/1/f"), set("/1/d/k"), set("/1/d/_h"), set("/1/d/_hd/k"), set("/1/two"),
		{Action: Set, Path: "/1/ttl", Dir: true, HasTTL: true, TTL: 5, Now: 1}, set("/1/ttl/k"),
	}
	for i := range 20 { // more than there are watchers
		before = append(before, set(fmt.Sprintf("/1/big/%d", i)))
	}
	paths := []string{
		"/", "/1", "/1/f", "/1/f/below", "/1/d", "/1/d/k", "/1/d/none", "/1/d/_h", "/1/d/_hd", "/1/d/_hd/k", "/1/tw", "/1/ttl/k",
		"/1/big/7", "/1/big/70",
	}
	tests := []struct {
		name    string
		op      Op
		plain   string // who gets it with a plain watch
		deep    string // who gets it with a recursive watch only
		history string // who gets it from the history in addition
	}{
		{"set of a file", set("/1/f"), "/1/f", "/ /1", ""},
		{"set below a directory", set("/1/d/none"), "/1/d/none", "/ /1 /1/d", ""},
		{"set of a hidden key", set("/1/d/_h"), "/1/d/_h", "", ""},
		{"set below a hidden directory", set("/1/d/_hd/k"), "/1/d/_hd/k", "/1/d/_hd", ""},
		{"no match by string prefix", set("/1/two"), "", "/ /1", ""},
		{"delete of a file", Op{Action: Delete, Path: "/1/f"}, "/1/f", "/ /1", ""},
		{"replacement by a directory", Op{Action: Set, Path: "/1/f", Dir: true}, "/1/f", "/ /1", ""},
		{"update of a directory", Op{Action: Update, Path: "/1/d"}, "/1/d", "/ /1", ""},
		{"delete of a directory", Op{Action: Delete, Path: "/1/d", Recursive: true},
			"/1/d /1/d/k /1/d/_h /1/d/_hd /1/d/_hd/k", "/ /1", "/1/d/none"},
		{"delete of a hidden directory", Op{Action: Delete, Path: "/1/d/_hd", Recursive: true}, "/1/d/_hd /1/d/_hd/k", "", ""},
		{"delete of a large directory", Op{Action: Delete, Path: "/1/big", Recursive: true}, "/1/big/7", "/ /1", "/1/big/70"},
		{"expiry of a directory", Op{Action: Expire, Now: 10}, "/1/ttl/k", "/ /1", ""},
		{"refresh", Op{Action: Update, Path: "/1/f", Refresh: true, HasTTL: true, TTL: 5, Now: 10}, "", "", ""},
		{"implicit parents make no event", set("/1/new/dir/k"), "", "/ /1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := after(t, before...)
			since := s.Index() + 1
			var live []*Watcher
			for _, path := range paths {
				for _, deep := range []bool{false, true} {
					live = append(live, watch(t, s, path, WatchOptions{Recursive: deep, Stream: true}))
				}
			}
			if n := s.Stats().Watchers; n != uint64(len(live)) {
				t.Errorf("%d watchers registered, want %d", n, len(live))
			}
			mustApply(t, s, tt.op)
			for _, w := range live {
				has := strings.Fields(tt.plain)
				if w.recursive {
					has = append(has, strings.Fields(tt.deep)...)
				}
				if !slices.Contains(has, w.path) {
					silent(t, w)
				} else if d := next(t, w); d.Event.Index() != since {
					t.Errorf("watch of %s got event %d, want %d", w.path, d.Event.Index(), since)
				}
				silent(t, w) // and once only
				w.Close()

				past := watch(t, s, w.path, WatchOptions{Recursive: w.recursive, Stream: true, Since: since})
				if slices.Contains(append(has, strings.Fields(tt.history)...), w.path) {
					if d := next(t, past); d.Event.Index() != since {
						t.Errorf("watch of %s got event %d from the history, want %d", w.path, d.Event.Index(), since)
					}
				}
				silent(t, past)
				past.Close()
			}
			if n := s.Stats().Watchers; n != 0 {
				t.Errorf("%d watchers registered after all were closed", n)
			}
			if len(s.hub.topics) != 0 {
				t.Errorf("%d topics left", len(s.hub.topics))
			}
		})
	}
}

func TestOneShotEndsAfterItsEvent(t *testing.T) {
	s := after(t, set("/1/f"))
	w := watch(t, s, "/1/f", WatchOptions{})
	if w.Index() != 1 {
		t.Errorf("Index() = %d, want 1", w.Index())
	}
	mustApply(t, s, set("/1/f"))
	if n := s.Stats().Watchers; n != 0 {
		t.Errorf("%d watchers after the event, want 0", n)
	}
	mustApply(t, s, set("/1/f"))
	if d := next(t, w); d.Event.Index() != 2 {
		t.Errorf("got event %d, want 2", d.Event.Index())
	}
	ended(t, w)
	w.Close()
}

func TestWatchFromTheFutureSkips(t *testing.T) {
	s := after(t, set("/1/f"))
	w := watch(t, s, "/1/f", WatchOptions{Since: 4, Stream: true})
	for range 4 {
		mustApply(t, s, set("/1/f"))
	}
	for want := uint64(4); want <= 5; want++ {
		if got := next(t, w).Event.Index(); got != want {
			t.Errorf("got event %d, want %d", got, want)
		}
	}
}

// TestStreamFromThePastHasNoGap reads a long history while the applier goes on.
func TestStreamFromThePastHasNoGap(t *testing.T) {
	s := New(Config{WatchQueue: 10_000})
	for i := range 2000 {
		mustApply(t, s, set([]string{"/1/a", "/1/b"}[i%2]))
	}
	w := watch(t, s, "/1/a", WatchOptions{Stream: true, Since: 1})
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for i := range 2000 {
			if _, err := s.Apply(set([]string{"/1/a", "/1/b"}[i%2])); err != nil {
				t.Error(err)
			}
		}
	}()
	for want := uint64(1); want < 4000; want += 2 {
		d, err := w.Next(t.Context())
		if err != nil || d.Event.Index() != want {
			t.Fatalf("Next() = %+v, %v, want event %d", d, err, want)
		}
	}
	<-applied
	silent(t, w)
	if n := s.Stats().Watchers; n != 1 {
		t.Errorf("%d watchers, want the stream that has caught up", n)
	}
}

func TestOverflowDeliversWhatWasQueued(t *testing.T) {
	for _, since := range []uint64{0, 1} {
		s := New(Config{WatchQueue: 3})
		mustApply(t, s, set("/1/other"))
		w := watch(t, s, "/1/f", WatchOptions{Stream: true, Since: since})
		for range 5 {
			mustApply(t, s, set("/1/f"))
		}
		if n := s.Stats().Watchers; n != 0 {
			t.Errorf("%d watchers after the overflow, want 0", n)
		}
		for want := uint64(2); want <= 4; want++ {
			if got := next(t, w).Event.Index(); got != want {
				t.Errorf("got event %d, want %d", got, want)
			}
		}
		ended(t, w)
	}
}

func TestEncodedOnceForAllWatchers(t *testing.T) {
	s := New(Config{})
	a := watch(t, s, "/1/f", WatchOptions{})
	b := watch(t, s, "/1", WatchOptions{Recursive: true})
	mustApply(t, s, set("/1/f"))
	calls := 0
	for _, w := range []*Watcher{a, b} {
		got := next(t, w).Encoded(func(e *Event) []byte {
			calls++
			return []byte(e.Node.Path)
		})
		if string(got) != "/1/f" {
			t.Errorf("Encoded() = %q", got)
		}
	}
	if calls != 1 {
		t.Errorf("encoded %d times, want once", calls)
	}
}

// TestEverythingAtOnce has readers, listers, watchers and an applier at work.
// It is of most use under the race detector.
func TestEverythingAtOnce(t *testing.T) {
	s := New(Config{HistoryEvents: 500})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loop := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f(i)
			}
		})
	}
	loop(func(i int) { // a directory that is made and removed in one op each is never seen half full
		v := s.Snapshot()
		n := 0
		for range v.Descendants("/1/pair/dir") {
			n++
		}
		if n != 0 && n != 2 {
			t.Errorf("saw %d nodes of a pair at index %d", n, v.Index)
		}
	})
	loop(func(i int) {
		s.Get(fmt.Sprintf("/1/k/%d", i%100))
		s.NextExpiry()
		s.Stats()
		if v, err := s.Get("/1/k"); err == nil {
			last := ""
			for n := range v.Children("/1/k") {
				if n.Modified > v.Index || n.Path <= last {
					t.Errorf("listing of index %d has %q of index %d after %q", v.Index, n.Path, n.Modified, last)
				}
				last = n.Path
			}
		}
	})
	for _, o := range []WatchOptions{{}, {Stream: true}, {Recursive: true, Stream: true}} {
		loop(func(i int) {
			o.Since = max(s.Index(), 100) - 99
			w, err := s.Watch("/1/k", o)
			if err != nil {
				return
			}
			last := uint64(0)
			for range i % 20 {
				d, err := w.Next(ctx)
				if err != nil {
					break
				}
				if d.Event.Index() <= last || d.Event.Index() < o.Since {
					t.Errorf("event %d after %d, from %d", d.Event.Index(), last, o.Since)
				}
				last = d.Event.Index()
			}
			w.Close()
		})
	}
	for i := range 6000 {
		mustApply(t, s, Op{Action: Set, Path: fmt.Sprintf("/1/k/%d", i%100), HasTTL: i%3 == 0, TTL: 50, Now: int64(i)})
		switch i % 40 {
		case 10:
			mustApply(t, s, set("/1/pair/dir/a/b"))
			mustApply(t, s, Op{Action: Update, Path: "/1/k"})
		case 20:
			mustApply(t, s, Op{Action: Delete, Path: "/1/pair/dir", Recursive: true})
		case 30:
			mustApply(t, s, Op{Action: Expire, Now: int64(i)})
			s.Cut()
		}
	}
	stop()
	wg.Wait()
	if n := s.Stats().Watchers; n != 0 {
		t.Errorf("%d watchers left", n)
	}
}

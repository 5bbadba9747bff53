package store

import (
	"fmt"
	"strings"
	"testing"
)

func TestHistoryWindow(t *testing.T) {
	s := New(Config{HistoryEvents: 1000})
	if first, last := s.HistoryWindow(); first != 0 || last != 0 {
		t.Errorf("HistoryWindow() = %d, %d without events, want 0, 0", first, last)
	}
	for range 1013 {
		mustApply(t, s, set("/1/f"))
	}
	if first, last := s.HistoryWindow(); first != 14 || last != 1013 {
		t.Errorf("HistoryWindow() = %d, %d, want 14, 1013", first, last)
	}
	for _, since := range []uint64{1, 13} {
		_, err := s.Watch("/1/f", WatchOptions{Since: since, Stream: true})
		want := Error{EventCleared, fmt.Sprintf("the requested history has been cleared [14/%d]", since), 1013}
		if got, ok := err.(*Error); !ok || *got != want {
			t.Errorf("watch from %d = %v, want %v", since, err, &want)
		}
	}
	if got := next(t, watch(t, s, "/1/f", WatchOptions{Since: 14})).Event.Index(); got != 14 {
		t.Errorf("the oldest event is %d, want 14", got)
	}
	if n := s.Stats().Watchers; n != 0 {
		t.Errorf("%d watchers registered, want 0", n)
	}
}

func TestHistoryIsBoundedByBytes(t *testing.T) {
	s := New(Config{HistoryBytes: 10_000})
	for range 100 {
		mustApply(t, s, Op{Action: Set, Path: "/1/f", Value: strings.Repeat("x", 1000)})
	}
	if h := &s.hub.past; h.bytes > 10_000 || h.next-h.first < 3 || h.next-h.first > 10 {
		t.Errorf("history of %d bytes in %d events", h.bytes, h.next-h.first)
	}
	mustApply(t, s, Op{Action: Set, Path: "/1/f", Value: strings.Repeat("x", 100_000)})
	if h := &s.hub.past; h.first != s.Index() {
		t.Errorf("history begins at %d, want only the large event %d", h.first, s.Index())
	}
}

func TestHistoryGoneWhileItIsRead(t *testing.T) {
	s := New(Config{HistoryEvents: 300})
	for range 300 {
		mustApply(t, s, set("/1/f"))
	}
	w := watch(t, s, "/1/f", WatchOptions{Stream: true, Since: 1})
	for range 1000 {
		mustApply(t, s, set("/1/f"))
	}
	for want := uint64(1); want <= catchUpEvents; want++ { // found before they went
		if got := next(t, w).Event.Index(); got != want {
			t.Fatalf("got event %d, want %d", got, want)
		}
	}
	ended(t, w)
}

func TestSmallQueueReadsTheWholeHistory(t *testing.T) {
	s := New(Config{WatchQueue: 1})
	for range 100 {
		mustApply(t, s, set("/1/f"))
	}
	w := watch(t, s, "/1/f", WatchOptions{Stream: true, Since: 1})
	for want := uint64(1); want <= 100; want++ {
		if got := next(t, w).Event.Index(); got != want {
			t.Fatalf("got event %d, want %d", got, want)
		}
	}
}

func TestWatchFromAnIndex(t *testing.T) {
	s := after(t, set("/1/f"), set("/1/o"), set("/1/f"), Op{Action: Delete, Path: "/1/f"}, set("/1/d/a"),
		Op{Action: Set, Path: "/1/o", Refresh: true, HasTTL: true, TTL: 5})
	tests := []struct {
		path  string
		since uint64
		deep  bool
		want  uint64 // 0 when it waits
	}{
		{"/1/f", 1, false, 1}, {"/1/f", 2, false, 3}, {"/1/f", 4, false, 4}, {"/1/f", 5, false, 0},
		{"/1", 2, true, 2}, {"/1/d", 1, true, 5}, {"/1/o", 3, false, 0}, {"/1/f", 7, false, 0}, {"/1/f", 1e9, false, 0},
		{"/1/f", 0, false, 0}, {"/1", 1, false, 0},
	}
	for _, tt := range tests {
		w := watch(t, s, tt.path, WatchOptions{Since: tt.since, Recursive: tt.deep})
		if w.Index() != 6 {
			t.Errorf("Index() = %d, want 6", w.Index())
		}
		if registered := s.Stats().Watchers == 1; registered != (tt.want == 0) {
			t.Errorf("watch of %s from %d: registered %v", tt.path, tt.since, registered)
		}
		if tt.want == 0 {
			silent(t, w)
		} else {
			if got := next(t, w).Event.Index(); got != tt.want {
				t.Errorf("watch of %s from %d got %d, want %d", tt.path, tt.since, got, tt.want)
			}
			ended(t, w)
		}
		w.Close()
	}
}

package store

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

func TestNextWaitsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		type result struct {
			d   *Delivery
			err error
		}
		results := make(chan result)
		wait := func(ctx context.Context, w *Watcher) {
			go func() {
				d, err := w.Next(ctx)
				results <- result{d, err}
			}()
			synctest.Wait()
			select {
			case r := <-results:
				t.Fatalf("Next() = %+v, want it to wait", r)
			default:
			}
		}
		w := watch(t, s, "/1/f", WatchOptions{Stream: true})
		wait(t.Context(), w)
		mustApply(t, s, set("/1/f"))
		if r := <-results; r.err != nil || r.d.Event.Index() != 1 {
			t.Errorf("Next() = %+v, want event 1", r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait(ctx, w)
		cancel()
		if r := <-results; !errors.Is(r.err, context.Canceled) {
			t.Errorf("Next() = %+v, want the error of its context", r)
		}
		wait(t.Context(), w)
		w.Close()
		if r := <-results; r.err != io.EOF {
			t.Errorf("Next() after Close = %+v, want io.EOF", r)
		}
		w = watch(t, s, "/1/f", WatchOptions{Recursive: true})
		wait(t.Context(), w)
		s.Close()
		if r := <-results; r.err != io.EOF {
			t.Errorf("Next() after the store closed = %+v, want io.EOF", r)
		}
		ended(t, watch(t, s, "/1/f", WatchOptions{}))
		ended(t, watch(t, s, "/1/f", WatchOptions{Since: 1}))
		if n := s.Stats().Watchers; n != 0 {
			t.Errorf("%d watchers in a closed store", n)
		}
	})
}

// A watcher that is polled is woken once for each time it was told that there is
// nothing yet.
func TestPollIsWoken(t *testing.T) {
	s := after(t, set("/1/f"))
	woken := 0
	w := watch(t, s, "/1/f", WatchOptions{Stream: true, Since: 1, Wake: func() { woken++ }})
	poll := func(index uint64, end error) {
		t.Helper()
		d, err := w.Poll()
		if err != end || (d != nil) != (index != 0) || d != nil && d.Event.Index() != index {
			t.Fatalf("Poll() = %+v, %v, want event %d and %v", d, err, index, end)
		}
	}
	wakes := func(want int) {
		t.Helper()
		if woken != want {
			t.Fatalf("woken %d times, want %d", woken, want)
		}
	}
	poll(1, nil)
	mustApply(t, s, set("/1/f"))
	wakes(0) // it was not told that there is nothing
	poll(2, nil)
	poll(0, nil)
	poll(0, nil)
	mustApply(t, s, set("/1/other"))
	wakes(0)
	mustApply(t, s, set("/1/f"))
	mustApply(t, s, set("/1/f"))
	wakes(1)
	poll(4, nil)
	poll(5, nil)
	poll(0, nil)
	w.Close()
	w.Close()
	wakes(2)
	poll(0, io.EOF)
	mustApply(t, s, set("/1/f"))
	wakes(2)
}

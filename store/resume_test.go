package store

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestWatchersMissNothing has watchers that end and resume by index, and streams
// that begin in the past, while a writer goes on. Every one of them must see all
// events of its key, in order, each once.
func TestWatchersMissNothing(t *testing.T) {
	const (
		keys     = 4
		writes   = 6000
		watchers = 24
	)
	s := New(Config{HistoryEvents: 2 * writes})
	base := s.Index()
	events := make([][]uint64, keys) // indexes by key; the writer's until it is done
	var writer sync.WaitGroup
	writer.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for range writes {
			k := r.IntN(keys)
			op := Op{Action: Set, Path: fmt.Sprintf("/1/d/%d", k), Now: 1}
			if r.IntN(5) == 0 {
				op.Action = Delete
			}
			if ev, err := s.Apply(op); err == nil {
				events[k] = append(events[k], ev.Index())
			}
		}
		for k := range keys { // the last event of each tells its watchers to stop
			ev, err := s.Apply(Op{Action: Set, Path: fmt.Sprintf("/1/d/%d", k), Value: "end", Now: 1})
			if err != nil {
				t.Error(err)
			}
			events[k] = append(events[k], ev.Index())
		}
	})
	seen := make([][]uint64, watchers)
	var watching sync.WaitGroup
	for i := range watchers {
		watching.Go(func() {
			path := fmt.Sprintf("/1/d/%d", i%keys)
			for since, last := base+1, false; !last; {
				w, err := s.Watch(path, WatchOptions{Stream: i%3 == 0, Recursive: i%2 == 0, Since: since})
				if err != nil {
					t.Error(err)
					return
				}
				for {
					d, err := w.Next(context.Background())
					if err == io.EOF {
						break
					}
					since = d.Event.Index() + 1
					seen[i] = append(seen[i], d.Event.Index())
					if d.Event.Node.Value == "end" {
						last = true
						break
					}
				}
				w.Close()
			}
		})
	}
	writer.Wait()
	watching.Wait()
	for i, got := range seen {
		want := events[i%keys]
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("watcher %d saw %d events, want %d, all and in order", i, len(got), len(want))
		}
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// reloaded is the store that another member would load from a checkpoint of s.
func reloaded(t testing.TB, cfg Config, s *Store) *Store {
	t.Helper()
	d := s.CutFull()
	return load(t, cfg, d.Nodes, slices.Concat(d.Events...), d)
}

// twin is a watch that was begun on two stores at the same moment.
type twin struct {
	path      string
	o         WatchOptions
	both      [2]*Watcher
	got       [2][]Event
	over      [2]bool
	excusable bool // a Replace took away what it was to read next
}

// drain takes what is there for one of the two, and leaves out the removals of
// directories above its path: only the history hands out all of those.
func (w *twin) drain(t *testing.T, i int) {
	t.Helper()
	for !w.over[i] {
		d, err := w.both[i].Poll()
		switch {
		case errors.Is(err, io.EOF):
			w.over[i] = true
		case err != nil:
			t.Fatal(err)
		case d == nil:
			return
		case !(d.Event.removesDir() && below(d.Event.Node.Path, w.path)):
			w.got[i] = append(w.got[i], d.Event)
		}
	}
}

// check compares what the two got. The second may have ended early where it has an excuse.
func (w *twin) check(t *testing.T) {
	t.Helper()
	w.drain(t, 0)
	w.drain(t, 1)
	want, got := w.got[0], w.got[1]
	if w.over[1] && !w.over[0] {
		if !w.excusable {
			t.Errorf("watch of %s %+v ended after %d events, though nothing was lost", w.path, w.o, len(got))
		}
		want = want[:min(len(got), len(want))]
	}
	if !slices.EqualFunc(got, want, sameEvent) {
		t.Errorf("watch of %s %+v got %d events, want these %d:\n%v\n%v", w.path, w.o, len(got), len(want), indexes(got), indexes(want))
	}
}

func indexes(events []Event) []uint64 {
	var list []uint64
	for i := range events {
		list = append(list, events[i].Index())
	}
	return list
}

// TestReplaceAgainstModel has one store apply all ops and another one apply some
// and take the rest over by Replace. Their watchers must get the same events.
func TestReplaceAgainstModel(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { replaceAgainstModel(t, seed) })
	}
}

func replaceAgainstModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	cfg := Config{HistoryEvents: [...]int{60, 100_000}[seed%2], WatchQueue: 20}
	direct, follower := New(Config{HistoryEvents: cfg.HistoryEvents, WatchQueue: 100_000}), New(cfg)
	var twins []*twin
	lag, replaced, excused, behind := 0, 0, 0, 0
	for i := range 3000 {
		now := int64(i + 1)
		if lag == 0 && rnd.IntN(8) == 0 {
			twins = append(twins, newTwin(t, rnd, direct, follower))
		}
		if lag == 0 && rnd.IntN(30) == 0 {
			lag = 1 + rnd.IntN(400)
		}
		op := randomOp(rnd, direct.Index(), now)
		op.Recursive = op.Recursive && rnd.IntN(4) == 0
		if i%50 == 49 {
			op = Op{Action: Expire, Now: now}
		}
		direct.Apply(op) // a refusal is as good
		if lag == 0 {
			for _, w := range twins {
				w.drain(t, 1)
			}
			follower.Apply(op)
			continue
		}
		if lag--; lag > 0 {
			continue
		}
		content := reloaded(t, cfg, direct)
		first, _ := content.HistoryWindow()
		for _, w := range twins {
			if position(w.both[1], follower) < first && !w.over[1] {
				w.excusable = true
				excused++
			}
		}
		follower.Replace(content)
		replaced++
		for _, w := range twins {
			if w.both[1].behind {
				behind++
			}
		}
		if dump(t, direct) != dump(t, follower) {
			t.Fatal("after Replace the stores dump other bytes")
		}
		if direct.counts.stats() != follower.counts.stats() {
			t.Fatalf("after Replace the counters are %+v, want %+v", follower.Stats(), direct.Stats())
		}
	}
	if lag > 0 {
		follower.Replace(reloaded(t, cfg, direct))
		for _, w := range twins {
			w.excusable = true
		}
	}
	for _, w := range twins {
		w.check(t)
	}
	if short := cfg.HistoryEvents == 60; replaced == 0 || short && excused == 0 || !short && behind == 0 {
		t.Errorf("%d replacements, %d watchers fell behind, %d lost their place: too few to tell anything", replaced, behind, excused)
	}
}

// position is the next index that w has to look at.
func position(w *Watcher, s *Store) uint64 {
	if w.behind {
		return w.since
	}
	return max(w.since, s.Index()+1)
}

func newTwin(t *testing.T, rnd *rand.Rand, stores ...*Store) *twin {
	t.Helper()
	paths := []string{"/", "/1", "/1/a", "/1/a/b", "/1/_h", "/1/a/_h", "/1/b", "/1/longer name", "/0"}
	w := &twin{
		path: paths[rnd.IntN(len(paths))],
		// A watch that wants one event might get one that is left out here.
		o: WatchOptions{Recursive: rnd.IntN(2) == 0, Stream: true, Wake: func() {}},
	}
	switch index := stores[0].Index(); rnd.IntN(3) {
	case 0:
		w.o.Since = index + uint64(rnd.IntN(60))
	case 1:
		first, _ := stores[0].HistoryWindow()
		w.o.Since = first + uint64(rnd.IntN(50))
	}
	for i, s := range stores {
		w.both[i] = watch(t, s, w.path, w.o)
	}
	return w
}

// TestReplaceAndWatchers tells for a watcher at its place what becomes of it.
func TestReplaceAndWatchers(t *testing.T) {
	ops := func(n int) []Op { return slices.Repeat([]Op{set("/1/f")}, n) }
	tests := []struct {
		name    string
		history int    // events kept by the new content
		applied int    // events in the new content; the old one has 10
		since   uint64 // of the watcher
		oneShot bool
		want    []uint64 // events
		ends    bool     // after them
	}{
		{name: "nothing new", applied: 10},
		{name: "live, new events", applied: 13, want: []uint64{11, 12, 13}},
		{name: "live, one event wanted", applied: 13, oneShot: true, want: []uint64{11}, ends: true},
		{name: "live, the history begins with the next event", applied: 15, history: 5, want: []uint64{11, 12, 13, 14, 15}},
		{name: "live, the next event is dropped", applied: 16, history: 5, ends: true},
		{name: "live, index goes back", applied: 9, ends: true},
		{name: "unread history", applied: 12, since: 4, want: []uint64{4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{name: "unread history, index goes back", applied: 9, since: 9, want: []uint64{9, 10}, ends: true},
		{name: "later index, reached", applied: 13, since: 12, want: []uint64{12, 13}},
		{name: "later index, just reached", applied: 12, since: 12, oneShot: true, want: []uint64{12}, ends: true},
		{name: "later index, still later", applied: 12, since: 14},
		{name: "later index, dropped", applied: 20, history: 5, since: 15, ends: true},
		{name: "later index, first in the history", applied: 20, history: 5, since: 16, want: []uint64{16, 17, 18, 19, 20}},
		{name: "later index, index goes back", applied: 3, since: 14},
		{name: "the next index, index goes back", applied: 3, since: 11, ends: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := after(t, ops(10)...)
			w := watch(t, s, "/1/f", WatchOptions{Stream: !tt.oneShot, Since: tt.since, Wake: func() {}})
			cfg := Config{HistoryEvents: tt.history}
			content := New(cfg)
			for _, op := range ops(tt.applied) {
				mustApply(t, content, op)
			}
			s.Replace(reloaded(t, cfg, content))
			got := &twin{path: w.path, both: [2]*Watcher{w}}
			got.drain(t, 0)
			if !slices.Equal(indexes(got.got[0]), tt.want) || got.over[0] != tt.ends {
				t.Fatalf("got events %v, ended %t; want %v, %t", indexes(got.got[0]), got.over[0], tt.want, tt.ends)
			}
			if tt.ends {
				if n := s.Stats().Watchers; n != 0 {
					t.Errorf("%d watchers are registered, want none", n)
				}
				return
			}
			for s.Index() < 14 { // it goes on
				mustApply(t, s, set("/1/f"))
			}
			mustApply(t, s, set("/1/f"))
			got.drain(t, 0)
			if k := len(got.got[0]); k == 0 || got.got[0][k-1].Index() != s.Index() {
				t.Errorf("after event %d it has got %v", s.Index(), indexes(got.got[0]))
			}
		})
	}
}

// TestReplaceEndsWhoReadsAnotherPast has a watcher in the middle of the history when
// the index goes back. What it has read does not lead to what comes.
func TestReplaceEndsWhoReadsAnotherPast(t *testing.T) {
	s := after(t, slices.Repeat([]Op{set("/1/f")}, 200)...)
	w := watch(t, s, "/1/f", WatchOptions{Stream: true, Since: 1})
	for range 10 {
		next(t, w)
	}
	content := after(t, slices.Repeat([]Op{set("/1/f")}, 150)...)
	s.Replace(reloaded(t, Config{}, content))
	for s.Index() < 300 {
		mustApply(t, s, set("/1/f"))
	}
	for last := uint64(10); ; {
		d, err := w.Next(t.Context())
		if err == io.EOF {
			if last > 150 {
				t.Errorf("it read up to event %d of a history that went back to 150", last)
			}
			return
		}
		if err != nil || d.Event.Index() != last+1 {
			t.Fatalf("Next() = %+v, %v after event %d", d, err, last)
		}
		last++
	}
}

// TestReplaceTellsOfDirectories has watchers below directories that went, or went
// and came again, while nobody looked.
func TestReplaceTellsOfDirectories(t *testing.T) {
	s := after(t, set("/1/d/k"), set("/1/d/e/k"), set("/1/dd/k"))
	content := reloaded(t, Config{}, s)
	paths := map[string][]uint64{"/1/d": {4}, "/1/d/k": {4, 5}, "/1/d/e": {4}, "/1/d/e/k": {4}, "/1/dd/k": nil, "/1": nil}
	watchers := map[string]*twin{}
	for path := range paths {
		w := watch(t, s, path, WatchOptions{Stream: true, Wake: func() {}})
		watchers[path] = &twin{path: "/", both: [2]*Watcher{w}} // "/": leave nothing out
	}
	mustApply(t, content, Op{Action: Delete, Path: "/1/d", Recursive: true})
	mustApply(t, content, set("/1/d/k"))
	s.Replace(reloaded(t, Config{}, content))
	for path, want := range paths {
		w := watchers[path]
		w.drain(t, 0)
		if got := indexes(w.got[0]); !slices.Equal(got, want) {
			t.Errorf("watch of %s got events %v, want %v", path, got, want)
		}
	}
}

// TestReplaceKeepsCut checks that the content's own changes are what the next Cut hands over.
func TestReplaceKeepsCut(t *testing.T) {
	s := after(t, set("/1/old"))
	other := after(t, set("/1/a"), set("/1/b"))
	s.Replace(reloaded(t, Config{}, other))
	mustApply(t, s, set("/1/c"))
	d := s.Cut()
	if len(d.Nodes) != 1 || d.Nodes["/1/c"] == nil || d.Full || d.Index != 3 {
		t.Errorf("Cut() = %+v, want the node /1/c alone at index 3", d)
	}
	if got := indexes(slices.Concat(d.Events...)); !slices.Equal(got, []uint64{3}) {
		t.Errorf("Cut() has events %v, want 3 alone", got)
	}
	if _, ok := s.Lookup("/1/old"); ok {
		t.Error("what the content does not hold is still there")
	}
}

// TestReplaceUnderWatch has streams, polls and readers at work while the store
// takes over newer and newer content and applies ops in between.
func TestReplaceUnderWatch(t *testing.T) {
	const rounds = 60
	source, s := New(Config{}), New(Config{WatchQueue: 8})
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	seen := make([][]uint64, 6)
	for i := range seen {
		w := watch(t, s, "/1", WatchOptions{Recursive: true, Stream: true, Since: 1})
		work.Go(func() {
			for {
				d, err := w.Next(ctx)
				if err != nil {
					t.Errorf("watcher %d: Next() = %v after event %d of %d", i, err, len(seen[i]), s.Index())
					return
				}
				if seen[i] = append(seen[i], d.Event.Index()); d.Event.Node.Value == "end" {
					return
				}
			}
		})
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			v := s.Snapshot()
			n, highest := 0, uint64(0)
			for node := range v.All("/1") {
				n++
				highest = max(highest, node.Modified)
			}
			if highest != v.Index || uint64(n) > v.Index {
				t.Errorf("a snapshot at index %d holds %d nodes, the last of index %d", v.Index, n, highest)
				return
			}
			if v, err := s.Get("/1"); err != nil || v.Index < v.Node.Modified {
				t.Errorf("Get(/1) = %+v, %v", v, err)
				return
			}
			w := watch(t, s, "/1/k", WatchOptions{})
			w.Close()
		}
	})
	rnd := rand.New(rand.NewPCG(3, 9))
	for range rounds {
		for range rnd.IntN(30) {
			mustApply(t, source, set(fmt.Sprintf("/1/k%d", rnd.IntN(20))))
		}
		s.Replace(reloaded(t, Config{WatchQueue: 8}, source))
	}
	mustApply(t, source, Op{Action: Set, Path: "/1/k", Value: "end"})
	s.Replace(reloaded(t, Config{WatchQueue: 8}, source))
	work.Wait()
	stop()
	reading.Wait()
	for i, got := range seen {
		for j, index := range got {
			if index != uint64(j+1) {
				t.Fatalf("watcher %d: event %d has index %d", i, j+1, index)
			}
		}
		if uint64(len(got)) != s.Index() {
			t.Errorf("watcher %d has got %d events of %d", i, len(got), s.Index())
		}
	}
}

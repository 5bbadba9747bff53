package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCutHandsOverWhatChanged(t *testing.T) {
	s := after(t, set("/1/a"), set("/1/d/k"), set("/1/d/k2"), Op{Action: Delete, Path: "/1/d/k2"})
	first := s.Cut()
	wantNodes(t, first, "/1/a", "/1/d", "/1/d/k")
	if n, ok := first.Nodes["/1/d/k2"]; n != nil || !ok {
		t.Errorf("a node made and removed is %+v, %v in the delta, want nil", n, ok)
	}
	if got := events(first); !slices.Equal(got, []uint64{1, 2, 3, 4}) || first.HistoryFirst != 1 || first.Index != 4 || first.Full {
		t.Errorf("first delta has events %v from %d, index %d", got, first.HistoryFirst, first.Index)
	}

	mustApply(t, s, Op{Action: Delete, Path: "/1/d", Recursive: true, Now: 9})
	mustApply(t, s, set("/1/b"))
	second := s.Cut()
	wantNodes(t, first, "/1/a", "/1/d", "/1/d/k") // it stays as it was
	wantNodes(t, second, "/1/b")
	if len(second.Nodes) != 3 || second.Clock != 9 || second.Counters.DeleteSuccess != 2 {
		t.Errorf("second delta is %+v", second)
	}
	if got := events(second); !slices.Equal(got, []uint64{5, 6}) {
		t.Errorf("second delta has events %v, want 5 and 6", got)
	}
	if third := s.Cut(); len(third.Nodes) != 0 || len(third.Events) != 0 || third.Index != 6 {
		t.Errorf("third delta is %+v, want an empty one", third)
	}

	full := s.CutFull()
	wantNodes(t, full, "/1/a", "/1/b")
	if got := events(full); !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) || !full.Full || len(full.Nodes) != 2 {
		t.Errorf("full delta has events %v, full %v, nodes %v", got, full.Full, full.Nodes)
	}
	loaded := load(t, Config{}, full.Nodes, slices.Concat(full.Events...), full)
	if dump(t, loaded) != dump(t, s) {
		t.Error("a store loaded from a full delta dumps other bytes")
	}
}

func wantNodes(t *testing.T, d Delta, paths ...string) {
	t.Helper()
	var got []string
	for path, n := range d.Nodes {
		if n != nil {
			got = append(got, path)
			if n.Path != path {
				t.Errorf("delta has %q under %q", n.Path, path)
			}
		}
	}
	if slices.Sort(got); !slices.Equal(got, paths) {
		t.Errorf("delta has nodes %q, want %q", got, paths)
	}
}

func events(d Delta) []uint64 {
	var indexes []uint64
	for _, e := range slices.Concat(d.Events...) {
		indexes = append(indexes, e.Index())
	}
	return indexes
}

func TestEventsThatLeftTheWindowAreNotHandedOver(t *testing.T) {
	s := New(Config{HistoryEvents: 10})
	for range 700 {
		mustApply(t, s, set("/1/a"))
	}
	d := s.Cut()
	if got := events(d); len(got) != 10 || got[0] != 691 || d.HistoryFirst != 691 {
		t.Errorf("delta has events %v from %d, want 691 to 700", got, d.HistoryFirst)
	}
}

// TestLoadedStoreGoesOnAlike applies the same ops to a store and to its reload.
func TestLoadedStoreGoesOnAlike(t *testing.T) {
	cfg := Config{HistoryEvents: 300, HistoryBytes: 60_000}
	rnd := rand.New(rand.NewPCG(3, 3))
	s := New(cfg)
	step := func(i int, to ...*Store) {
		op := randomOp(rnd, to[0].Index(), int64(i))
		if i%20 == 0 {
			op = Op{Action: Expire, Now: int64(i)}
		}
		for _, s := range to {
			s.Apply(op) // refusals are part of it
		}
	}
	for i := range 1500 {
		step(i, s)
	}
	d := s.Cut()
	maps.DeleteFunc(d.Nodes, func(_ string, n *Node) bool { return n == nil })
	loaded := load(t, cfg, d.Nodes, slices.Concat(d.Events...), d)
	for i := range 1500 {
		step(1500+i, s, loaded)
		if i%100 == 0 && dump(t, s) != dump(t, loaded) {
			t.Fatalf("dumps differ after %d ops", i+1)
		}
	}
	a, b := s.Cut(), loaded.Cut()
	if !maps.EqualFunc(a.Nodes, b.Nodes, func(x, y *Node) bool { return x == nil && y == nil || x != nil && y != nil && *x == *y }) {
		t.Error("the deltas after the load differ")
	}
	if a.Counters != b.Counters || a.Clock != b.Clock {
		t.Errorf("counters and clock %+v, %d, want %+v, %d", b.Counters, b.Clock, a.Counters, a.Clock)
	}
	w := watch(t, loaded, "/1", WatchOptions{Recursive: true, Stream: true, Since: b.HistoryFirst})
	if got := next(t, w).Event.Index(); got < b.HistoryFirst {
		t.Errorf("a watch of the loaded history got %d", got)
	}
}

func TestDumpTellsStoresApart(t *testing.T) {
	ops := []Op{set("/1/a"), {Action: Set, Path: "/1/b", Value: "x", Now: 5}, set("/1/d/k")}
	base := dump(t, after(t, ops...))
	if dump(t, after(t, ops...)) != base {
		t.Error("equal stores dump different bytes")
	}
	for i := range ops {
		for _, change := range []func(*Op){
			func(op *Op) { op.Value += "y" },
			func(op *Op) { op.Path += "y" },
			func(op *Op) { op.Now += 10 },
			func(op *Op) { op.Action = Create },
		} {
			other := slices.Clone(ops)
			change(&other[i])
			if dump(t, after(t, other...)) == base {
				t.Errorf("a store that differs by %+v dumps the same bytes", other[i])
			}
		}
	}
}

func TestDumpReportsErrors(t *testing.T) {
	boom := errors.New("boom")
	if err := New(Config{}).Dump(writer(func([]byte) (int, error) { return 0, boom })); !errors.Is(err, boom) {
		t.Errorf("Dump() = %v, want the error of the writer", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestLoaderRefuses(t *testing.T) {
	node := func(path string) *Node { return &Node{Path: path, Created: 1, Modified: 1} }
	dir := func(path string) *Node { return &Node{Path: path, Created: 1, Modified: 1, Dir: true} }
	tests := []struct {
		name  string
		nodes []*Node // the last one is refused
	}{
		{"twice the same", []*Node{node("/1/a"), node("/1/a")}},
		{"descending", []*Node{node("/1/b"), node("/1/a")}},
		{"byte order", []*Node{dir("/1/a"), node("/1/a-"), node("/1/a/x")}},
		{"no parent", []*Node{node("/1/a/b")}},
		{"no parent, but a grandparent", []*Node{dir("/1/a"), node("/1/a/b/c")}},
		{"parent is a file", []*Node{node("/1/a"), node("/1/a/b")}},
		{"parent was left", []*Node{dir("/1/a"), dir("/1/b"), node("/1/a/b")}},
		{"path not clean", []*Node{node("/1/a/")}},
		{"no path", []*Node{node("")}},
		{"changed root", []*Node{dir("/")}},
		{"changed fixed directory", []*Node{dir("/1")}},
		{"directory with a value", []*Node{{Path: "/1/d", Dir: true, Value: "x"}}},
	}
	for _, tt := range tests {
		l := NewLoader(Config{})
		for i, n := range tt.nodes {
			if err := l.Node(n); i < len(tt.nodes)-1 && err != nil {
				t.Errorf("%s: Node(%q) = %v", tt.name, n.Path, err)
			} else if i == len(tt.nodes)-1 && !errors.Is(err, ErrLoad) {
				t.Errorf("%s: Node(%q) = %v, want ErrLoad", tt.name, n.Path, err)
			}
		}
	}

	event := func(index uint64) Event { return Event{Action: Set, Node: &Node{Path: "/1/a", Modified: index}} }
	for _, indexes := range [][]uint64{{0}, {5, 7}, {5, 5}, {5, 4}} {
		l := NewLoader(Config{})
		var err error
		for _, i := range indexes {
			err = l.Event(event(i))
		}
		if !errors.Is(err, ErrLoad) {
			t.Errorf("Event(%v) = %v, want ErrLoad", indexes, err)
		}
	}
	l := NewLoader(Config{})
	if err := l.Event(event(5)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Finish(6, Stats{}, 0); !errors.Is(err, ErrLoad) {
		t.Errorf("Finish(6) after event 5 = %v, want ErrLoad", err)
	}
}

func TestLoaderTakesTheFixedDirectoriesOrLeavesThemOut(t *testing.T) {
	s := after(t, set("/0/m"), set("/1/a"), set("/1/b"), set("/3"))
	with, without := NewLoader(Config{}), NewLoader(Config{})
	for n := range s.Snapshot().All("/") {
		if err := with.Node(n); err != nil {
			t.Fatal(err)
		}
		if fixed(n.Path) {
			continue
		}
		if err := without.Node(n); err != nil {
			t.Fatal(err)
		}
	}
	var dumps [2]string
	for i, l := range []*Loader{with, without} {
		loaded, err := l.Finish(4, Stats{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		dumps[i] = dump(t, loaded)
		_, err = loaded.Watch("/1/a", WatchOptions{Since: 4})
		if want := "the requested history has been cleared [5/4]"; err == nil || err.(*Error).Cause != want {
			t.Errorf("watch of the past without a history = %v, want %q", err, want)
		}
		silent(t, watch(t, loaded, "/1/a", WatchOptions{Since: 5}))
	}
	if dumps[0] != dumps[1] {
		t.Error("the fixed directories make a difference")
	}
}

func TestLoadRestoresDeadlines(t *testing.T) {
	s := New(Config{})
	for i := range 500 {
		mustApply(t, s, Op{Action: Set, Path: fmt.Sprintf("/1/%03d", i), HasTTL: i%3 > 0, TTL: 1, Now: int64(1000 - i)})
	}
	d := s.Cut()
	loaded := load(t, Config{}, d.Nodes, slices.Concat(d.Events...), d)
	for _, s := range []*Store{s, loaded} {
		if at, ok := s.NextExpiry(); !ok || at != 1001-499 {
			t.Errorf("NextExpiry() = %d, %v, want 502", at, ok)
		}
		mustApply(t, s, Op{Action: Expire, Now: 800})
	}
	if dump(t, s) != dump(t, loaded) || loaded.Index() == 500 {
		t.Error("expiry differs after a load")
	}
}

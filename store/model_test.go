package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// model is the store as a plain map, written from the protocol description
// without regard for speed.
type model struct {
	nodes  map[string]Node
	index  uint64
	events []Event // all of them
	stats  Stats
}

func newModel() *model {
	m := &model{nodes: map[string]Node{}}
	for _, dir := range fixedPaths() {
		m.nodes[dir] = Node{Path: dir, Dir: true}
	}
	return m
}

func (m *model) refuse(code Code, cause string) *Error {
	return &Error{Code: code, Cause: cause, Index: m.index}
}

// walk goes down to path and stops at the first missing component or at a file.
func (m *model) walk(path string) *Error {
	parts := strings.Split(path, "/")
	for i := 2; i <= len(parts); i++ {
		at := strings.Join(parts[:i], "/")
		n, ok := m.nodes[at]
		if !ok {
			return m.refuse(KeyNotFound, at)
		}
		if !n.Dir && at != path {
			return m.refuse(NotDir, at)
		}
	}
	return nil
}

func (m *model) below(dir string) []string {
	var paths []string
	for p := range m.nodes {
		if strings.HasPrefix(p, dir+"/") {
			paths = append(paths, p)
		}
	}
	return paths
}

func (m *model) apply(op Op) *Error {
	path := op.Path
	if op.Action == CreateInOrder {
		path = fmt.Sprintf("%s/%020d", path, m.index+1)
	}
	root := path == "/" || path == "/0" || path == "/1" || path == "/2"
	if root && op.Action == CompareAndDelete {
		return m.refuse(NotFile, "")
	}
	if root {
		return m.refuse(RootReadOnly, path)
	}
	way := m.walk(path)
	prev, exists := m.nodes[path]
	if way != nil && (way.Code == NotDir || op.Action != Set && op.Action != Create && op.Action != CreateInOrder || op.Action == Set && op.Refresh) {
		return way
	}
	compares := op.Action == CompareAndSwap || op.Action == CompareAndDelete
	switch {
	case exists && (op.Action == Create || op.Action == CreateInOrder):
		return m.refuse(NodeExist, path)
	case prev.Dir && (op.Action == Set || compares):
		return m.refuse(NotFile, path)
	case prev.Dir && op.Action == Update && op.Value != "":
		return m.refuse(NotFile, path)
	case prev.Dir && op.Action == Delete && !op.Dir && !op.Recursive:
		return m.refuse(NotFile, path)
	case prev.Dir && op.Action == Delete && !op.Recursive && len(m.below(path)) > 0:
		return m.refuse(DirNotEmpty, path)
	}
	if compares {
		var causes []string
		if op.PrevValue != "" && op.PrevValue != prev.Value {
			causes = append(causes, "["+op.PrevValue+" != "+prev.Value+"]")
		}
		if op.PrevIndex != 0 && op.PrevIndex != prev.Modified {
			causes = append(causes, fmt.Sprintf("[%d != %d]", op.PrevIndex, prev.Modified))
		}
		if len(causes) > 0 {
			return m.refuse(CompareFailed, strings.Join(causes, " "))
		}
	}
	if op.Action == Delete || op.Action == CompareAndDelete {
		m.remove(op.Action, prev, op.Now)
		return nil
	}
	m.index++
	n := Node{Path: path, Created: m.index, Modified: m.index, Value: op.Value, Dir: op.Dir}
	if op.Action == Update || op.Action == CompareAndSwap {
		n.Created, n.Dir = prev.Created, prev.Dir
	}
	refresh := op.Refresh && op.Action != Create && op.Action != CreateInOrder
	if refresh {
		n.Value = prev.Value
	}
	if n.Dir {
		n.Value = ""
	}
	if op.HasTTL {
		n.Expires = op.Now + int64(op.TTL)
	}
	parts := strings.Split(path, "/")
	for i := 2; i < len(parts); i++ {
		if at := strings.Join(parts[:i], "/"); !m.nodes[at].Dir {
			m.nodes[at] = Node{Path: at, Dir: true, Created: m.index, Modified: m.index}
		}
	}
	m.nodes[path] = n
	ev := Event{Action: op.Action, Node: &n, Now: op.Now, Refresh: refresh}
	if exists {
		ev.Prev = &prev
	}
	if op.Action == CreateInOrder {
		ev.Action = Create
	}
	m.events = append(m.events, ev)
	return nil
}

func (m *model) remove(a Action, prev Node, now int64) {
	m.index++
	for _, p := range append(m.below(prev.Path), prev.Path) {
		delete(m.nodes, p)
	}
	n := Node{Path: prev.Path, Dir: prev.Dir, Created: prev.Created, Modified: m.index}
	m.events = append(m.events, Event{Action: a, Node: &n, Prev: &prev, Now: now})
}

func (m *model) expire(now int64) {
	for range expireMax {
		var due *Node
		for _, n := range m.nodes {
			if n.Expires == 0 || n.Expires > now {
				continue
			}
			if due == nil || n.Expires < due.Expires || n.Expires == due.Expires && comparePaths(n.Path, due.Path) < 0 {
				due = &n
			}
		}
		if due == nil {
			return
		}
		m.remove(Expire, *due, now)
		m.stats.ExpireCount++
	}
}

// randomOp draws an op that often hits what is there.
func randomOp(rnd *rand.Rand, index uint64, now int64) Op {
	names := []string{"a", "b", "_h", "a-", "a.b", "longer name", "longer name 2"}
	path := [...]string{"/1", "/1", "/1", "/1", "/0", "/2", ""}[rnd.IntN(7)]
	for range rnd.IntN(5) {
		path += "/" + names[rnd.IntN(len(names))]
	}
	if path == "" {
		path = "/"
	}
	op := Op{
		Action: Set + Action(rnd.IntN(int(CompareAndDelete))), Path: path, Now: now,
		Value: [...]string{"", "x", "y"}[rnd.IntN(3)],
		Dir:   rnd.IntN(4) == 0, Recursive: rnd.IntN(8) == 0, Refresh: rnd.IntN(8) == 0,
		HasTTL: rnd.IntN(3) == 0,
	}
	if op.Action > CompareAndDelete {
		op.Action = Set
	}
	if op.HasTTL {
		op.TTL = time.Duration(1 + rnd.Int64N(50))
	}
	if op.Action == CompareAndSwap || op.Action == CompareAndDelete {
		op.PrevValue = [...]string{"", "x", "y"}[rnd.IntN(3)]
		op.PrevIndex = [...]uint64{0, 0, index, index - min(index, 1)}[rnd.IntN(4)]
	}
	if op.Action == CreateInOrder && path == "/" {
		op.Path = "/1"
	}
	return op
}

// TestAgainstModel applies random ops to store and model and compares every
// answer, and from time to time the trees, the histories and a reload.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			s, m := New(Config{}), newModel()
			checkpoint := map[string]*Node{}
			var kept []Event
			for i := range 3000 {
				now := int64(i + 1)
				if i%50 == 49 {
					mustApply(t, s, Op{Action: Expire, Now: now})
					m.expire(now)
					compareWithModel(t, s, m)
				}
				op := randomOp(rnd, m.index, now)
				rec := op.AppendBinary(nil)
				parsed, err := ParseOp(rec)
				if err != nil || parsed != op {
					t.Fatalf("seed %d, op %d: ParseOp gives %+v, %v, want %+v", seed, i, parsed, err, op)
				}
				want := m.apply(op)
				ev, err := s.Apply(parsed)
				switch {
				case want != nil:
					got, ok := err.(*Error)
					if !ok || *got != *want {
						t.Fatalf("seed %d, op %d: Apply(%+v) = %v, want %v", seed, i, op, err, want)
					}
				case err != nil:
					t.Fatalf("seed %d, op %d: Apply(%+v) = %v, want success", seed, i, op, err)
				case !sameEvent(ev, m.events[len(m.events)-1]):
					t.Fatalf("seed %d, op %d: Apply(%+v) = %+v, want %+v", seed, i, op, ev, m.events[len(m.events)-1])
				}
				if i%500 == 499 {
					kept = checkReload(t, s, checkpoint, kept)
				}
			}
			compareWithModel(t, s, m)
			if got := s.Stats().ExpireCount; got != m.stats.ExpireCount || got == 0 {
				t.Errorf("expireCount = %d, want %d and some", got, m.stats.ExpireCount)
			}
		})
	}
}

func sameEvent(a, b Event) bool {
	return bytes.Equal(a.AppendBinary(nil), b.AppendBinary(nil))
}

func compareWithModel(t *testing.T, s *Store, m *model) {
	t.Helper()
	if s.Index() != m.index {
		t.Fatalf("index %d, want %d", s.Index(), m.index)
	}
	want := slices.SortedFunc(maps.Keys(m.nodes), comparePaths)
	var timed int
	got := s.Snapshot()
	i := 1 // All leaves the root out
	for n := range got.All("/") {
		if i == len(want) || *n != m.nodes[want[i]] {
			t.Fatalf("node %d is %+v, want %+v", i, n, want[min(i, len(want)-1)])
		}
		if n.Expires != 0 {
			timed++
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d nodes, want %d", i, len(want))
	}
	if s.deadlines.size != timed {
		t.Fatalf("%d deadlines, want %d", s.deadlines.size, timed)
	}
	i = 0
	for _, run := range s.hub.past.since(0) {
		for _, ev := range run {
			if !sameEvent(ev, m.events[i]) {
				t.Fatalf("event %d is %+v, want %+v", i, ev, m.events[i])
			}
			i++
		}
	}
	if i != len(m.events) {
		t.Fatalf("history holds %d events, want %d", i, len(m.events))
	}
}

// checkReload brings a checkpoint up to date with a Cut, loads it through the
// records and compares the dumps.
func checkReload(t *testing.T, s *Store, checkpoint map[string]*Node, kept []Event) []Event {
	t.Helper()
	d := s.Cut()
	for path, n := range d.Nodes {
		if n == nil {
			delete(checkpoint, path)
		} else {
			checkpoint[path] = n
		}
	}
	kept = append(kept, slices.Concat(d.Events...)...)
	kept = slices.DeleteFunc(kept, func(e Event) bool { return e.Index() < d.HistoryFirst })
	loaded := load(t, Config{}, checkpoint, kept, d)
	if dump(t, loaded) != dump(t, s) {
		t.Fatal("a reloaded store dumps other bytes")
	}
	if loaded.counts.stats() != s.counts.stats() {
		t.Fatalf("a reloaded store counts %+v, want %+v", loaded.Stats(), s.Stats())
	}
	return kept
}

func load(t testing.TB, cfg Config, nodes map[string]*Node, events []Event, d Delta) *Store {
	t.Helper()
	l := NewLoader(cfg)
	for _, path := range slices.SortedFunc(maps.Keys(nodes), comparePaths) {
		n, err := ParseNode(nodes[path].AppendBinary(nil))
		if err == nil {
			err = l.Node(n)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ev := range events {
		e, err := ParseEvent(ev.AppendBinary(nil))
		if err == nil {
			err = l.Event(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := l.Finish(d.Index, d.Counters, d.Clock)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dump(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	if err := s.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

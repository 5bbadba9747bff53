package store

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

// after returns a store to which ops were applied, all of which must succeed.
func after(t testing.TB, ops ...Op) *Store {
	t.Helper()
	s := New(Config{})
	for _, op := range ops {
		mustApply(t, s, op)
	}
	return s
}

// The contents most tests begin with: /1/f is a file of index 1, /1/d a
// directory of index 2 that holds the file k.
var someFile, someDir = Op{Action: Set, Path: "/1/f", Value: "1"}, Op{Action: Set, Path: "/1/d/k", Value: "1"}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		op    Op
		code  Code
		cause string
	}{
		{"set of the clients' root", Op{Action: Set, Path: "/1", Value: "x"}, RootReadOnly, "/1"},
		{"set of the root", Op{Action: Set, Path: "/"}, RootReadOnly, "/"},
		{"set dir of the root", Op{Action: Set, Path: "/1", Dir: true}, RootReadOnly, "/1"},
		{"create of the root", Op{Action: Create, Path: "/1"}, RootReadOnly, "/1"},
		{"update of the root", Op{Action: Update, Path: "/1"}, RootReadOnly, "/1"},
		{"update of the root's ttl", Op{Action: Update, Path: "/1", HasTTL: true, TTL: 5}, RootReadOnly, "/1"},
		{"compare and swap of the root", Op{Action: CompareAndSwap, Path: "/1", PrevValue: "y"}, RootReadOnly, "/1"},
		{"delete of the root", Op{Action: Delete, Path: "/1"}, RootReadOnly, "/1"},
		{"recursive delete of the root", Op{Action: Delete, Path: "/1", Recursive: true}, RootReadOnly, "/1"},
		{"compare and delete of the root names no cause", Op{Action: CompareAndDelete, Path: "/1", PrevIndex: 1}, NotFile, ""},
		{"delete of the members", Op{Action: Delete, Path: "/0", Recursive: true}, RootReadOnly, "/0"},

		{"update of a missing key", Op{Action: Update, Path: "/1/a/b"}, KeyNotFound, "/1/a"},
		{"update below an existing directory", Op{Action: Update, Path: "/1/d/x/y"}, KeyNotFound, "/1/d/x"},
		{"delete of a missing key", Op{Action: Delete, Path: "/1/a"}, KeyNotFound, "/1/a"},
		{"swap of a missing key", Op{Action: CompareAndSwap, Path: "/1/a", PrevIndex: 1}, KeyNotFound, "/1/a"},
		{"compare and delete of a missing key", Op{Action: CompareAndDelete, Path: "/1/a", PrevIndex: 1}, KeyNotFound, "/1/a"},
		{"refresh of a missing key in set form", Op{Action: Set, Path: "/1/a/b", Refresh: true, HasTTL: true}, KeyNotFound, "/1/a"},

		{"set below a file", Op{Action: Set, Path: "/1/f/x"}, NotDir, "/1/f"},
		{"set deep below a file", Op{Action: Set, Path: "/1/f/x/y"}, NotDir, "/1/f"},
		{"create below a file", Op{Action: Create, Path: "/1/f/x"}, NotDir, "/1/f"},
		{"in order below a file", Op{Action: CreateInOrder, Path: "/1/f"}, NotDir, "/1/f"},
		{"in order deep below a file", Op{Action: CreateInOrder, Path: "/1/f/x"}, NotDir, "/1/f"},
		{"update below a file", Op{Action: Update, Path: "/1/f/x"}, NotDir, "/1/f"},
		{"delete below a file", Op{Action: Delete, Path: "/1/f/x"}, NotDir, "/1/f"},
		{"refresh below a file", Op{Action: Set, Path: "/1/f/x", Refresh: true}, NotDir, "/1/f"},

		{"set over a directory", Op{Action: Set, Path: "/1/d", Value: "x"}, NotFile, "/1/d"},
		{"set dir over a directory", Op{Action: Set, Path: "/1/d", Dir: true}, NotFile, "/1/d"},
		{"refresh of a directory in set form", Op{Action: Set, Path: "/1/d", Dir: true, Refresh: true}, NotFile, "/1/d"},
		{"swap of a directory", Op{Action: CompareAndSwap, Path: "/1/d", PrevValue: "y"}, NotFile, "/1/d"},
		{"update of a directory with a value", Op{Action: Update, Path: "/1/d", Value: "x"}, NotFile, "/1/d"},
		{"plain delete of a directory", Op{Action: Delete, Path: "/1/d"}, NotFile, "/1/d"},
		{"compare and delete of a directory", Op{Action: CompareAndDelete, Path: "/1/d", PrevIndex: 2}, NotFile, "/1/d"},
		{"the kind is looked at before the comparison", Op{Action: CompareAndDelete, Path: "/1/d", PrevIndex: 9}, NotFile, "/1/d"},
		{"create of an existing file", Op{Action: Create, Path: "/1/f"}, NodeExist, "/1/f"},
		{"create of an existing directory", Op{Action: Create, Path: "/1/d", Dir: true}, NodeExist, "/1/d"},
		{"delete of a full directory", Op{Action: Delete, Path: "/1/d", Dir: true}, DirNotEmpty, "/1/d"},

		{"other value", Op{Action: CompareAndSwap, Path: "/1/f", PrevValue: "2"}, CompareFailed, "[2 != 1]"},
		{"other index", Op{Action: CompareAndSwap, Path: "/1/f", PrevIndex: 7}, CompareFailed, "[7 != 1]"},
		{"both", Op{Action: CompareAndDelete, Path: "/1/f", PrevValue: "2", PrevIndex: 7}, CompareFailed, "[2 != 1] [7 != 1]"},
		{"right value, other index", Op{Action: CompareAndDelete, Path: "/1/f", PrevValue: "1", PrevIndex: 7}, CompareFailed, "[7 != 1]"},
		{"refresh with another value", Op{Action: CompareAndSwap, Path: "/1/f", PrevValue: "2", Refresh: true}, CompareFailed, "[2 != 1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := after(t, someFile, someDir)
			before := dump(t, s)
			ev, err := s.Apply(tt.op)
			var got *Error
			if !errors.As(err, &got) || *got != (Error{tt.code, tt.cause, 2}) {
				t.Fatalf("Apply(%+v) = %+v, %v, want code %d, cause %q, index 2", tt.op, ev, err, tt.code, tt.cause)
			}
			if dump(t, s) != before {
				t.Error("a refused op changed the store")
			}
			st := s.Stats()
			if fails := st.SetsFail + st.DeleteFail + st.UpdateFail + st.CreateFail + st.CompareAndSwapFail + st.CompareAndDeleteFail; fails != 1 {
				t.Errorf("%d failures counted, want 1: %+v", fails, st)
			}
			if successes := st.SetsSuccess; successes != 2 {
				t.Errorf("%d sets counted, want the two before", successes)
			}
		})
	}
}

func TestSuccesses(t *testing.T) {
	const minute = int64(time.Minute)
	f := &Node{Path: "/1/f", Value: "1", Created: 1, Modified: 1}
	d := &Node{Path: "/1/d", Dir: true, Created: 2, Modified: 2}
	tests := []struct {
		name string
		op   Op
		want Event // Node is what the store holds afterwards, but for removals
	}{
		{"set of a new key", Op{Action: Set, Path: "/1/n", Value: "v"},
			Event{Action: Set, Node: &Node{Path: "/1/n", Value: "v", Created: 3, Modified: 3}}},
		{"set of a file", Op{Action: Set, Path: "/1/f", Value: "2"},
			Event{Action: Set, Node: &Node{Path: "/1/f", Value: "2", Created: 3, Modified: 3}, Prev: f}},
		{"set of a file with a ttl", Op{Action: Set, Path: "/1/f", HasTTL: true, TTL: time.Minute, Now: 5},
			Event{Action: Set, Node: &Node{Path: "/1/f", Created: 3, Modified: 3, Expires: minute + 5}, Prev: f, Now: 5}},
		{"set of a directory over a file drops the value", Op{Action: Set, Path: "/1/f", Value: "2", Dir: true},
			Event{Action: Set, Node: &Node{Path: "/1/f", Dir: true, Created: 3, Modified: 3}, Prev: f}},
		{"a file on the top level", Op{Action: Set, Path: "/x"},
			Event{Action: Set, Node: &Node{Path: "/x", Created: 3, Modified: 3}}},
		{"refresh in set form", Op{Action: Set, Path: "/1/f", Refresh: true, HasTTL: true, TTL: 1, Now: 1},
			Event{Action: Set, Node: &Node{Path: "/1/f", Value: "1", Created: 3, Modified: 3, Expires: 2}, Prev: f, Now: 1, Refresh: true}},
		{"create", Op{Action: Create, Path: "/1/n", Value: "v"},
			Event{Action: Create, Node: &Node{Path: "/1/n", Value: "v", Created: 3, Modified: 3}}},
		{"create ignores refresh", Op{Action: Create, Path: "/1/n", Refresh: true, HasTTL: true, TTL: 1},
			Event{Action: Create, Node: &Node{Path: "/1/n", Created: 3, Modified: 3, Expires: 1}}},
		{"in order", Op{Action: CreateInOrder, Path: "/1/d", Value: "v"},
			Event{Action: Create, Node: &Node{Path: "/1/d/00000000000000000003", Value: "v", Created: 3, Modified: 3}}},
		{"in order in the root", Op{Action: CreateInOrder, Path: "/1", Dir: true},
			Event{Action: Create, Node: &Node{Path: "/1/00000000000000000003", Dir: true, Created: 3, Modified: 3}}},
		{"update", Op{Action: Update, Path: "/1/f", Value: "2", Dir: true},
			Event{Action: Update, Node: &Node{Path: "/1/f", Value: "2", Created: 1, Modified: 3}, Prev: f}},
		{"update without a value", Op{Action: Update, Path: "/1/f"},
			Event{Action: Update, Node: &Node{Path: "/1/f", Created: 1, Modified: 3}, Prev: f}},
		{"update of a directory is stored as it is reported", Op{Action: Update, Path: "/1/d", HasTTL: true, TTL: 7},
			Event{Action: Update, Node: &Node{Path: "/1/d", Dir: true, Created: 2, Modified: 3, Expires: 7}, Prev: d}},
		{"refresh of a directory", Op{Action: Update, Path: "/1/d", Refresh: true, HasTTL: true, TTL: 7},
			Event{Action: Update, Node: &Node{Path: "/1/d", Dir: true, Created: 2, Modified: 3, Expires: 7}, Prev: d, Refresh: true}},
		{"refresh in update form", Op{Action: Update, Path: "/1/f", Refresh: true, HasTTL: true, TTL: 7},
			Event{Action: Update, Node: &Node{Path: "/1/f", Value: "1", Created: 1, Modified: 3, Expires: 7}, Prev: f, Refresh: true}},
		{"swap by value", Op{Action: CompareAndSwap, Path: "/1/f", PrevValue: "1", Value: "2"},
			Event{Action: CompareAndSwap, Node: &Node{Path: "/1/f", Value: "2", Created: 1, Modified: 3}, Prev: f}},
		{"swap by both, refreshing", Op{Action: CompareAndSwap, Path: "/1/f", PrevValue: "1", PrevIndex: 1, Refresh: true},
			Event{Action: CompareAndSwap, Node: &Node{Path: "/1/f", Value: "1", Created: 1, Modified: 3}, Prev: f, Refresh: true}},
		{"delete of a file, dir is accepted", Op{Action: Delete, Path: "/1/f", Dir: true},
			Event{Action: Delete, Node: &Node{Path: "/1/f", Created: 1, Modified: 3}, Prev: f}},
		{"delete of a tree", Op{Action: Delete, Path: "/1/d", Recursive: true},
			Event{Action: Delete, Node: &Node{Path: "/1/d", Dir: true, Created: 2, Modified: 3}, Prev: d}},
		{"compare and delete", Op{Action: CompareAndDelete, Path: "/1/f", PrevIndex: 1},
			Event{Action: CompareAndDelete, Node: &Node{Path: "/1/f", Created: 1, Modified: 3}, Prev: f}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := after(t, someFile, someDir)
			ev, err := s.Apply(tt.op)
			if err != nil || !sameEvent(ev, tt.want) {
				t.Fatalf("Apply(%+v) = %+v, %v, want %+v", tt.op, ev, err, tt.want)
			}
			if s.Index() != 3 {
				t.Errorf("index is %d, want 3", s.Index())
			}
			n, ok := s.Lookup(tt.want.Node.Path)
			switch ev.Action {
			case Delete, CompareAndDelete:
				if _, child := s.Lookup(ev.Node.Path + "/k"); ok || child {
					t.Errorf("%q is still there", ev.Node.Path)
				}
			default:
				if !ok || *n != *tt.want.Node {
					t.Errorf("Lookup(%q) = %+v, want %+v", tt.want.Node.Path, n, tt.want.Node)
				}
			}
		})
	}
}

func TestMissingParentsAreMade(t *testing.T) {
	s := after(t, someFile, Op{Action: Set, Path: "/1/p/q/r/s", Value: "v", HasTTL: true, TTL: 9, Now: 9})
	for _, path := range []string{"/1/p", "/1/p/q", "/1/p/q/r"} {
		n, _ := s.Lookup(path)
		if want := (Node{Path: path, Dir: true, Created: 2, Modified: 2}); n == nil || *n != want {
			t.Errorf("Lookup(%q) = %+v, want %+v", path, n, want)
		}
	}
	mustApply(t, s, Op{Action: Delete, Path: "/1/p/q/r/s"})
	if n, _ := s.Lookup("/1/p/q/r"); n == nil || n.Modified != 2 {
		t.Errorf("after the last child went, the parent is %+v, want it unchanged", n)
	}
}

func TestDirectoryWithHiddenChildIsNotEmpty(t *testing.T) {
	s := after(t, Op{Action: Set, Path: "/1/h/_x"})
	_, err := s.Apply(Op{Action: Delete, Path: "/1/h", Dir: true})
	if got, ok := err.(*Error); !ok || got.Code != DirNotEmpty {
		t.Errorf("delete of a directory with a hidden child = %v, want code 108", err)
	}
	mustApply(t, s, Op{Action: Delete, Path: "/1/h/_x"})
	mustApply(t, s, Op{Action: Delete, Path: "/1/h", Dir: true})
}

func TestInOrderNameTaken(t *testing.T) {
	s := after(t, Op{Action: Set, Path: fmt.Sprintf("/1/q/%020d", 2)})
	for range 2 {
		_, err := s.Apply(Op{Action: CreateInOrder, Path: "/1/q"})
		if got, ok := err.(*Error); !ok || got.Code != NodeExist || got.Cause != "/1/q/00000000000000000002" {
			t.Errorf("in-order create of a taken name = %v, want code 105", err)
		}
	}
	mustApply(t, s, someFile)
	mustApply(t, s, Op{Action: CreateInOrder, Path: "/1/q"})
}

func TestExpiry(t *testing.T) {
	ttl := func(path string, d time.Duration, dir bool) Op {
		return Op{Action: Set, Path: path, Dir: dir, HasTTL: true, TTL: d, Now: 100}
	}
	s := after(t,
		ttl("/1/late", 30, false), ttl("/1/b", 10, false), ttl("/1/a", 10, false),
		ttl("/1/dir", 20, true), ttl("/1/dir/k", 25, false), ttl("/1/dir/soon", 5, false),
		ttl("/1/cancelled", 1, false), Op{Action: Set, Path: "/1/cancelled"},
		ttl("/1/never", 40, false), Op{Action: Delete, Path: "/1/never"},
	)
	base := s.Index()
	if at, ok := s.NextExpiry(); !ok || at != 105 {
		t.Errorf("NextExpiry() = %d, %v, want 105", at, ok)
	}
	w, err := s.Watch("/1", WatchOptions{Recursive: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if ev := mustApply(t, s, Op{Action: Expire, Now: 125}); ev != (Event{}) {
		t.Errorf("Apply of an expiry = %+v, want the zero event", ev)
	}
	for i, path := range []string{"/1/dir/soon", "/1/a", "/1/b", "/1/dir"} {
		ev := next(t, w).Event
		if ev.Action != Expire || ev.Node.Path != path || ev.Index() != base+uint64(i)+1 || ev.Prev.Expires == 0 || ev.Now != 125 {
			t.Errorf("event %d is %+v of %+v, want the expiry of %s", i, ev, ev.Node, path)
		}
		if ev.Node.Dir != (path == "/1/dir") || ev.Node.Expires != 0 {
			t.Errorf("event of %s has the node %+v", path, ev.Node)
		}
	}
	if st := s.Stats(); st.ExpireCount != 4 || st.DeleteSuccess != 1 {
		t.Errorf("counted %+v, want 4 expiries and one delete", st)
	}
	if at, ok := s.NextExpiry(); !ok || at != 130 {
		t.Errorf("NextExpiry() = %d, %v, want 130: the child of the directory died with it", at, ok)
	}
	mustApply(t, s, Op{Action: Expire, Now: 130})
	if _, ok := s.NextExpiry(); ok {
		t.Error("there is a next expiry when nothing expires")
	}
	if _, ok := s.Lookup("/1/cancelled"); !ok {
		t.Error("a key made permanent expired")
	}
	mustApply(t, s, Op{Action: Expire, Now: 120})
	if s.Clock() != 130 {
		t.Errorf("the clock is %d, want 130: it does not go back", s.Clock())
	}
}

func TestExpiryOfManyIsSpread(t *testing.T) {
	s := New(Config{})
	for i := range expireMax + 5 {
		mustApply(t, s, Op{Action: Set, Path: fmt.Sprintf("/1/%d", i), HasTTL: true, TTL: 1, Now: 1})
	}
	before := s.Index()
	for i, want := range []uint64{expireMax, expireMax + 5, expireMax + 5} {
		mustApply(t, s, Op{Action: Expire, Now: 10})
		if got := s.Index() - before; got != want {
			t.Errorf("after expiry %d the index moved by %d, want %d", i+1, got, want)
		}
	}
}

func TestDeadline(t *testing.T) {
	tests := []struct {
		op   Op
		want int64
	}{
		{Op{Now: 5, TTL: 5}, 0},
		{Op{Now: 5, TTL: 5, HasTTL: true}, 10},
		{Op{Now: 5, HasTTL: true}, 5},
		{Op{HasTTL: true}, 1}, // 0 would be never
		{Op{Now: math.MaxInt64 - 1, TTL: 5, HasTTL: true}, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := tt.op.deadline(); got != tt.want {
			t.Errorf("deadline of %+v = %d, want %d", tt.op, got, tt.want)
		}
	}
}

func TestBigSubtreeIsRemoved(t *testing.T) {
	s := after(t, someFile)
	for i := range 3 * removeUnseen {
		mustApply(t, s, Op{Action: Set, Path: fmt.Sprintf("/1/d/%d/k", i), HasTTL: i%2 == 0, TTL: 100, Now: 1})
	}
	v, err := s.Get("/1/d")
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Op{Action: Delete, Path: "/1/d", Recursive: true})
	s.nodes.check(t, []*Node{lookup(t, s, "/"), lookup(t, s, "/0"), lookup(t, s, "/1"), lookup(t, s, "/1/f"), lookup(t, s, "/2")})
	s.deadlines.check(t, nil)
	var n int
	for range v.All("/1/d") {
		n++
	}
	if n != 6*removeUnseen {
		t.Errorf("a view taken before has %d nodes, want %d", n, 6*removeUnseen)
	}
}

func lookup(t testing.TB, s *Store, path string) *Node {
	t.Helper()
	n, ok := s.Lookup(path)
	if !ok {
		t.Fatalf("Lookup(%q) finds nothing", path)
	}
	return n
}

func TestApplyPanicsOnGet(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Apply of a get returned")
		}
	}()
	New(Config{}).Apply(Op{Action: Get, Path: "/1"})
}

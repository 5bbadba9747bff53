package store

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestComparePathsIsTheByteOrderOfKeys(t *testing.T) {
	paths := []string{
		"/", "/1", "/1/a", "/1/a/\x00", "/1/a/b", "/1/a/b/c", "/1/a\x00", "/1/a-", "/1/a.b", "/1/a0", "/1/a1",
		"/1/abcdefgh", "/1/abcdefgh/x", "/1/abcdefgh-", "/1/abcdefghi", "/1/b", "/1/\xff", "/1-", "/2",
	}
	for i, a := range paths {
		for j, b := range paths {
			want := min(max(i-j, -1), 1)
			if got := comparePaths(a, b); got != want {
				t.Errorf("comparePaths(%q, %q) = %d, want %d", a, b, got, want)
			}
			if got := bytes.Compare(AppendKey(nil, a), AppendKey(nil, b)); got != want {
				t.Errorf("order of the keys of %q and %q = %d, want %d", a, b, got, want)
			}
		}
	}
}

func FuzzComparePaths(f *testing.F) {
	f.Add("/1/a", "/1/a/b", 2)
	f.Add("/1/aaaaaaaaaaaa/b", "/1/aaaaaaaaaaaa-b", 3)
	f.Fuzz(func(t *testing.T, a, b string, skip int) {
		want := bytes.Compare(AppendKey(nil, a), AppendKey(nil, b))
		if got := comparePaths(a, b); got != want {
			t.Errorf("comparePaths(%q, %q) = %d, want %d", a, b, got, want)
		}
		if skip < 0 || skip > commonLen(a, b) {
			return
		}
		switch x, y := head(a[skip:]), head(b[skip:]); {
		case x < y && want >= 0, x > y && want <= 0:
			t.Errorf("heads of %q and %q behind %d: %x and %x, paths compare as %d", a, b, skip, x, y, want)
		}
	})
}

// check verifies the structure of a tree and that it holds exactly the nodes.
func (t *tree) check(tb testing.TB, want []*Node) {
	tb.Helper()
	var got []*Node
	var walk func(p *page, depth int, low, high *place) int
	walk = func(p *page, depth int, low, high *place) int {
		if p.len() == 0 && p != t.root {
			tb.Fatalf("empty page at depth %d", depth)
		}
		if p.len() > pageMax || len(p.heads) > pageMax {
			tb.Fatalf("page of %d entries and %d heads", p.len(), len(p.heads))
		}
		entries := len(p.bounds)
		if p.leaf() {
			entries = len(p.nodes)
			got = append(got, p.nodes...)
		} else if entries != len(p.kids)-1 {
			tb.Fatalf("%d bounds for %d kids", entries, len(p.kids))
		}
		if len(p.heads) != entries {
			tb.Fatalf("%d heads for %d entries", len(p.heads), entries)
		}
		for i := range entries {
			at := t.placeAt(p, i)
			if low != nil && comparePlaces(at, *low) < 0 || high != nil && comparePlaces(at, *high) >= 0 {
				tb.Fatalf("%v is outside of [%v, %v)", at, low, high)
			}
			if !strings.HasPrefix(at.path, p.shared) || p.heads[i] != t.headOf(at, len(p.shared)) {
				tb.Fatalf("head %x behind %q does not belong to %v", p.heads[i], p.shared, at)
			}
		}
		if p.leaf() {
			return 1
		}
		height := 0
		for i, kid := range p.kids {
			l, h := low, high
			if i > 0 {
				l = &p.bounds[i-1]
			}
			if i < len(p.bounds) {
				h = &p.bounds[i]
			}
			k := walk(kid, depth+1, l, h)
			if height != 0 && k != height {
				tb.Fatalf("kids of heights %d and %d", height, k)
			}
			height = k
		}
		return height + 1
	}
	walk(t.root, 0, nil, nil)
	if !slices.Equal(got, want) || t.size != len(want) {
		tb.Fatalf("tree holds %d nodes and says %d, want %d, or they differ", len(got), t.size, len(want))
	}
	for _, n := range want {
		if t.get(t.placeOf(n)) != n {
			tb.Fatalf("get(%q) does not find what a walk finds", n.Path)
		}
	}
	c := t.from(place{expires: math.MinInt64})
	for i := 0; c.node() != nil; i++ {
		if c.node() != want[i] {
			tb.Fatalf("cursor at %q, want %q", c.node().Path, want[i].Path)
		}
		c.advance()
	}
}

// TestTreeAgainstSortedSlice runs random puts and removals, dense and sparse,
// with snapshots in between that must not change.
func TestTreeAgainstSortedSlice(t *testing.T) {
	for _, byExpiry := range []bool{false, true} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("byExpiry=%v/seed=%d", byExpiry, seed), func(t *testing.T) {
				testTree(t, byExpiry, rand.New(rand.NewPCG(seed, 1)))
			})
		}
	}
}

func testTree(t *testing.T, byExpiry bool, rnd *rand.Rand) {
	tr := newTree(byExpiry)
	var model []*Node
	order := func(a, b *Node) int { return comparePlaces(tr.placeOf(a), tr.placeOf(b)) }
	var snap tree
	var snapModel []*Node
	for round := range 12 {
		growing := round%3 != 2
		for range 1500 {
			n := &Node{Path: fmt.Sprintf("/1/%0*d/%d", 1+rnd.IntN(12), rnd.IntN(40), rnd.IntN(60)), Expires: rnd.Int64N(50) - 10}
			i, found := slices.BinarySearchFunc(model, n, order)
			if growing == (rnd.IntN(5) > 0) {
				tr.put(n)
				if found {
					model[i] = n
				} else {
					model = slices.Insert(model, i, n)
				}
			} else if len(model) > 0 {
				i = min(i, len(model)-1)
				tr.remove(model[i])
				model = slices.Delete(model, i, i+1)
			}
		}
		tr.check(t, model)
		if snap.root != nil {
			snap.check(t, snapModel)
		}
		snap, snapModel = tr.snapshot(), slices.Clone(model)
	}
	for len(model) > 0 {
		i := rnd.IntN(len(model))
		tr.remove(model[i])
		model = slices.Delete(model, i, i+1)
	}
	tr.check(t, nil)
	if !tr.root.leaf() {
		t.Error("an empty tree keeps inner pages")
	}
	snap.check(t, snapModel)
}

func TestAscendingInsertsFillPages(t *testing.T) {
	tr := newTree(false)
	var model []*Node
	for i := range 10_000 {
		n := &Node{Path: fmt.Sprintf("/1/%020d", i)}
		model = append(model, n)
		tr.put(n)
	}
	tr.check(t, model)
	var leaves int
	var walk func(p *page)
	walk = func(p *page) {
		if p.leaf() {
			leaves++
		}
		for _, k := range p.kids {
			walk(k)
		}
	}
	walk(tr.root)
	if most := 10_000/pageMax + 1; leaves > most {
		t.Errorf("%d leaves, want at most %d", leaves, most)
	}
}

func TestBuilderMakesTheSameTree(t *testing.T) {
	for _, size := range []int{0, 1, builtFill, builtFill + 1, 5000, builtFill*builtFill + 1} {
		b := builder{tree: newTree(false)}
		var model []*Node
		for i := range size {
			n := &Node{Path: fmt.Sprintf("/1/%06d", i)}
			b.add(n)
			model = append(model, n)
		}
		tr := b.done()
		tr.check(t, model)
		tr.put(&Node{Path: "/1/~"})
		if tr.size != size+1 {
			t.Errorf("size is %d after a put into %d", tr.size, size)
		}
	}
}

func TestCursorBehindASubtree(t *testing.T) {
	tr := newTree(false)
	for _, dir := range []string{"/a", "/b", "/c"} {
		tr.put(&Node{Path: dir})
		for i := range 300 {
			tr.put(&Node{Path: fmt.Sprintf("%s/%d", dir, i)})
		}
	}
	for _, tt := range []struct{ dir, want string }{
		{"/a", "/b"}, {"/a/7", "/a/70"}, {"/b", "/c"}, {"/a-", "/b"}, {"/", ""}, {"/c", ""},
	} {
		got := ""
		if c := tr.behind(tt.dir); c.node() != nil {
			got = c.node().Path
		}
		if got != tt.want {
			t.Errorf("behind(%q) is at %q, want %q", tt.dir, got, tt.want)
		}
	}
}

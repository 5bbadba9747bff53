package store

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
)

// pageMax is the number of nodes in a full leaf and of children of a full
// inner page. Pages of 64 keep the tree of a million nodes four levels deep,
// and the copy of a page that a snapshot shares at half a kilobyte.
const pageMax = 64

// tree is a B-tree of nodes, ordered by path or by deadline and path.
//
// A page belongs to the epoch it was made in. A snapshot is a copy of the tree
// value that ends the epoch; from then on pages of older epochs are shared,
// and a write copies those it touches first. So a snapshot costs O(1), and
// writes between two snapshots change pages in place.
//
// Writes need mutual exclusion with reads of the same tree value, but none with
// reads of its snapshots.
type tree struct {
	root     *page
	size     int
	byExpiry bool           // ordered by (Expires, Path), else by Path alone
	epoch    *atomic.Uint64 // shared with all snapshots
}

// page is a leaf, which has nodes, or an inner page, which has kids.
//
// A search compares heads first: they lie side by side, while the paths of
// nodes are scattered over the memory, where each look at one is a cache miss.
type page struct {
	epoch  uint64
	shared string   // what all paths of the page begin with; of those of bounds in an inner page
	heads  []uint64 // the bytes behind shared of each node or bound, as a number; see headOf
	nodes  []*Node
	bounds []place // bounds[i] is not above anything in kids[i+1], and above all in kids[i]
	kids   []*page
}

// place is a position in a tree.
type place struct {
	expires int64 // 0 in a tree ordered by path
	path    string
}

func newTree(byExpiry bool) tree {
	return tree{root: newLeaf(0), byExpiry: byExpiry, epoch: new(atomic.Uint64)}
}

func newLeaf(epoch uint64) *page {
	return &page{epoch: epoch, heads: make([]uint64, 0, pageMax), nodes: make([]*Node, 0, pageMax)}
}

func newInner(epoch uint64) *page {
	return &page{
		epoch:  epoch,
		heads:  make([]uint64, 0, pageMax),
		bounds: make([]place, 0, pageMax-1),
		kids:   make([]*page, 0, pageMax),
	}
}

// snapshot returns the tree as it is now. The caller holds off writers while
// it is taken; several snapshots may be taken at the same time.
func (t *tree) snapshot() tree {
	t.epoch.Add(1)
	return *t
}

func (t *tree) placeOf(n *Node) place {
	if t.byExpiry {
		return place{n.Expires, n.Path}
	}
	return place{0, n.Path}
}

func (p *page) leaf() bool { return p.kids == nil }

func (p *page) len() int {
	if p.leaf() {
		return len(p.nodes)
	}
	return len(p.kids)
}

func comparePlaces(a, b place) int {
	if a.expires != b.expires {
		return cmp.Compare(a.expires, b.expires)
	}
	return comparePaths(a.path, b.path)
}

// placeAt is the place of entry i: of a node, or of a bound.
func (t *tree) placeAt(p *page, i int) place {
	if p.leaf() {
		return t.placeOf(p.nodes[i])
	}
	return p.bounds[i]
}

// headOf is a number that orders places as far as it goes: the deadline, or
// else the eight bytes of the path from position skip on.
func (t *tree) headOf(at place, skip int) uint64 {
	if t.byExpiry {
		return uint64(at.expires) ^ 1<<63
	}
	return head(at.path[skip:])
}

// search is the position in p of the first entry that is not below at, and
// whether it is equal.
func (t *tree) search(p *page, at place) (int, bool) {
	if !t.byExpiry && !strings.HasPrefix(at.path, p.shared) {
		if comparePaths(at.path, p.shared) < 0 {
			return 0, false
		}
		return len(p.heads), false
	}
	return t.searchShared(p, at)
}

// searchShared is search for a path that begins like those of the page.
func (t *tree) searchShared(p *page, at place) (int, bool) {
	h := t.headOf(at, len(p.shared))
	lo, hi := 0, len(p.heads)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); p.heads[mid] < h {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for hi < len(p.heads) && p.heads[hi] == h {
		hi++
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch e := t.placeAt(p, mid); {
		case at == e:
			return mid, true
		case comparePlaces(at, e) < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return lo, false
}

// kidFor is the position of the child of an inner page that at belongs to.
func (t *tree) kidFor(p *page, at place) int {
	i, equal := t.search(p, at)
	if equal {
		i++
	}
	return i
}

// get is the node at a place, nil when there is none.
func (t *tree) get(at place) *Node {
	p := t.root
	for !p.leaf() {
		p = p.kids[t.kidFor(p, at)]
	}
	if len(at.path) < len(p.shared) {
		return nil
	}
	if i, ok := t.searchShared(p, at); ok { // a path that begins otherwise is not found, wherever we look
		return p.nodes[i]
	}
	return nil
}

// find is get for the writer: it leaves in c the way to the node it finds.
func (t *tree) find(c *cursor, at place) *Node {
	c.path = c.path[:0]
	p := t.root
	for !p.leaf() {
		i := t.kidFor(p, at)
		c.path = append(c.path, step{p, i})
		p = p.kids[i]
	}
	i, ok := t.search(p, at)
	if !ok {
		return nil
	}
	c.path = append(c.path, step{p, i})
	return p.nodes[i]
}

// replace puts n in place of the node that find has just found, which has the
// same place.
func (t *tree) replace(c *cursor, n *Node) {
	t.root = t.own(t.root)
	p := t.root
	for _, st := range c.path[:len(c.path)-1] {
		kid := t.own(p.kids[st.i])
		p.kids[st.i] = kid
		p = kid
	}
	p.nodes[c.path[len(c.path)-1].i] = n
}

// index computes shared and heads anew.
func (t *tree) index(p *page) {
	n := len(p.nodes)
	if !p.leaf() {
		n = len(p.bounds)
	}
	shared := ""
	if n > 0 && !t.byExpiry {
		first, last := t.placeAt(p, 0).path, t.placeAt(p, n-1).path
		shared = first[:commonLen(first, last)]
	}
	if shared != p.shared {
		p.shared = strings.Clone(shared) // paths may share memory with large values
	}
	p.heads = p.heads[:0]
	for i := range n {
		p.heads = append(p.heads, t.headOf(t.placeAt(p, i), len(shared)))
	}
}

// indexInserted brings shared and heads up to date after entry i was inserted.
func (t *tree) indexInserted(p *page, i int) {
	at := t.placeAt(p, i)
	if len(p.heads) > 0 && (t.byExpiry || strings.HasPrefix(at.path, p.shared)) {
		p.heads = slices.Insert(p.heads, i, t.headOf(at, len(p.shared)))
		return
	}
	t.index(p)
}

// first is the lowest node, nil in an empty tree.
func (t *tree) first() *Node {
	p := t.root
	for !p.leaf() {
		p = p.kids[0]
	}
	if len(p.nodes) == 0 {
		return nil
	}
	return p.nodes[0]
}

// own returns p itself when no snapshot shares it, else a copy.
func (t *tree) own(p *page) *page {
	epoch := t.epoch.Load()
	if p.epoch == epoch {
		return p
	}
	c := &page{epoch: epoch, shared: p.shared, heads: append(make([]uint64, 0, pageMax), p.heads...)}
	if p.leaf() {
		c.nodes = append(make([]*Node, 0, pageMax), p.nodes...)
	} else {
		c.bounds = append(make([]place, 0, pageMax-1), p.bounds...)
		c.kids = append(make([]*page, 0, pageMax), p.kids...)
	}
	return c
}

// put stores n in place of the node at the same place, if there is one.
func (t *tree) put(n *Node) {
	t.root = t.own(t.root)
	right, bound := t.insert(t.root, t.placeOf(n), n)
	if right == nil {
		return
	}
	root := newInner(t.epoch.Load())
	root.bounds = append(root.bounds, bound)
	root.kids = append(root.kids, t.root, right)
	t.index(root)
	t.root = root
}

// insert puts n below p, which is owned. When p had to be split it returns the
// new page to its right and the bound between the two.
func (t *tree) insert(p *page, at place, n *Node) (*page, place) {
	if p.leaf() {
		i, found := t.search(p, at)
		if found {
			p.nodes[i] = n
			return nil, place{}
		}
		t.size++
		return t.insertNode(p, i, n)
	}
	i := t.kidFor(p, at)
	kid := t.own(p.kids[i])
	p.kids[i] = kid
	right, bound := t.insert(kid, at, n)
	if right == nil {
		return nil, place{}
	}
	return t.insertKid(p, i, right, bound)
}

// insertNode puts n at position i of the leaf p. A full leaf is split in the
// middle, or at its end when n belongs there, so that ascending inserts leave
// full pages behind.
func (t *tree) insertNode(p *page, i int, n *Node) (*page, place) {
	if len(p.nodes) < pageMax {
		p.nodes = slices.Insert(p.nodes, i, n)
		t.indexInserted(p, i)
		return nil, place{}
	}
	half := pageMax / 2
	if i == pageMax {
		half = pageMax
	}
	right := newLeaf(p.epoch)
	right.nodes = append(right.nodes, p.nodes[half:]...)
	clear(p.nodes[half:])
	p.nodes = p.nodes[:half]
	if i <= half && half < pageMax {
		p.nodes = slices.Insert(p.nodes, i, n)
	} else {
		right.nodes = slices.Insert(right.nodes, i-half, n)
	}
	t.index(p)
	t.index(right)
	return right, t.boundBefore(right.nodes[0])
}

// boundBefore is the bound of a page that begins with n. The path is copied: a
// bound outlives the node, whose path may share memory with a large value.
func (t *tree) boundBefore(n *Node) place {
	at := t.placeOf(n)
	at.path = strings.Clone(at.path)
	return at
}

// insertKid puts the page right behind position i of the inner page p.
func (t *tree) insertKid(p *page, i int, right *page, bound place) (*page, place) {
	if len(p.kids) < pageMax {
		p.bounds = slices.Insert(p.bounds, i, bound)
		p.kids = slices.Insert(p.kids, i+1, right)
		t.indexInserted(p, i)
		return nil, place{}
	}
	half := pageMax / 2
	if i == pageMax-1 {
		half = pageMax - 1
	}
	q := newInner(p.epoch)
	middle := p.bounds[half-1]
	q.bounds = append(q.bounds, p.bounds[half:]...)
	q.kids = append(q.kids, p.kids[half:]...)
	clear(p.bounds[half-1:])
	clear(p.kids[half:])
	p.bounds, p.kids = p.bounds[:half-1], p.kids[:half]
	if i < half {
		p.bounds = slices.Insert(p.bounds, i, bound)
		p.kids = slices.Insert(p.kids, i+1, right)
	} else {
		q.bounds = slices.Insert(q.bounds, i-half, bound)
		q.kids = slices.Insert(q.kids, i-half+1, right)
	}
	t.index(p)
	t.index(q)
	return q, middle
}

// remove takes away the node at the place of n.
func (t *tree) remove(n *Node) {
	t.root = t.own(t.root)
	t.removeBelow(t.root, t.placeOf(n))
	for !t.root.leaf() && len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	if t.root.len() == 0 {
		t.root = newLeaf(t.epoch.Load())
	}
}

func (t *tree) removeBelow(p *page, at place) {
	if p.leaf() {
		if i, found := t.search(p, at); found {
			p.nodes = slices.Delete(p.nodes, i, i+1)
			p.heads = slices.Delete(p.heads, i, i+1)
			t.size--
		}
		return
	}
	i := t.kidFor(p, at)
	kid := t.own(p.kids[i])
	p.kids[i] = kid
	t.removeBelow(kid, at)
	if kid.len() < pageMax/4 {
		t.shrink(p, i)
	}
}

// shrink drops the child i of p when it is empty, or else merges it with a
// neighbour when both together leave room for growth.
func (t *tree) shrink(p *page, i int) {
	if p.kids[i].len() == 0 {
		p.kids = slices.Delete(p.kids, i, i+1)
		if len(p.bounds) > 0 {
			b := max(i-1, 0)
			p.bounds = slices.Delete(p.bounds, b, b+1)
			p.heads = slices.Delete(p.heads, b, b+1)
		}
		return
	}
	for _, l := range [2]int{i, i - 1} {
		if l < 0 || l+1 >= len(p.kids) || p.kids[l].len()+p.kids[l+1].len() > pageMax*3/4 {
			continue
		}
		left, right := t.own(p.kids[l]), p.kids[l+1]
		left.nodes = append(left.nodes, right.nodes...)
		if !left.leaf() {
			left.bounds = append(append(left.bounds, p.bounds[l]), right.bounds...)
			left.kids = append(left.kids, right.kids...)
		}
		t.index(left)
		p.kids[l] = left
		p.kids = slices.Delete(p.kids, l+1, l+2)
		p.bounds = slices.Delete(p.bounds, l, l+1)
		p.heads = slices.Delete(p.heads, l, l+1)
		return
	}
}

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
	epoch    uint64
	borrowed bool     // heads and bounds are those of an older page: settle before a change
	shared   string   // what all paths of the page begin with; of those of bounds in an inner page
	heads    []uint64 // the bytes behind shared of each node or bound, as a number; see headOf
	nodes    []*Node
	bounds   []place // bounds[i] is not above anything in kids[i+1], and above all in kids[i]
	kids     []*page
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

package store

import "sort"

// cursor walks a tree upwards from a place. The tree must not change
// meanwhile: walk a snapshot, or be the only writer.
type cursor struct {
	path []step // from the root to the leaf
}

// step is a position in one page.
type step struct {
	page *page
	i    int
}

// from returns a cursor at the first node at or above a place.
func (t *tree) from(at place) cursor {
	return t.seek(func(n place) bool { return comparePlaces(at, n) <= 0 })
}

// behind returns a cursor at the first node above path and all that is below it.
func (t *tree) behind(path string) cursor {
	return t.seek(func(n place) bool { return comparePaths(path, n.path) < 0 && !below(path, n.path) })
}

// seek returns a cursor at the first node that is past what the caller looks
// for; all above it must be past it as well.
func (t *tree) seek(past func(place) bool) cursor {
	c := cursor{path: make([]step, 0, 6)}
	p := t.root
	for !p.leaf() {
		i := sort.Search(len(p.bounds), func(i int) bool { return past(p.bounds[i]) })
		c.path = append(c.path, step{p, i})
		p = p.kids[i]
	}
	i := sort.Search(len(p.nodes), func(i int) bool { return past(t.placeOf(p.nodes[i])) })
	c.path = append(c.path, step{p, i})
	if i == len(p.nodes) {
		c.nextLeaf()
	}
	return c
}

// node is the node at the cursor, nil at the end.
func (c *cursor) node() *Node {
	if len(c.path) == 0 {
		return nil
	}
	at := &c.path[len(c.path)-1]
	if at.i == len(at.page.nodes) {
		return nil // only the empty root
	}
	return at.page.nodes[at.i]
}

// advance moves on by one node.
func (c *cursor) advance() {
	if len(c.path) == 0 {
		return
	}
	at := &c.path[len(c.path)-1]
	if at.i++; at.i >= len(at.page.nodes) {
		c.nextLeaf()
	}
}

// nextLeaf moves to the first node of the next leaf, or empties the cursor.
func (c *cursor) nextLeaf() {
	for len(c.path) > 1 {
		c.path = c.path[:len(c.path)-1]
		at := &c.path[len(c.path)-1]
		if at.i++; at.i == len(at.page.kids) {
			continue
		}
		for p := at.page.kids[at.i]; ; p = p.kids[0] {
			c.path = append(c.path, step{p, 0})
			if p.leaf() {
				return
			}
		}
	}
	c.path = c.path[:0]
}

// skipNear is how many nodes skip steps over one by one before it seeks.
const skipNear = 16

// skip moves the cursor, which stands at the directory dir or below it, behind all that is
// below dir.
func (c *cursor) skip(t *tree, dir string) {
	for range skipNear {
		c.advance()
		if n := c.node(); n == nil || !below(dir, n.Path) {
			return
		}
	}
	*c = t.behind(dir)
}

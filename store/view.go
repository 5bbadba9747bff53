package store

import "iter"

// View is what a read found: one node and, when that is a directory, the tree
// as it was at that moment. It stays as it is while the store goes on, and
// walking it takes no lock.
type View struct {
	Node  *Node
	Index uint64 // etcd index of the store at the moment of the read

	tree tree // empty when Node is a file
}

// Children yields the direct children of dir in key order, hidden ones left
// out. It yields nothing when dir is not a directory of the view.
func (v View) Children(dir string) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		name := prefixLen(dir) + 1
		for c := v.inside(dir); ; {
			n := c.node()
			if n == nil || !below(dir, n.Path) {
				return
			}
			c.advance()
			if next := c.node(); next != nil && below(n.Path, next.Path) {
				c.skip(&v.tree, n.Path)
			}
			if n.Path[name] != '_' && !yield(n) {
				return
			}
		}
	}
}

// Descendants yields everything below dir, parents before their children and
// siblings in key order; hidden nodes and what lies below them are left out.
func (v View) Descendants(dir string) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for c := v.inside(dir); ; {
			n := c.node()
			if n == nil || !below(dir, n.Path) {
				return
			}
			if hiddenName(n.Path) {
				c.skip(&v.tree, n.Path)
				continue
			}
			if !yield(n) {
				return
			}
			c.advance()
		}
	}
}

// All yields everything below dir in the same order as Descendants, hidden
// nodes included.
func (v View) All(dir string) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for c := v.inside(dir); ; c.advance() {
			n := c.node()
			if n == nil || !below(dir, n.Path) || !yield(n) {
				return
			}
		}
	}
}

// inside is a cursor at the first node below dir, at the end when dir is not there.
func (v View) inside(dir string) cursor {
	if v.tree.root == nil {
		return cursor{}
	}
	c := v.tree.from(place{path: dir})
	if n := c.node(); n == nil || n.Path != dir {
		return cursor{}
	}
	c.advance()
	return c
}

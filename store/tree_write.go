package store

import (
	"slices"
	"strings"
)

// own returns p itself when no snapshot shares it, else a copy. The copy
// borrows heads and bounds, which stay as they are when a node is replaced.
func (t *tree) own(p *page) *page {
	epoch := t.epoch.Load()
	if p.epoch == epoch {
		return p
	}
	c := &page{epoch: epoch, borrowed: true, shared: p.shared, heads: p.heads, bounds: p.bounds}
	if p.leaf() {
		c.nodes = append(make([]*Node, 0, pageMax), p.nodes...)
	} else {
		c.kids = append(make([]*page, 0, pageMax), p.kids...)
	}
	return c
}

// settle gives the page heads and bounds of its own.
func (p *page) settle() {
	if !p.borrowed {
		return
	}
	p.borrowed = false
	p.heads = append(make([]uint64, 0, pageMax), p.heads...)
	if !p.leaf() {
		p.bounds = append(make([]place, 0, pageMax-1), p.bounds...)
	}
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
	p.settle()
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
	p.settle()
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
			p.settle()
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
	p.settle()
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
		left.settle()
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

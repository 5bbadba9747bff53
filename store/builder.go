package store

// builder makes a tree of nodes that come in ascending order.
type builder struct {
	tree   tree
	leaves []*page
	last   *Node
}

// builtFill is how full the pages of a builder are, so that the first inserts
// after a load do not split every page.
const builtFill = pageMax * 7 / 8

func (b *builder) add(n *Node) {
	if k := len(b.leaves); k == 0 || len(b.leaves[k-1].nodes) == builtFill {
		if k > 0 {
			b.tree.index(b.leaves[k-1])
		}
		b.leaves = append(b.leaves, newLeaf(0))
	}
	leaf := b.leaves[len(b.leaves)-1]
	leaf.nodes = append(leaf.nodes, n)
	b.tree.size++
	b.last = n
}

// done returns the tree.
func (b *builder) done() tree {
	if len(b.leaves) == 0 {
		return b.tree
	}
	level := b.leaves
	b.tree.index(level[len(level)-1])
	lowest := make([]*Node, len(level))
	for i, p := range level {
		lowest[i] = p.nodes[0]
	}
	for len(level) > 1 {
		var up []*page
		var upLowest []*Node
		for i := 0; i < len(level); i += builtFill {
			p := newInner(0)
			for j := i; j < min(i+builtFill, len(level)); j++ {
				if j > i {
					p.bounds = append(p.bounds, b.tree.boundBefore(lowest[j]))
				}
				p.kids = append(p.kids, level[j])
			}
			b.tree.index(p)
			up = append(up, p)
			upLowest = append(upLowest, lowest[i])
		}
		level, lowest = up, upLowest
	}
	b.tree.root = level[0]
	return b.tree
}

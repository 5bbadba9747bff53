package store

import "iter"

// View is what a read found: one node and, below a directory, the tree as it was at that moment.
type View struct {
	Node  *Node
	Index uint64 // etcd index of the store at the moment of the read
}

// Children yields the direct children of dir in key order, hidden ones left out.
func (v View) Children(dir string) iter.Seq[*Node] { return func(func(*Node) bool) {} }

// Descendants yields everything below dir, parents before their children and
// siblings in key order; hidden nodes and what lies below them are left out.
func (v View) Descendants(dir string) iter.Seq[*Node] { return func(func(*Node) bool) {} }

// All yields everything below dir in the same order, hidden nodes included.
func (v View) All(dir string) iter.Seq[*Node] { return func(func(*Node) bool) {} }

package store

import "slices"

// commit makes a new or changed node visible, with the directories made for
// it, and tells the watchers. Holding the hub throughout keeps index, history
// and watchers in step for whoever begins a watch.
func (s *Store) commit(ev Event, parents []*Node) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	n := ev.Node
	s.mu.Lock()
	for _, p := range parents {
		s.nodes.put(p)
	}
	if ev.Prev == nil {
		s.nodes.put(n)
	} else {
		s.nodes.replace(&s.found, n)
	}
	if ev.Prev != nil && ev.Prev.Expires != 0 && ev.Prev.Expires != n.Expires {
		s.deadlines.remove(ev.Prev)
	}
	if n.Expires != 0 {
		s.deadlines.put(n)
	}
	s.index.Store(n.Modified)
	s.mu.Unlock()

	for _, p := range parents {
		s.dirty[p.Path] = p
	}
	s.dirty[n.Path] = n
	s.hub.publish(ev, nil)
}

// removeUnseen is the size from which a subtree is taken out of a copy of the
// tree, that readers do not see, rather than under their lock.
const removeUnseen = 256

// commitRemoval takes away ev.Prev and all below it, and tells the watchers.
func (s *Store) commitRemoval(ev Event) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	gone := s.subtree(ev.Prev)
	if len(gone) < removeUnseen {
		s.mu.Lock()
		removeAll(gone, &s.nodes, &s.deadlines)
		s.index.Store(ev.Node.Modified)
		s.mu.Unlock()
	} else {
		nodes, deadlines := s.nodes.snapshot(), s.deadlines.snapshot()
		removeAll(gone, &nodes, &deadlines)
		s.mu.Lock()
		s.nodes, s.deadlines = nodes, deadlines
		s.index.Store(ev.Node.Modified)
		s.mu.Unlock()
	}
	for _, n := range gone {
		s.dirty[n.Path] = nil
	}
	s.hub.publish(ev, gone[1:])
}

// subtree lists n and all that is below it, in tree order.
func (s *Store) subtree(n *Node) []*Node {
	list := []*Node{n}
	if !n.Dir {
		return list
	}
	c := s.nodes.from(place{path: n.Path})
	for c.advance(); c.node() != nil && below(n.Path, c.node().Path); c.advance() {
		list = append(list, c.node())
	}
	return list
}

// removeAll takes the nodes, which are in tree order, out of both trees. It
// goes backwards, so that pages empty from their ends.
func removeAll(gone []*Node, nodes, deadlines *tree) {
	for _, n := range slices.Backward(gone) {
		nodes.remove(n)
		if n.Expires != 0 {
			deadlines.remove(n)
		}
	}
}

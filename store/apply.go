package store

import (
	"fmt"
	"math"
	"strings"
)

// expireMax is the number of nodes one Expire op removes at most, so that a
// mass expiry is spread over several entries of the log.
const expireMax = 1000

// Apply carries out one op. A success moves the index by one and makes one
// event; a refusal is a *Error that carries the current index. Expire removes
// what is due at op.Now, the earliest deadline first and at most 1000 nodes,
// makes one event for each, and returns the zero Event.
//
// Refusals are looked for in this order: a fixed directory (RootReadOnly), the
// way to the node (KeyNotFound, NotDir), its kind (NotFile, NodeExist), then
// the comparison (CompareFailed) or emptiness (DirNotEmpty). CompareAndDelete
// of a fixed directory is NotFile without a cause, as etcd answers it.
//
// Only the applier calls Apply. It panics on an action that is no change.
func (s *Store) Apply(op Op) (Event, error) {
	if op.Now > s.clock.Load() {
		s.clock.Store(op.Now)
	}
	if op.Action == Expire {
		s.expire(op.Now)
		return Event{}, nil
	}
	var ev Event
	var refusal *Error
	switch op.Action {
	case Set:
		ev, refusal = s.set(&op)
	case Create, CreateInOrder:
		ev, refusal = s.create(&op)
	case Update:
		ev, refusal = s.update(&op)
	case CompareAndSwap:
		ev, refusal = s.compareAndSwap(&op)
	case Delete:
		ev, refusal = s.delete(&op)
	case CompareAndDelete:
		ev, refusal = s.compareAndDelete(&op)
	default:
		panic(fmt.Sprintf("store: apply of action %d, which changes nothing", op.Action))
	}
	s.counts.of(op.Action).count(refusal != nil)
	if refusal != nil {
		return Event{}, refusal
	}
	return ev, nil
}

func (s *Store) set(op *Op) (Event, *Error) {
	if fixed(op.Path) {
		return Event{}, s.refuse(RootReadOnly, op.Path)
	}
	prev := s.nodes.find(&s.found, place{path: op.Path})
	if prev == nil {
		if op.Refresh {
			return Event{}, s.missing(op.Path)
		}
		return s.add(op, op.Path)
	}
	if prev.Dir {
		return Event{}, s.refuse(NotFile, prev.Path)
	}
	n := s.record(op, op.Path)
	if op.Refresh && !op.Dir {
		n.Path, n.Value = prev.Path, prev.Value
	}
	return s.replace(op, n, prev), nil
}

func (s *Store) create(op *Op) (Event, *Error) {
	path := op.Path
	if op.Action == CreateInOrder {
		path = join(path, fmt.Sprintf("%020d", s.index.Load()+1))
	} else if fixed(path) {
		return Event{}, s.refuse(RootReadOnly, path)
	}
	if n := s.nodes.get(place{path: path}); n != nil {
		return Event{}, s.refuse(NodeExist, path)
	}
	return s.add(op, path)
}

func (s *Store) update(op *Op) (Event, *Error) {
	prev, refusal := s.existing(op.Path)
	if refusal != nil {
		return Event{}, refusal
	}
	if prev.Dir && op.Value != "" {
		return Event{}, s.refuse(NotFile, prev.Path)
	}
	return s.renew(op, prev), nil
}

func (s *Store) compareAndSwap(op *Op) (Event, *Error) {
	prev, refusal := s.existing(op.Path)
	if refusal == nil {
		refusal = s.compare(op, prev)
	}
	if refusal != nil {
		return Event{}, refusal
	}
	return s.renew(op, prev), nil
}

func (s *Store) delete(op *Op) (Event, *Error) {
	prev, refusal := s.existing(op.Path)
	if refusal != nil {
		return Event{}, refusal
	}
	if prev.Dir && !op.Recursive {
		if !op.Dir {
			return Event{}, s.refuse(NotFile, prev.Path)
		}
		if !s.empty(prev) {
			return Event{}, s.refuse(DirNotEmpty, prev.Path)
		}
	}
	return s.removal(op.Action, op.Now, prev), nil
}

func (s *Store) compareAndDelete(op *Op) (Event, *Error) {
	if fixed(op.Path) {
		return Event{}, s.refuse(NotFile, "")
	}
	prev, refusal := s.existing(op.Path)
	if refusal == nil {
		refusal = s.compare(op, prev)
	}
	if refusal != nil {
		return Event{}, refusal
	}
	return s.removal(op.Action, op.Now, prev), nil
}

// expire removes the nodes that are due. What lies below a directory goes
// with it, whatever its own deadline.
func (s *Store) expire(now int64) {
	for range expireMax {
		n := s.deadlines.first()
		if n == nil || n.Expires > now {
			return
		}
		s.removal(Expire, now, n)
		s.counts.expired.Add(1)
	}
}

// existing is the node at path, which an op is about to change. The way to it
// is kept for commit.
func (s *Store) existing(path string) (*Node, *Error) {
	if fixed(path) {
		return nil, s.refuse(RootReadOnly, path)
	}
	if n := s.nodes.find(&s.found, place{path: path}); n != nil {
		return n, nil
	}
	return nil, s.missing(path)
}

// compare checks the conditions of op on the file n.
func (s *Store) compare(op *Op, n *Node) *Error {
	if n.Dir {
		return s.refuse(NotFile, n.Path)
	}
	var failed []string
	if op.PrevValue != "" && op.PrevValue != n.Value {
		failed = append(failed, fmt.Sprintf("[%s != %s]", op.PrevValue, n.Value))
	}
	if op.PrevIndex != 0 && op.PrevIndex != n.Modified {
		failed = append(failed, fmt.Sprintf("[%d != %d]", op.PrevIndex, n.Modified))
	}
	if failed == nil {
		return nil
	}
	return s.refuse(CompareFailed, strings.Join(failed, " "))
}

// empty reports whether nothing at all, hidden or not, lies below dir.
func (s *Store) empty(dir *Node) bool {
	c := s.nodes.from(place{path: dir.Path})
	c.advance()
	n := c.node()
	return n == nil || !below(dir.Path, n.Path)
}

// record is the new node that op makes at path.
func (s *Store) record(op *Op, path string) *Node {
	index := s.index.Load() + 1
	n := &Node{Path: path, Value: op.Value, Created: index, Modified: index, Expires: op.deadline(), Dir: op.Dir}
	if n.Dir && n.Value != "" {
		n.Path, n.Value = strings.Clone(path), "" // the path may share memory with the value
	}
	return n
}

// deadline is the moment at which the result of op expires, 0 for never.
func (op *Op) deadline() int64 {
	if !op.HasTTL {
		return 0
	}
	if int64(op.TTL) > 0 && op.Now > math.MaxInt64-int64(op.TTL) {
		return math.MaxInt64
	}
	return max(op.Now+int64(op.TTL), 1)
}

// add puts the node that op makes at path, where there is none, and the
// directories that are missing on the way.
func (s *Store) add(op *Op, path string) (Event, *Error) {
	n := s.record(op, path)
	parents, refusal := s.missingParents(n)
	if refusal != nil {
		return Event{}, refusal
	}
	ev := Event{Action: op.Action, Node: n, Now: op.Now}
	if ev.Action == CreateInOrder {
		ev.Action = Create
	}
	s.commit(ev, parents)
	return ev, nil
}

// missingParents makes the records of the directories that n lacks. They are
// as old as n and permanent.
func (s *Store) missingParents(n *Node) ([]*Node, *Error) {
	switch p := s.nodes.get(place{path: parentOf(n.Path)}); {
	case p == nil:
	case p.Dir:
		return nil, nil
	default:
		return nil, s.refuse(NotDir, p.Path)
	}
	var made []*Node
	for i := 1; i < len(n.Path); i++ {
		if n.Path[i] != '/' {
			continue
		}
		switch p := s.nodes.get(place{path: n.Path[:i]}); {
		case p == nil:
			dir := strings.Clone(n.Path[:i]) // the path of n may share memory with a large value
			made = append(made, &Node{Path: dir, Created: n.Created, Modified: n.Modified, Dir: true})
		case !p.Dir:
			return nil, s.refuse(NotDir, p.Path)
		}
	}
	return made, nil
}

// renew replaces the value and the deadline of prev, which keeps its creation
// index. A directory keeps having no value, a refresh keeps the value.
func (s *Store) renew(op *Op, prev *Node) Event {
	n := *prev
	n.Modified = s.index.Load() + 1
	n.Expires = op.deadline()
	if !prev.Dir && !op.Refresh {
		n.Path, n.Value = op.Path, op.Value
	}
	return s.replace(op, &n, prev)
}

// replace puts n in place of prev.
func (s *Store) replace(op *Op, n, prev *Node) Event {
	ev := Event{Action: op.Action, Node: n, Prev: prev, Now: op.Now, Refresh: op.Refresh}
	s.commit(ev, nil)
	return ev
}

// removal takes away prev and all that is below it.
func (s *Store) removal(a Action, now int64, prev *Node) Event {
	n := &Node{Path: prev.Path, Created: prev.Created, Modified: s.index.Load() + 1, Dir: prev.Dir}
	ev := Event{Action: a, Node: n, Prev: prev, Now: now}
	s.commitRemoval(ev)
	return ev
}

package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ErrLoad is wrapped by the errors of a Loader: what it was given cannot have
// come from a store.
var ErrLoad = errors.New("store: inconsistent checkpoint")

// Loader builds a Store from what Deltas left behind: nodes in tree order, then
// the events of the history, then Finish. After an error it is of no use.
type Loader struct {
	cfg    Config
	nodes  builder
	timed  []timed
	way    []*Node  // the directories from the root to the last node
	fixed  []string // fixed directories to come
	events history
	last   uint64 // index of the last event, 0 when there was none
}

// timed is a node with a deadline. It carries what the deadlines are sorted
// by, which spares the sort a look at a million nodes.
type timed struct {
	expires int64
	order   int // among the nodes with a deadline, in tree order
	node    *Node
}

// NewLoader begins a load. The store will be tuned by cfg.
func NewLoader(cfg Config) *Loader {
	cfg = cfg.withDefaults()
	return &Loader{
		cfg:    cfg,
		nodes:  builder{tree: newTree(false)},
		fixed:  fixedPaths(),
		events: history{maxEvents: cfg.HistoryEvents, maxBytes: cfg.HistoryBytes},
	}
}

// Node adds the next node in tree order, which is the byte order of AppendKey.
// The fixed directories are there already and may be left out. The error wraps
// ErrLoad when the order is wrong or the parent is missing.
func (l *Loader) Node(n *Node) error {
	for len(l.fixed) > 0 && comparePaths(l.fixed[0], n.Path) <= 0 {
		if dir := l.nextFixed(); dir == n.Path {
			if *n != (Node{Path: dir, Dir: true}) {
				return fmt.Errorf("%w: fixed directory %q was changed", ErrLoad, dir)
			}
			return nil
		}
	}
	return l.append(n)
}

// nextFixed adds the next fixed directory and returns its path.
func (l *Loader) nextFixed() string {
	dir := l.fixed[0]
	l.fixed = l.fixed[1:]
	if dir == "/" {
		root := &Node{Path: dir, Dir: true}
		l.nodes.add(root)
		l.way = append(l.way, root)
	} else if err := l.append(&Node{Path: dir, Dir: true}); err != nil {
		panic("store: fixed directories out of order: " + err.Error())
	}
	return dir
}

func (l *Loader) append(n *Node) error {
	if !clean(n.Path) || n.Path == "/" {
		return fmt.Errorf("%w: path %q is not clean", ErrLoad, n.Path)
	}
	if n.Dir && n.Value != "" {
		return fmt.Errorf("%w: directory %q has a value", ErrLoad, n.Path)
	}
	last := l.nodes.last
	if comparePaths(last.Path, n.Path) >= 0 {
		return fmt.Errorf("%w: node %q after %q", ErrLoad, n.Path, last.Path)
	}
	for !below(l.way[len(l.way)-1].Path, n.Path) {
		l.way = l.way[:len(l.way)-1]
	}
	if dir := l.way[len(l.way)-1]; len(dir.Path) != len(parentOf(n.Path)) {
		return fmt.Errorf("%w: node %q has no directory to be in", ErrLoad, n.Path)
	}
	l.nodes.add(n)
	if n.Dir {
		l.way = append(l.way, n)
	}
	if n.Expires != 0 {
		l.timed = append(l.timed, timed{n.Expires, len(l.timed), n})
	}
	return nil
}

// Event adds the next event of the history. The error wraps ErrLoad when
// events are missing between the last one and this.
func (l *Loader) Event(e Event) error {
	switch index := e.Index(); {
	case l.last == 0 && index > 0:
		l.events.first, l.events.next = index, index
	case index != l.last+1:
		return fmt.Errorf("%w: event %d after event %d", ErrLoad, index, l.last)
	}
	l.last = e.Index()
	l.events.add(e)
	return nil
}

// Finish returns the store with the etcd index, counters and clock it had. The
// error wraps ErrLoad when the last event is not that of the index, which it
// has to be if there are events at all.
func (l *Loader) Finish(index uint64, counters Stats, clock int64) (*Store, error) {
	for len(l.fixed) > 0 {
		l.nextFixed()
	}
	if l.last == 0 {
		l.events.first, l.events.next = index+1, index+1
	} else if l.last != index {
		return nil, fmt.Errorf("%w: last event is %d, index is %d", ErrLoad, l.last, index)
	}
	s := &Store{
		nodes:     l.nodes.done(),
		deadlines: l.deadlines(),
		dirty:     make(map[string]*Node),
		cut:       index,
	}
	s.hub.queue = l.cfg.WatchQueue
	s.hub.past = l.events
	s.hub.topics = make(map[string]*topic)
	s.index.Store(index)
	s.clock.Store(clock)
	s.counts.restore(counters)
	return s, nil
}

// deadlines is the tree of the nodes that expire.
func (l *Loader) deadlines() tree {
	slices.SortFunc(l.timed, func(x, y timed) int {
		if x.expires != y.expires {
			return cmp.Compare(x.expires, y.expires)
		}
		return cmp.Compare(x.order, y.order)
	})
	b := builder{tree: newTree(true)}
	for _, t := range l.timed {
		b.add(t.node)
	}
	return b.done()
}

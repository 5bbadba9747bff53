package store

import "io"

// Delta is what changed since the Cut before.
type Delta struct {
	Nodes        map[string]*Node // by path; nil for a node that is gone
	Events       [][]Event        // new events still in the history, ascending, in runs
	HistoryFirst uint64           // index of the oldest event kept; Index+1 when there is none
	Index        uint64           // etcd index
	Counters     Stats
	Clock        int64 // highest op.Now seen
	Full         bool  // Nodes and Events are complete: whatever was stored before is void
}

// Cut hands over what changed since the last Cut. Only the applier calls it.
func (s *Store) Cut() Delta { return Delta{} }

// CutFull hands over the whole store. Only the applier calls it.
func (s *Store) CutFull() Delta { return Delta{} }

// Dump writes the canonical form of the store: equal stores, equal bytes.
func (s *Store) Dump(w io.Writer) error { return nil }

// Loader builds a Store: nodes in tree order, then events, then Finish.
type Loader struct{ cfg Config }

// NewLoader begins a load.
func NewLoader(cfg Config) *Loader { return &Loader{cfg: cfg} }

// Node adds the next node in tree order, which is the byte order of AppendKey.
func (l *Loader) Node(n *Node) error { return nil }

// Event adds the next event in index order.
func (l *Loader) Event(e Event) error { return nil }

// Finish returns the loaded store.
func (l *Loader) Finish(index uint64, counters Stats, clock int64) (*Store, error) {
	return New(l.cfg), nil
}

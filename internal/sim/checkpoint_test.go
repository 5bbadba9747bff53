package sim_test

import (
	"cmp"
	"maps"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/store"
)

// checkpoint is a durable image of a member's state at one position of the log,
// kept the way a database would: each cut changes what changed. It is never
// altered, so it can be handed to another member.
type checkpoint struct {
	index, term uint64
	conf        *raftpb.ConfState
	nodes       map[string]*store.Node
	events      []store.Event
	etcdIndex   uint64
	counters    store.Stats
	clock       int64
}

// cut is a checkpoint on its way to the disk.
type cut struct {
	delta       store.Delta
	index, term uint64
	conf        *raftpb.ConfState
}

// with returns the checkpoint that follows from a cut.
func (c *checkpoint) with(k cut) *checkpoint {
	next := &checkpoint{
		index: k.index, term: k.term, conf: k.conf,
		nodes:     map[string]*store.Node{},
		etcdIndex: k.delta.Index, counters: k.delta.Counters, clock: k.delta.Clock,
	}
	if !k.delta.Full {
		maps.Copy(next.nodes, c.nodes)
		next.events = slices.Clone(c.events)
	}
	for path, node := range k.delta.Nodes {
		if node == nil {
			delete(next.nodes, path)
		} else {
			next.nodes[path] = node
		}
	}
	for _, run := range k.delta.Events {
		next.events = append(next.events, run...)
	}
	next.events = slices.DeleteFunc(next.events, func(e store.Event) bool { return e.Index() < k.delta.HistoryFirst })
	return next
}

// load makes the store that the checkpoint describes.
func (c *checkpoint) load(cfg store.Config) (*store.Store, error) {
	l := store.NewLoader(cfg)
	for _, node := range slices.SortedFunc(maps.Values(c.nodes), inTreeOrder) {
		if err := l.Node(node); err != nil {
			return nil, err
		}
	}
	for _, e := range c.events {
		if err := l.Event(e); err != nil {
			return nil, err
		}
	}
	return l.Finish(c.etcdIndex, c.counters, c.clock)
}

func inTreeOrder(a, b *store.Node) int {
	return cmp.Compare(string(store.AppendKey(nil, a.Path)), string(store.AppendKey(nil, b.Path)))
}

// checkpoint begins a checkpoint or ends the one begun before.
func (m *machine) checkpoint() {
	if m.cutting == nil {
		m.beginCheckpoint()
	} else {
		m.endCheckpoint()
	}
}

func (m *machine) beginCheckpoint() {
	if m.applied == 0 {
		return
	}
	delta := m.store().Cut()
	if m.ckpt == nil {
		delta = m.store().CutFull()
	}
	m.cutting = &cut{delta: delta, index: m.applied, term: m.term, conf: m.replica.Conf()}
}

func (m *machine) endCheckpoint() {
	before := m.ckpt
	if before == nil {
		before = &checkpoint{}
	}
	m.ckpt = before.with(*m.cutting)
	m.cutting = nil
	released, err := m.core.Compact(m.ckpt.index, m.ckpt.conf)
	if err == nil && released > 0 {
		err = m.log.Release(released)
	}
	if err != nil {
		m.fail(err)
	}
}

// openCheckpoint returns the checkpoint to send to another member. Raft asks for
// one that is newer than the last when members were added since, because it would
// be of no use to them otherwise. A member that has started anew meanwhile may not
// have got so far again; then there is none.
func (m *machine) openCheckpoint(atLeast uint64) *checkpoint {
	if m.ckpt.index < atLeast && m.cutting != nil {
		m.endCheckpoint()
	}
	if m.up && m.ckpt.index < atLeast && m.applied >= atLeast {
		m.beginCheckpoint()
		m.endCheckpoint()
	}
	if m.ckpt.index < atLeast {
		return nil
	}
	return m.ckpt
}

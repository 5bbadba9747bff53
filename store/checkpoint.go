package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Delta is what a checkpoint has to write: all that changed since the Cut
// before. It shares immutable records with the store and may be read while the
// store goes on.
type Delta struct {
	Nodes        map[string]*Node // by path; nil for a node that is gone, if it was ever stored
	Events       [][]Event        // new events still in the history, ascending, in runs
	HistoryFirst uint64           // index of the oldest event kept, Index+1 when there is none; older ones may go
	Index        uint64           // etcd index
	Counters     Stats            // without Watchers
	Clock        int64            // highest cluster time seen, Unix nanoseconds
	Full         bool             // made by CutFull: whatever was stored before is void
}

// Cut hands over what changed since the last Cut, in a time that does not
// depend on how much that is. The fixed directories never are in a Delta. Only
// the applier calls Cut.
func (s *Store) Cut() Delta {
	s.hub.mu.Lock()
	events, first := s.hub.past.since(s.cut+1), s.hub.past.first
	s.hub.mu.Unlock()
	d := Delta{
		Nodes:        s.dirty,
		Events:       events,
		HistoryFirst: first,
		Index:        s.index.Load(),
		Counters:     s.counts.stats(),
		Clock:        s.clock.Load(),
	}
	s.dirty = make(map[string]*Node)
	s.cut = d.Index
	return d
}

// CutFull hands over the whole store, for a checkpoint that begins anew: the
// first one of a store that was put together elsewhere, or the one after a
// Delta was lost. It takes time in proportion to the tree. Only the applier
// calls it.
func (s *Store) CutFull() Delta {
	s.cut = 0
	d := s.Cut()
	d.Full = true
	d.Nodes = make(map[string]*Node, s.nodes.size)
	for n := range s.Snapshot().All("/") {
		if !fixed(n.Path) {
			d.Nodes[n.Path] = n
		}
	}
	return d
}

// Dump writes the tree, the index, the clock and the history in a canonical
// form: equal stores write equal bytes. Counters and watchers are left out,
// since members count the gets they answer.
func (s *Store) Dump(w io.Writer) error {
	s.hub.mu.Lock()
	view := s.Snapshot()
	clock := s.clock.Load()
	first, events := s.hub.past.first, s.hub.past.since(0)
	s.hub.mu.Unlock()

	out := bufio.NewWriter(w)
	var buf []byte
	record := func(b []byte) { // with its length; an error of out sticks until Flush
		out.Write(binary.AppendUvarint(nil, uint64(len(b))))
		out.Write(b)
		buf = b[:0]
	}
	head := append(buf, recordVersion)
	head = binary.AppendUvarint(head, view.Index)
	head = binary.AppendVarint(head, clock)
	head = binary.AppendUvarint(head, uint64(view.tree.size))
	record(binary.AppendUvarint(head, first))
	record(view.Node.AppendBinary(buf))
	for n := range view.All("/") {
		record(n.AppendBinary(buf))
	}
	for _, run := range events {
		for i := range run {
			record(run[i].AppendBinary(buf))
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("dump of the store: %w", err)
	}
	return nil
}

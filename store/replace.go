package store

import (
	"slices"
	"sort"
)

// Replace puts the content of another store, which was loaded with the same
// Config and is of no use afterwards, in place of the store's own: tree,
// history, index, clock, counters, and what Cut has to hand over. It is how a
// member takes over the checkpoint of another one while it serves. Readers see
// the old content or the new one.
//
// Watchers go on: they get the events of the new history from where they were
// on, each once and in order; what does not fit into the queue of one it reads
// from the history. Those end whose next event the new history has dropped
// already. When the new index is lower than the old one all end, except for
// those that wait for an index still to come. As from the history, a watcher
// gets the removal of any directory above its path.
//
// Only the applier calls Replace.
func (s *Store) Replace(content *Store) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	s.nodes, s.deadlines = content.nodes, content.deadlines
	s.index.Store(content.index.Load())
	s.mu.Unlock()
	s.clock.Store(content.clock.Load())
	s.counts.restore(content.counts.stats())
	s.found = cursor{}
	s.dirty, s.cut = content.dirty, content.cut
	s.hub.replace(content.hub.past)
}

// replace goes on with another history. The caller holds mu.
func (h *hub) replace(past history) {
	seen := h.past.next // by all who are registered, unless they wait for a later one
	h.past = past
	switch {
	case past.next < seen:
		h.breaks++
		h.endIf(func(w *Watcher) bool { return w.since <= seen })
	case past.first > seen:
		h.endIf(func(w *Watcher) bool { return w.since < past.first })
	}
	if len(h.topics) > 0 {
		h.replay(seen)
	}
}

// replay hands out the events of the history from an index on.
func (h *hub) replay(from uint64) {
	watched := make([]string, 0, len(h.topics))
	for path := range h.topics {
		watched = append(watched, path)
	}
	slices.SortFunc(watched, comparePaths)
	for _, piece := range h.past.since(from) {
		for i := range piece {
			if len(h.topics) == 0 {
				return
			}
			if piece[i].Refresh {
				continue
			}
			d := &fanOut{hub: h, event: piece[i], replay: true}
			h.publishAbove(d)
			if piece[i].removesDir() {
				h.replayBelow(d, watched)
			}
		}
	}
}

// replayBelow hands the removal of a directory to whoever watches something
// below it. The watched paths are in tree order.
func (h *hub) replayBelow(d *fanOut, watched []string) {
	dir := d.event.Node.Path
	first := sort.Search(len(watched), func(i int) bool { return comparePaths(watched[i], dir) > 0 })
	for _, path := range watched[first:] {
		if !below(dir, path) {
			return
		}
		if t := h.topics[path]; t != nil { // else all have left it meanwhile
			d.to(&t.plain)
			d.to(&t.deep)
		}
	}
}

// removesDir reports whether the event took a directory away, with all below it.
func (e *Event) removesDir() bool {
	return e.Node.Dir && (e.Action == Delete || e.Action == Expire)
}

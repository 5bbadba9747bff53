package store

import "sort"

const (
	runEvents = 256     // events in one run of the history at most
	runBytes  = 1 << 20 // a run that holds so many bytes takes no further event
	eventCost = 256     // bytes of an event beside its keys and values, about
)

// history keeps the last events, one for every index, bounded by number and by
// bytes; the newest event is kept in any case.
//
// Events lie in runs that only grow, so a reader that took a piece of a run
// under the lock may read it without. A dropped event is freed with its run.
type history struct {
	maxEvents int
	maxBytes  int64

	runs  []*run // ascending, without gaps; the first holds the event first
	first uint64 // index of the oldest event kept; next when there is none
	next  uint64 // index of the event to come
	bytes int64  // of the events kept
}

type run struct {
	first  uint64 // index of events[0]
	events []Event
	bytes  int64
}

// cost is the share of an event in the byte bound.
func (e *Event) cost() int64 {
	n := eventCost + len(e.Node.Path) + len(e.Node.Value)
	if e.Prev != nil {
		n += len(e.Prev.Value)
	}
	return int64(n)
}

// add appends the event with index next and drops what the bounds no longer allow.
func (h *history) add(ev Event) {
	if k := len(h.runs); k == 0 || len(h.runs[k-1].events) == runEvents || h.runs[k-1].bytes >= runBytes {
		h.runs = append(h.runs, &run{first: h.next, events: make([]Event, 0, runEvents)})
	}
	last := h.runs[len(h.runs)-1]
	last.events = append(last.events, ev)
	cost := ev.cost()
	last.bytes += cost
	h.bytes += cost
	h.next++
	for h.first+1 < h.next && (h.next-h.first > uint64(h.maxEvents) || h.bytes > h.maxBytes) {
		h.drop()
	}
}

// drop forgets the oldest event.
func (h *history) drop() {
	oldest := h.runs[0]
	h.bytes -= oldest.events[h.first-oldest.first].cost()
	h.first++
	if h.first == oldest.first+uint64(len(oldest.events)) {
		h.runs[0] = nil
		h.runs = h.runs[1:]
	}
}

// from is the piece of the history that begins with an index and ends with the
// run it lies in; nil from next on. The index must not be below first.
func (h *history) from(index uint64) []Event {
	if index >= h.next {
		return nil
	}
	i := sort.Search(len(h.runs), func(i int) bool { return h.runs[i].first > index }) - 1
	r := h.runs[i]
	return r.events[index-r.first : len(r.events) : len(r.events)]
}

// since lists the events kept from an index on, in pieces.
func (h *history) since(index uint64) [][]Event {
	var pieces [][]Event
	for index = max(index, h.first); index < h.next; {
		piece := h.from(index)
		pieces = append(pieces, piece)
		index += uint64(len(piece))
	}
	return pieces
}

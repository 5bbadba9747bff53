package store

import (
	"sync"
	"sync/atomic"
)

// hub connects the applier with the watchers. What an event costs depends on
// the depth of its key and on the watchers that get it, not on the others.
type hub struct {
	queue      int          // events queued per watcher
	registered atomic.Int64 // watchers in topics

	mu     sync.Mutex // guards the fields below
	past   history
	topics map[string]*topic // by watched path
	closed bool

	breaks uint64 // how often what came before did not lead to what came then
}

// topic holds the watchers of one path.
type topic struct {
	plain watchList // of exactly that path
	deep  watchList // of all below it as well
}

// watchList is a doubly linked list of watchers, through fields of their own.
type watchList struct{ head *Watcher }

func (l *watchList) push(w *Watcher) {
	w.next = l.head
	if l.head != nil {
		l.head.prev = w
	}
	l.head = w
}

func (l *watchList) drop(w *Watcher) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

func (t *topic) list(deep bool) *watchList {
	if deep {
		return &t.deep
	}
	return &t.plain
}

// register adds w to the topic of its path. The caller holds mu.
func (h *hub) register(w *Watcher) {
	t := h.topics[w.path]
	if t == nil {
		t = new(topic)
		h.topics[w.path] = t
	}
	t.list(w.recursive).push(w)
	w.registered = true
	h.registered.Add(1)
}

// unregister takes w out of its topic if it is there. The caller holds mu.
func (h *hub) unregister(w *Watcher) {
	if !w.registered {
		return
	}
	t := h.topics[w.path]
	t.list(w.recursive).drop(w)
	if t.plain.head == nil && t.deep.head == nil {
		delete(h.topics, w.path)
	}
	w.registered = false
	h.registered.Add(-1)
}

// publish records an event and hands it to the watchers it concerns: those of
// its key, the recursive ones of the directories above unless the key is
// hidden from there, and those of the nodes that went with it. The caller
// holds mu.
func (h *hub) publish(ev Event, gone []*Node) {
	h.past.add(ev)
	if ev.Refresh || len(h.topics) == 0 {
		return
	}
	d := &fanOut{hub: h, event: ev}
	h.publishAbove(d)
	h.publishBelow(d, gone)
}

// publishAbove hands the event to the watchers of its key and of the
// directories above from which the key can be seen.
func (h *hub) publishAbove(d *fanOut) {
	path := d.event.Node.Path
	if t := h.topics[path]; t != nil {
		d.to(&t.plain)
		d.to(&t.deep)
	}
	for dir := path; dir != "/"; {
		dir = parentOf(dir)
		if hiddenBelow(dir, path) {
			break // and so it is from further up
		}
		if t := h.topics[dir]; t != nil {
			d.to(&t.deep)
		}
	}
}

// publishBelow hands the event to the watchers of the nodes that went with
// their directory. It goes through the nodes or the topics, whichever are fewer.
func (h *hub) publishBelow(d *fanOut, gone []*Node) {
	if len(gone) <= len(h.topics) {
		for _, n := range gone {
			if t := h.topics[n.Path]; t != nil {
				d.to(&t.plain)
				d.to(&t.deep)
			}
		}
		return
	}
	for path, t := range h.topics {
		if holds(gone, path) {
			d.to(&t.plain)
			d.to(&t.deep)
		}
	}
}

// close ends all watchers and those that begin later.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.endIf(func(*Watcher) bool { return true })
}

// interrupt ends all watchers. Those that begin later live.
func (h *hub) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breaks++
	h.endIf(func(*Watcher) bool { return true })
}

// endIf ends the registered watchers that are meant.
func (h *hub) endIf(meant func(*Watcher) bool) {
	for _, t := range h.topics {
		for _, l := range [2]*watchList{&t.plain, &t.deep} {
			for w := l.head; w != nil; {
				next := w.next
				if meant(w) {
					h.unregister(w)
					w.end()
				}
				w = next
			}
		}
	}
}

// fanOut hands one event to lists of watchers. What they share is made for
// the first of them.
type fanOut struct {
	hub    *hub
	event  Event
	replay bool // who has no room reads on in the history
	shared *Delivery
}

func (d *fanOut) to(l *watchList) {
	for w := l.head; w != nil; {
		next := w.next // w may leave the list
		if d.event.Index() >= w.since {
			if d.shared == nil {
				d.shared = &Delivery{Event: d.event}
			}
			if d.replay && w.full(d.hub.queue) {
				d.hub.unregister(w)
				w.fallBehind(d.event.Index(), d.hub.breaks)
			} else if !w.offer(d.shared, d.hub.queue) {
				d.hub.unregister(w)
			}
		}
		w = next
	}
}

package store

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// WatchOptions say which events a watcher gets.
type WatchOptions struct {
	Recursive bool   // those of the nodes below the path too
	Stream    bool   // all of them, instead of the first one
	Since     uint64 // those from this index on, 0 for those to come
	Wake      func() // for Poll, which describes it; a watcher that has it cannot Next
}

// Watch begins to watch path. The node need not exist. When the history does
// not reach back to o.Since, the error is a *Error with EventCleared.
//
// A watcher gets the events of its path and, if recursive, of the paths below
// unless they are hidden from there. It also gets the removal of a directory
// above its path when its node went with it. From the history, which does not
// know what existed, it gets the removal of any directory above. Refreshes are
// never delivered. Each event comes once, in the order of the indexes.
func (s *Store) Watch(path string, o WatchOptions) (*Watcher, error) {
	h := &s.hub
	w := &Watcher{
		hub: h, path: path, recursive: o.Recursive, stream: o.Stream,
		since: o.Since, wake: o.Wake,
	}
	if w.wake == nil {
		w.ready = make(chan struct{}, 1)
	}
	h.mu.Lock()
	w.index = h.past.next - 1
	past := o.Since != 0 && o.Since <= w.index
	closed := h.closed
	switch {
	case closed:
		w.ended = true
	case past:
		w.behind, w.breaks = true, h.breaks
	default:
		h.register(w)
	}
	h.mu.Unlock()
	if !past || closed { // a registered watcher is ended by others
		return w, nil
	}
	if first, ok := w.catchUp(); !ok {
		return nil, &Error{
			Code:  EventCleared,
			Cause: fmt.Sprintf("the requested history has been cleared [%d/%d]", first, o.Since),
			Index: w.index,
		}
	}
	return w, nil
}

// Watcher hands the events of one watch to one goroutine at a time.
//
// It is either behind, reading the history at its own pace, or registered with
// the hub, which fills its queue, or ended.
type Watcher struct {
	hub       *hub
	path      string
	index     uint64
	since     uint64 // the next event of interest has this index or a higher one; changed by who is behind, or with hub.mu
	recursive bool
	stream    bool

	registered bool     // guarded by hub.mu, like the two links
	prev, next *Watcher // in the list of the topic

	wake  func()        // of the options
	ready chan struct{} // without wake: one token says that a waiting Next may go on
	mu    sync.Mutex    // guards the fields below; taken after hub.mu
	queue []*Delivery
	ended bool // nothing more will be queued
	waits bool // take has found nothing; the next change is to be told

	behind bool   // whoever calls Next or Poll reads the history from since on
	breaks uint64 // those of the hub when it fell behind
}

// Index is the etcd index of the store when the watch began.
func (w *Watcher) Index() uint64 { return w.index }

// Next waits for the next event. It returns io.EOF when there will be none: the
// one event is delivered, the queue overflowed, the history went away while it
// was being read or with a Replace, the store was closed or interrupted, the
// watcher was closed. What was queued before is delivered first. It returns the
// error of ctx when that ends first. One goroutine at a time may call Next.
func (w *Watcher) Next(ctx context.Context) (*Delivery, error) {
	for {
		d, ended, behind := w.take()
		switch {
		case d != nil:
			return d, nil
		case ended:
			return nil, io.EOF
		case behind:
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			w.catchUp()
			continue
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Poll is a Next that does not wait. It returns nil and no error when nothing is
// there yet; then, and only then, Wake of the options is called, once, as soon as
// there is something or the watch has ended. So a watch that rests needs no
// goroutine, and the one that was woken is alone until it has been told nil again.
//
// Wake is called by the applier or by Close, under locks: it must return at once and
// not use the watcher.
func (w *Watcher) Poll() (*Delivery, error) {
	for {
		d, ended, behind := w.take()
		switch {
		case d != nil:
			return d, nil
		case ended:
			return nil, io.EOF
		case !behind:
			return nil, nil
		}
		w.catchUp()
	}
}

// Close ends the watch and drops what was queued. It may be called by any
// goroutine, more than once.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.queue, w.ended = nil, true // first: a watcher that has ended does not register any more
	w.tell()
	w.mu.Unlock()
	w.hub.mu.Lock()
	w.hub.unregister(w)
	w.hub.mu.Unlock()
}

// take takes the first event of the queue. Who finds nothing and is not behind will
// be told of the next change.
func (w *Watcher) take() (d *Delivery, ended, behind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.waits = !w.ended && !w.behind
		return nil, w.ended, w.behind
	}
	d = w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	if len(w.queue) == 0 {
		w.queue = nil
	}
	return d, false, false
}

// full reports whether the queue holds limit events.
func (w *Watcher) full(limit int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) >= limit
}

// fallBehind lets a watcher that has just left its topic read the history from
// an index on, once it has taken what is queued.
func (w *Watcher) fallBehind(since, breaks uint64) {
	w.mu.Lock()
	w.behind, w.since, w.breaks = true, since, breaks
	w.tell()
	w.mu.Unlock()
}

// offer queues an event and reports whether the watcher stays registered: it
// leaves after its only event, or when its queue is full.
func (w *Watcher) offer(d *Delivery, limit int) bool {
	w.mu.Lock()
	full := len(w.queue) >= limit
	if !full && !w.ended {
		w.queue = append(w.queue, d)
	}
	if full || !w.stream {
		w.ended = true
	}
	w.tell()
	stays := !w.ended
	w.mu.Unlock()
	return stays
}

// end lets Next return io.EOF once the queue is empty.
func (w *Watcher) end() {
	w.mu.Lock()
	w.ended = true
	w.tell()
	w.mu.Unlock()
}

// tell says to the one who waits that something has changed. The caller holds mu.
func (w *Watcher) tell() {
	if !w.waits {
		return
	}
	w.waits = false
	if w.wake != nil {
		w.wake()
		return
	}
	select {
	case w.ready <- struct{}{}:
	default: // a token from a Next that was cancelled
	}
}

// catchUpEvents is how many events of the history a watcher looks at while it
// holds up the applier, and how many it queues at once.
const catchUpEvents = 64

// catchUp reads the history until it has found something, or has come to its
// end and registered. The last events and the registration are one step under
// the lock of the hub, all before are read without it. When the events of
// interest are gone it ends the watcher and returns the first index still there.
func (w *Watcher) catchUp() (first uint64, ok bool) {
	h := w.hub
	limit := min(catchUpEvents, h.queue)
	for {
		h.mu.Lock()
		if h.closed || w.since < h.past.first || w.breaks != h.breaks {
			first, ok = h.past.first, h.closed
			h.mu.Unlock()
			w.end()
			return first, ok
		}
		if h.past.next-w.since <= uint64(limit) {
			w.finish()
			h.mu.Unlock()
			return 0, true
		}
		piece := h.past.from(w.since)
		h.mu.Unlock()
		if w.search(piece, limit) {
			return 0, true
		}
	}
}

// finish reads the rest of the history and registers the watcher unless it has
// found its only event. The caller holds hub.mu.
func (w *Watcher) finish() {
	h := w.hub
	for w.since < h.past.next {
		if w.search(h.past.from(w.since), catchUpEvents) && !w.stream {
			return
		}
	}
	w.mu.Lock()
	w.behind = false
	ended := w.ended // closed meanwhile
	w.mu.Unlock()
	if !ended {
		h.register(w)
	}
}

// search queues the events of a piece that concern the watcher, limit of them
// at most or one if that is all it wants, and reports whether there were any.
func (w *Watcher) search(piece []Event, limit int) bool {
	found := 0
	for i := range piece {
		ev := &piece[i]
		w.since = ev.Index() + 1
		if !w.wants(ev) {
			continue
		}
		found++
		if !w.offer(&Delivery{Event: *ev}, limit) || found == limit {
			break
		}
	}
	return found > 0
}

// wants reports whether an event of the history concerns the watcher.
func (w *Watcher) wants(ev *Event) bool {
	path := ev.Node.Path
	switch {
	case ev.Refresh:
		return false
	case path == w.path:
		return true
	case below(w.path, path):
		return w.recursive && !hiddenBelow(w.path, path)
	default:
		return ev.removesDir() && below(path, w.path)
	}
}

// Delivery is one event on its way to the watchers that get it. Live events
// are shared by all their watchers, so nobody may change one.
type Delivery struct {
	Event Event

	once    sync.Once
	encoded []byte
}

// Encoded returns the bytes that encode makes of the event. It is called once
// for all watchers of a live event; the bytes are shared.
func (d *Delivery) Encoded(encode func(*Event) []byte) []byte {
	d.once.Do(func() { d.encoded = encode(&d.Event) })
	return d.encoded
}

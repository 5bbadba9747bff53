package store

import "context"

// WatchOptions say which events a watcher gets.
type WatchOptions struct {
	Recursive bool   // events below the path too
	Stream    bool   // go on after the first event
	Since     uint64 // first index of interest; 0 for the next event
}

// Watch begins to watch path. The error is a *Error with EventCleared.
func (s *Store) Watch(path string, o WatchOptions) (*Watcher, error) { return &Watcher{}, nil }

// Watcher hands the events of one watch to one goroutine.
type Watcher struct{ index uint64 }

// Index is the etcd index of the store when the watch began.
func (w *Watcher) Index() uint64 { return w.index }

// Next waits for the next event. It returns io.EOF when the watcher was ended
// (its one event delivered, its queue overrun, the store closed, the history
// it was reading gone), or the error of ctx.
func (w *Watcher) Next(ctx context.Context) (*Delivery, error) { return nil, ctx.Err() }

// Close ends the watch. It may be called more than once, by any goroutine.
func (w *Watcher) Close() {}

// Delivery is one event on its way to watchers.
type Delivery struct {
	Event Event
}

// Encoded returns the bytes encode makes of the event, calling it at most once for all watchers.
func (d *Delivery) Encoded(encode func(*Event) []byte) []byte { return encode(&d.Event) }

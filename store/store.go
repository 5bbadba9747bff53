// Package store is the replicated state of the server: the tree of keys, the
// history of its recent events and the watchers that wait for new ones.
//
// It is a deterministic state machine without I/O, clock or goroutine. Stores
// that apply the same ops in the same order are equal, down to the bytes of
// Dump. One goroutine, the applier, calls Apply, Cut, CutFull and Replace;
// everything else may be called from anywhere. A read holds a lock for one
// lookup only, a listing walks a snapshot that costs O(1) to take, and a watcher
// that does not keep up is ended: nobody can hold up the applier.
//
// Paths are clean and absolute. Every store has the directories "/", "/0"
// (membership), "/1" (the clients' keys) and "/2" (authentication), which no op
// may change; their indexes are 0.
package store

import (
	"sync"
	"sync/atomic"
)

// Config tunes a Store. A zero field takes the default named beside it.
//
// Members of one cluster need the same history bounds for equal dumps.
type Config struct {
	HistoryEvents int   // events kept for watches that start in the past; 100000
	HistoryBytes  int64 // bytes those events may hold, keys and values included; 64 MiB
	WatchQueue    int   // events queued for one watcher before it is ended; 1000
}

func (c Config) withDefaults() Config {
	if c.HistoryEvents <= 0 {
		c.HistoryEvents = 100_000
	}
	if c.HistoryBytes <= 0 {
		c.HistoryBytes = 64 << 20
	}
	if c.WatchQueue <= 0 {
		c.WatchQueue = 1000
	}
	return c
}

// Store is the tree of keys with its event history and its watchers.
type Store struct {
	hub    hub
	counts counters
	clock  atomic.Int64

	mu        sync.RWMutex // guards the fields below against the applier; taken after hub.mu
	nodes     tree
	deadlines tree // the nodes with a TTL, the next to expire first
	index     atomic.Uint64

	found cursor           // the way to the node that the op at hand changes; the applier's own
	dirty map[string]*Node // changed since the last Cut; the applier's own
	cut   uint64           // index of the last event handed over; the applier's own
}

// New returns a store that holds nothing but the fixed directories.
func New(cfg Config) *Store {
	s, err := NewLoader(cfg).Finish(0, Stats{}, 0)
	if err != nil {
		panic("store: an empty store does not load: " + err.Error())
	}
	return s
}

// Get reads the node at path and counts the read. The error is a *Error with
// KeyNotFound or NotDir, whose cause is the first missing component of the
// path or the file that stands in the way.
func (s *Store) Get(path string) (View, error) {
	s.mu.RLock()
	n := s.nodes.get(place{path: path})
	v := View{Node: n, Index: s.index.Load()}
	var refusal *Error
	switch {
	case n == nil:
		refusal = s.missing(path)
	case n.Dir:
		v.tree = s.nodes.snapshot()
	}
	s.mu.RUnlock()
	if refusal != nil {
		s.counts.gets.fail.Add(1)
		return View{Index: v.Index}, refusal
	}
	s.counts.gets.success.Add(1)
	return v, nil
}

// Lookup is the node at path. It counts nothing; it is for the server's own use.
func (s *Store) Lookup(path string) (*Node, bool) {
	s.mu.RLock()
	n := s.nodes.get(place{path: path})
	s.mu.RUnlock()
	return n, n != nil
}

// Snapshot is a view of the whole tree, with "/" as its Node. It counts
// nothing; it is for the server's own use.
func (s *Store) Snapshot() View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return View{Node: s.nodes.first(), Index: s.index.Load(), tree: s.nodes.snapshot()}
}

// Index is the etcd index: that of the last change.
func (s *Store) Index() uint64 { return s.index.Load() }

// Clock is the highest cluster time that any op carried, in Unix nanoseconds.
func (s *Store) Clock() int64 { return s.clock.Load() }

// NextExpiry is the earliest deadline of any node, in Unix nanoseconds of
// cluster time; ok is false when no node has a TTL.
func (s *Store) NextExpiry() (unixNano int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.deadlines.first(); n != nil {
		return n.Expires, true
	}
	return 0, false
}

// Close ends all watchers; those that begin later end at once. Reads and ops
// go on.
func (s *Store) Close() { s.hub.close() }

// Interrupt ends all watchers. It is for a member whose data turned out to be
// wrong; watches that begin later go on as ever.
func (s *Store) Interrupt() { s.hub.interrupt() }

// missing explains why there is no node at path: a component of it is missing
// or is a file. The caller keeps writers away.
func (s *Store) missing(path string) *Error {
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		switch n := s.nodes.get(place{path: path[:i]}); {
		case n == nil:
			return s.refuse(KeyNotFound, path[:i])
		case !n.Dir:
			return s.refuse(NotDir, n.Path)
		}
	}
	return s.refuse(KeyNotFound, path)
}

func (s *Store) refuse(code Code, cause string) *Error {
	return &Error{Code: code, Cause: cause, Index: s.index.Load()}
}

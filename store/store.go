package store

import (
	"sync"
	"sync/atomic"
)

// Config tunes a Store. A zero field takes the default named beside it.
type Config struct {
	HistoryEvents int   // events kept for watches that start in the past; 100000
	HistoryBytes  int64 // bytes those events may hold, keys and values included; 64 MiB
	WatchQueue    int   // events queued for one watcher before it is ended; 1000
}

// Store is the tree of keys with its event history and its watchers.
type Store struct {
	cfg   Config
	mu    sync.RWMutex
	index atomic.Uint64
}

// New returns a store that holds the empty directories "/", "/0", "/1" and "/2" at index 0.
func New(cfg Config) *Store { return &Store{cfg: cfg} }

// Apply carries out one op. Only the applier calls it. A refusal is a *Error that names the current index.
func (s *Store) Apply(op Op) (Event, error) { return Event{}, nil }

// Get reads one node and counts the read.
func (s *Store) Get(path string) (View, error) { return View{}, nil }

// Lookup reads one node without counting it.
func (s *Store) Lookup(path string) (*Node, bool) { return nil, false }

// Snapshot is a view of the whole tree, its Node being "/". It is not counted as a read.
func (s *Store) Snapshot() View { return View{} }

// Index is the etcd index of the last change.
func (s *Store) Index() uint64 { return s.index.Load() }

// Clock is the highest cluster time any op carried, in Unix nanoseconds.
func (s *Store) Clock() int64 { return 0 }

// NextExpiry is the earliest deadline of any node, in Unix nanoseconds of cluster time.
func (s *Store) NextExpiry() (unixNano int64, ok bool) { return 0, false }

// Stats reports the counters.
func (s *Store) Stats() Stats { return Stats{} }

// Close ends all watchers.
func (s *Store) Close() {}

// Package wal keeps the raft log on disk.
//
// A log is a directory of numbered segments. Records are written in groups, one
// write and one sync per group, and every group carries a CRC-32C that runs on
// from the group before. Open recognises a torn write, the group that a crash has
// left incomplete at the end, and discards it. Everything else that does not verify is
// ErrCorrupt with the file and the byte, and stays as it is for a person to look
// at. A file that was cut short is damage too: room is preallocated before a group
// is written. docs/format-wal.md draws the format.
//
// One goroutine appends (Save, Restart, Close). When Save returns nil, its
// entries, term and vote are durable. After a failure every later Save fails,
// except after ErrFull, which leaves the log as it was. Release, Bytes and
// Segments may be called from any goroutine.
package wal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/disk"
)

// Errors a caller can act on.
var (
	ErrNoLog   = errors.New("wal: no log in directory")
	ErrExists  = errors.New("wal: directory already holds a log")
	ErrCorrupt = errors.New("wal: log is damaged")
	ErrVersion = errors.New("wal: log was written by a newer version")
	ErrClosed  = errors.New("wal: log is closed")
	ErrFull    = errors.New("wal: no room for the log")
)

// Config says where a log lives. A zero field takes the default named beside it.
type Config struct {
	Dir          string       // required
	FS           disk.FS      // disk.OS()
	SegmentBytes int64        // a segment that would grow beyond is followed by a new one; 64 MiB
	Logger       *slog.Logger // discard

	// OnSync is told how long each group's write and sync took and how many
	// bytes it had. It is called by the appending goroutine; nil is allowed.
	OnSync func(took time.Duration, bytes int64)
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = disk.OS()
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// State is what a log held when it was opened.
type State struct {
	Metadata []byte            // as given to Create
	Hard     *raftpb.HardState // the last saved; never nil

	// Entries are all entries in the retained segments, in order and without
	// gaps. The first has the index PrevIndex+1, and PrevTerm is the term of its
	// predecessor. They may begin long before the newest checkpoint, and must
	// not begin after it.
	Entries             []*raftpb.Entry
	PrevIndex, PrevTerm uint64
}

// Log is an open log. It holds the directory's lock until it is closed.
type Log struct {
	cfg      Config
	lock     io.Closer
	metadata []byte

	// What the appending goroutine needs to go on.
	file     disk.File // the last segment
	head     header    // its header
	tail     position  // where the next group goes
	size     int64     // length of the file with its preallocated zeros
	hard     hardState // the last given to Save
	durable  hardState // the last on disk
	prev     uint64    // index before the first entry
	last     uint64    // index of the last entry
	lastTerm uint64    // its term
	failed   error     // the first failure; every later Save returns it
	payload  []byte    // reused: records of one group
	frame    []byte    // reused: the group as written

	releasing sync.Mutex // held by Release and Close; guards closed
	closed    bool
	mu        sync.Mutex // guards segments
	segments  []segment  // retained, oldest first; the last one is open
}

// segment is a file of the log.
type segment struct {
	name  string // without the directory
	prev  uint64 // index of the last entry before it
	bytes int64  // in use, without preallocated zeros
}

// position is the place after a group: all that the next group depends on.
type position struct {
	off   int64  // byte offset in the segment
	group uint64 // number of the next group
	sum   uint32 // chained checksum so far
}

// Create makes a new, empty log and returns it open. Metadata is opaque and is
// given back by every Open. A directory that already has a log is ErrExists.
func Create(cfg Config, metadata []byte) (*Log, error) {
	cfg = cfg.withDefaults()
	if len(metadata) > maxMetadata {
		return nil, fmt.Errorf("wal: metadata of %d bytes, want at most %d", len(metadata), maxMetadata)
	}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("wal: cannot make the log directory, check the owner and mode of its parents: %w", err)
	}
	if err := cfg.FS.SyncDir(filepath.Dir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("wal: cannot sync the parent of the log directory: %w", err)
	}
	lock, err := takeLock(cfg)
	if err != nil {
		return nil, err
	}
	l, err := create(cfg, metadata)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l.lock = lock
	return l, nil
}

func create(cfg Config, metadata []byte) (*Log, error) {
	found, err := list(cfg)
	if err != nil {
		return nil, err
	}
	if len(found.segments) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrExists, cfg.Dir)
	}
	if err := found.removeUnfinished(cfg); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, metadata: metadata}
	first := header{group: 1, metadata: metadata}
	file, size, err := l.makeSegment(&first)
	if err != nil {
		return nil, err
	}
	l.enter(first, file, size)
	return l, nil
}

// takeLock locks the directory against other processes.
func takeLock(cfg Config) (io.Closer, error) {
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("wal: %s is in use by another process, stop it first: %w", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wal: cannot lock the log, check the owner and mode of %s: %w", cfg.Dir, err)
	}
	return lock, nil
}

// Save appends a hard state and entries as one group: one write, one sync. A nil
// or empty hard state means no change. Entries whose indexes the log already has
// replace what was there from the first of them on.
//
// A commit index that moved on its own costs no write: raft can do without it,
// so it is kept until the next group or Close. After a crash the commit index may
// therefore be older than the newest checkpoint; the caller takes the larger.
//
// Where the file system reserves room, a full disk is met before anything is
// written: the error is then ErrFull, and Save may be called again.
func (l *Log) Save(hs *raftpb.HardState, entries []*raftpb.Entry) error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.fits(entries); err != nil {
		return err
	}
	before := l.hard
	if h := fromRaft(hs); h != (hardState{}) {
		l.hard = h
	}
	if len(entries) == 0 && l.hard.term == l.durable.term && l.hard.vote == l.durable.vote {
		return nil
	}
	l.payload = l.payload[:0]
	if l.hard != l.durable {
		l.payload = appendHardState(l.payload, l.hard)
	}
	for _, e := range entries {
		l.payload = appendEntry(l.payload, e)
	}
	if err := l.write(); err != nil {
		if errors.Is(err, ErrFull) {
			l.hard = before // its commit index may need these entries
			return err
		}
		return l.fail(err)
	}
	if n := len(entries); n > 0 {
		l.last, l.lastTerm = entries[n-1].GetIndex(), entries[n-1].GetTerm()
	}
	return nil
}

// fits checks that entries follow or overwrite what the log has, without a gap.
func (l *Log) fits(entries []*raftpb.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	first := entries[0].GetIndex()
	if first <= l.prev || first > l.last+1 {
		return fmt.Errorf("wal: entries begin at %d, want %d to %d", first, l.prev+1, l.last+1)
	}
	for i, e := range entries {
		if want := first + uint64(i); e.GetIndex() != want {
			return fmt.Errorf("wal: entry %d where %d was to come", e.GetIndex(), want)
		}
	}
	return nil
}

// write puts the records in l.payload on disk as one group. It begins a new segment
// if this one is full, or if its header does not promise reserved room and the disk
// has room for another.
func (l *Log) write() error {
	size := frameBytes(len(l.payload))
	if size > math.MaxUint32 {
		return fmt.Errorf("wal: group of %d bytes, want at most %d", size, uint32(math.MaxUint32))
	}
	full := l.tail.off > l.head.bytes() && l.tail.off+size > l.cfg.SegmentBytes
	if full || !l.head.reserved {
		// Not the new hard state: its commit index may need the entries of this group.
		err := l.rotate(header{prev: l.last, prevTerm: l.lastTerm, hard: l.durable})
		if err != nil && (full || !errors.Is(err, ErrFull)) {
			return err
		}
	}
	start := time.Now()
	next := l.encode(l.payload)
	if err := l.reserve(next.off); err != nil {
		return err
	}
	if err := l.put(next); err != nil {
		return err
	}
	l.durable = l.hard
	if l.cfg.OnSync != nil {
		l.cfg.OnSync(time.Since(start), size)
	}
	l.trim()
	return nil
}

// encode frames payload as the next group and returns the place after it.
func (l *Log) encode(payload []byte) position {
	var next position
	l.frame, next = appendGroup(l.frame[:0], payload, l.head.salt, l.tail)
	return next
}

// put writes l.frame at the tail and makes it durable.
func (l *Log) put(next position) error {
	if _, err := l.file.WriteAt(l.frame, l.tail.off); err != nil {
		return fmt.Errorf("wal: cannot write %s: %w", l.path(l.head.name()), err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("wal: cannot sync %s: %w", l.path(l.head.name()), err)
	}
	l.tail = next
	l.mu.Lock()
	l.segments[len(l.segments)-1].bytes = next.off
	l.mu.Unlock()
	return nil
}

// trim gives back buffers that one unusually large group has left behind.
func (l *Log) trim() {
	const keepBytes = 1 << 20
	if cap(l.payload) > keepBytes {
		l.payload, l.frame = nil, nil
	}
}

// fail remembers the first failure. What reached the disk after a failed write or
// sync is not known, and must not be built upon.
func (l *Log) fail(err error) error {
	l.failed = err
	l.cfg.Logger.Error("log can no longer be written", "dir", l.cfg.Dir, "error", err)
	return err
}

// Bytes is the size of the retained log, without preallocated room.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, s := range l.segments {
		n += s.bytes
	}
	return n
}

// Segments is the number of retained segments.
func (l *Log) Segments() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.segments)
}

// Close writes what Save has kept back, closes the files and unlocks the
// directory. The files are closed even if the write fails.
func (l *Log) Close() error {
	if errors.Is(l.failed, ErrClosed) {
		return nil
	}
	var err error
	if l.failed == nil && l.hard != l.durable {
		l.payload = appendHardState(l.payload[:0], l.hard)
		err = l.write()
	}
	l.failed = ErrClosed
	l.releasing.Lock() // a Release under way still needs the directory's lock
	defer l.releasing.Unlock()
	l.closed = true
	return errors.Join(err, l.file.Close(), l.lock.Close())
}

func (l *Log) path(name string) string { return filepath.Join(l.cfg.Dir, name) }

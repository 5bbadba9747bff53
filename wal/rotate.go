package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rotate goes on in a new segment. The successor is durable before the seal that
// promises it, and the seal before the successor's first group, so a crash in
// between leaves either no successor or an empty one.
func (l *Log) rotate(next header) error {
	next.seq, next.group, next.before = l.head.seq+1, l.tail.group+1, l.tail.sum
	next.metadata = l.metadata
	sealed := l.encode(appendSeal(nil, next.seq))
	// From the moment the successor has its name, a full disk would be in the way.
	if err := l.reserve(sealed.off); err != nil {
		return err
	}
	file, size, err := l.makeSegment(&next)
	if err != nil {
		return err
	}
	if err := l.put(sealed); err != nil {
		return errors.Join(err, file.Close())
	}
	// What was preallocated and not used goes back. Failing at that costs room
	// only.
	if err := errors.Join(l.file.Truncate(l.tail.off), l.file.Close()); err != nil {
		l.cfg.Logger.Warn("cannot give back room behind a sealed segment",
			"file", l.path(l.head.name()), "error", err)
	}
	l.enter(next, file, size)
	return nil
}

// Restart begins the log anew behind a snapshot that has been installed and is
// durable: everything up to index is superseded, all entries are dropped and the
// next one has index+1. The old segments stay until Release.
//
// A snapshot of a term proves that the term began and its index that it was
// committed, so the hard state is raised to both.
func (l *Log) Restart(index, term uint64) error {
	if l.failed != nil {
		return l.failed
	}
	if index < l.prev {
		return fmt.Errorf("wal: restart at %d, want at least %d", index, l.prev)
	}
	l.hard.commit = max(l.hard.commit, index)
	if l.hard.term < term {
		l.hard.term, l.hard.vote = term, 0
	}
	if err := l.rotate(header{restart: true, prev: index, prevTerm: term, hard: l.hard}); err != nil {
		return l.fail(err)
	}
	l.prev = index
	return nil
}

// Release deletes the segments whose entries are all at or below index: a
// checkpoint at index or later must be durable. It goes from the oldest to the
// newest and makes each step durable before the next, so that a crash leaves no
// gap. An error costs room on disk only; the next Release tries again.
func (l *Log) Release(index uint64) error {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	if l.closed {
		return ErrClosed
	}
	for {
		name, ok := l.superfluous(index)
		if !ok {
			return nil
		}
		err := l.cfg.FS.Remove(filepath.Join(l.cfg.Dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("wal: cannot remove a released segment: %w", err)
		}
		if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
			return fmt.Errorf("wal: cannot sync the log directory: %w", err)
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
		l.cfg.Logger.Info("released a segment of the log", "file", l.path(name), "index", index)
	}
}

// superfluous returns the oldest segment if a later one begins at or below index.
// Entries in the later ones that replace some of the oldest are then at or below
// index as well; see replay.entry.
func (l *Log) superfluous(index uint64) (name string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments[1:] {
		if s.prev <= index {
			return l.segments[0].name, true
		}
	}
	return "", false
}

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Exists reports whether cfg.Dir holds a log, whole or damaged. It takes no lock
// and changes nothing.
func Exists(cfg Config) (bool, error) {
	found, err := list(cfg.withDefaults())
	return len(found.segments) > 0, err
}

// Open reads a log and returns it ready for the next Save. It discards a torn
// write, with a warning in the log of the server. When Open fails, nothing on
// disk has changed: the error is ErrNoLog, ErrCorrupt or ErrVersion with the
// file, disk.ErrLocked, or what the file system said.
func Open(cfg Config) (*Log, State, error) {
	cfg = cfg.withDefaults()
	if err := look(cfg); err != nil {
		return nil, State{}, err
	}
	lock, err := takeLock(cfg)
	if err != nil {
		return nil, State{}, err
	}
	o := opening{cfg: cfg, log: replay{limit: cfg.SegmentBytes}}
	l, err := o.open()
	if err != nil {
		return nil, State{}, errors.Join(err, lock.Close())
	}
	l.lock = lock
	return l, State{
		Metadata:  o.log.metadata,
		Hard:      o.log.hard.toRaft(),
		Entries:   o.log.entries,
		PrevIndex: o.log.prev,
		PrevTerm:  o.log.prevTerm,
	}, nil
}

// look keeps the lock's file out of a directory without a log, or with that of
// another etcd, whose segments have the same names.
func look(cfg Config) error {
	found, err := list(cfg)
	if err != nil {
		return err
	}
	if len(found.segments) == 0 {
		return fmt.Errorf("%w: %s", ErrNoLog, cfg.Dir)
	}
	for _, name := range found.segments {
		if is, err := ours(cfg, name); is || err != nil {
			return err
		}
	}
	return blame(cfg, found.segments[0], errOther)
}

// ours reports whether a segment is of this kind of log, by its first bytes. One
// that is cut short within them counts, and so does one that is gone: the process
// that owns the log has released it.
func ours(cfg Config, name string) (bool, error) {
	name = filepath.Join(cfg.Dir, name)
	f, err := cfg.FS.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("wal: cannot open the log, check owner and mode: %w", err)
	}
	b := make([]byte, len(magic))
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("wal: cannot read %s: %w", name, err)
	}
	return strings.HasPrefix(magic, string(b[:n])), nil
}

// opening is one call of Open: first everything is read and judged, then the
// tail is repaired.
type opening struct {
	cfg  Config
	log  replay
	ends []end
}

// end is how a segment ends.
type end struct {
	name   string
	head   header
	at     position // behind the last whole group
	size   int64    // of the file
	torn   bool     // a torn group begins at at.off
	dirty  int64    // behind the last byte that is not zero
	seal   seal
	last   []byte // the last whole group, as it is in the file
	lastAt int64  // its offset; 0 when there is no group
}

func (o *opening) open() (*Log, error) {
	found, err := list(o.cfg)
	if err != nil {
		return nil, err
	}
	if err := found.complete(o.cfg); err != nil {
		return nil, err
	}
	for _, name := range found.foreign {
		o.cfg.Logger.Warn("ignored a file that does not belong to the log", "file", filepath.Join(o.cfg.Dir, name))
	}
	var b []byte
	for _, name := range found.segments {
		if b, err = read(o.cfg, name, b); err != nil {
			return nil, err
		}
		if err := o.log.segment(name, b); err != nil {
			return nil, blame(o.cfg, name, err)
		}
		o.note(name)
	}
	if err := o.judge(); err != nil {
		return nil, err
	}
	file, err := o.repair()
	if err != nil {
		return nil, err
	}
	if err := found.removeUnfinished(o.cfg); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := o.cfg.FS.SyncDir(o.cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: cannot sync the log directory: %w", err), file.Close())
	}
	return o.result(file), nil
}

// note keeps what is needed of the segment just read: its bytes go.
func (o *opening) note(name string) {
	s := &o.log.end
	e := end{
		name:   name,
		head:   o.log.heads[len(o.log.heads)-1],
		at:     s.at,
		size:   int64(len(s.b)),
		torn:   s.torn,
		seal:   o.log.seal,
		lastAt: s.last,
		dirty:  int64(len(bytes.TrimRight(s.b, "\x00"))),
	}
	if s.last > 0 {
		e.last = append(e.last, s.b[s.last:s.at.off]...)
	}
	o.ends = append(o.ends, e)
}

// judge checks how the segments end. A seal is written once the successor
// is durable, and the successor's first group once the seal is. So the last
// segment has no seal, and all others have one, except that the last but one may
// lack it when the last has no group yet.
func (o *opening) judge() error {
	n := len(o.ends)
	for i, e := range o.ends {
		next := e.head.seq + 1
		switch {
		case e.seal.set && e.seal.next != next:
			return blame(o.cfg, e.name, damage(e.lastAt, "the seal names segment %d, want %d", e.seal.next, next))
		case e.seal.set && e.torn:
			return blame(o.cfg, e.name, damage(e.at.off, "bytes follow the seal"))
		case e.seal.set && i == n-1:
			return blame(o.cfg, e.name, damage(e.lastAt, "the next segment, %016x-*%s, is missing", next, suffix))
		case !e.seal.set && i < n-1 && !(i == n-2 && o.ends[n-1].fresh()):
			return blame(o.cfg, e.name, damage(e.at.off, "the segment is cut short here"))
		case !e.seal.set && e.head.reserved && e.size == e.at.off:
			return blame(o.cfg, e.name, damage(e.at.off, "the file ends here, without the room that is reserved behind each group: it was cut short"))
		}
	}
	return nil
}

// fresh reports whether the segment has nothing but its header.
func (e end) fresh() bool { return e.lastAt == 0 && !e.torn }

// listing is what a log's directory holds.
type listing struct {
	segments   []string // in order
	unfinished []string // segments that never got their name
	foreign    []string
}

// list reads the directory. One that does not exist is empty. A file that looks
// like a segment without being named like one is refused: somebody meant it to be
// part of the log.
func list(cfg Config) (listing, error) {
	names, err := cfg.FS.ReadDir(cfg.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return listing{}, nil
	}
	if err != nil {
		return listing{}, fmt.Errorf("wal: cannot read the log directory, check owner and mode: %w", err)
	}
	var l listing
	for _, name := range names {
		if name == lockName {
			continue
		}
		if _, _, ok := parseName(name); ok {
			l.segments = append(l.segments, name)
			continue
		}
		base, part := strings.CutSuffix(name, unfinished)
		_, _, named := parseName(base + suffix)
		switch {
		case part && named:
			l.unfinished = append(l.unfinished, name)
		case strings.HasSuffix(name, suffix):
			return listing{}, fmt.Errorf("%w: %s looks like a segment but has no proper name: rename it back or move it elsewhere",
				ErrCorrupt, filepath.Join(cfg.Dir, name))
		default:
			l.foreign = append(l.foreign, name)
		}
	}
	return l, nil
}

// complete checks that the segments are numbered without a gap. Their names begin
// with the number, so they are in order.
func (l listing) complete(cfg Config) error {
	for i := 1; i < len(l.segments); i++ {
		before, _, _ := parseName(l.segments[i-1])
		switch seq, _, _ := parseName(l.segments[i]); {
		case seq == before:
			return fmt.Errorf("%w: %s and %s have the same number: move the wrong one elsewhere",
				ErrCorrupt, filepath.Join(cfg.Dir, l.segments[i-1]), l.segments[i])
		case seq != before+1:
			return fmt.Errorf("%w: %s is missing: %s", ErrCorrupt,
				filepath.Join(cfg.Dir, fmt.Sprintf("%016x-*%s", before+1, suffix)), advice)
		}
	}
	return nil
}

// removeUnfinished deletes what a crash left of segments being made.
func (l listing) removeUnfinished(cfg Config) error {
	for _, name := range l.unfinished {
		if err := cfg.FS.Remove(filepath.Join(cfg.Dir, name)); err != nil {
			return fmt.Errorf("wal: cannot remove an unfinished segment: %w", err)
		}
	}
	return nil
}

// advice ends the line about a damaged log.
const advice = "nothing was changed; restore the member from a backup, or remove it from the cluster and add it again"

// blame turns a fault in a segment into the line an operator reads.
func blame(cfg Config, name string, err error) error {
	var f fault
	if !errors.As(err, &f) {
		return err
	}
	path := filepath.Join(cfg.Dir, name)
	if f.kind == ErrCorrupt {
		return fmt.Errorf("%w: %s at byte %d: %s: %s", ErrCorrupt, path, f.off, f.text, advice)
	}
	return fmt.Errorf("%w: %s: %s", f.kind, path, f.text)
}

// read returns the bytes of a segment. They are in buf when it is large enough.
func read(cfg Config, name string, buf []byte) ([]byte, error) {
	name = filepath.Join(cfg.Dir, name)
	f, err := cfg.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("wal: cannot open the log, check owner and mode: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wal: cannot measure %s: %w", name, err), f.Close())
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	n, err := f.ReadAt(buf[:size], 0)
	if err == io.EOF && int64(n) == size {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wal: cannot read %s: %w", name, err), f.Close())
	}
	return buf[:size], f.Close()
}

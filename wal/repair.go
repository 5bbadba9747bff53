package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"etcd2/internal/disk"
)

// repair puts the end of the log in order and returns the last segment, open. What
// a killed process wrote may be in memory only, and after a failed sync even
// another sync would not bring it to the disk, so the last group is written
// once more.
func (o *opening) repair() (disk.File, error) {
	n := len(o.ends)
	if last := o.ends[n-1]; n > 1 && last.fresh() {
		file, err := o.repairSegment(o.ends[n-2])
		if err != nil {
			return nil, err
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("wal: cannot close segment: %w", err)
		}
	}
	return o.repairSegment(o.ends[n-1])
}

func (o *opening) repairSegment(e end) (disk.File, error) {
	name := filepath.Join(o.cfg.Dir, e.name)
	file, err := o.cfg.FS.OpenFile(name, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("wal: cannot open the log for writing, check owner and mode: %w", err)
	}
	switch {
	case e.torn:
		o.cfg.Logger.Warn("discarded an incomplete write at the end of the log",
			"file", name, "offset", e.at.off, "bytes", e.dirty-e.at.off)
	case !e.head.reserved && !e.seal.set && e.lastAt > 0 && e.size == e.at.off:
		o.cfg.Logger.Warn("the log ends without reserved room: an older server leaves it so after a torn write or on a full disk, "+
			"but a file that was cut short here looks the same", "file", name, "offset", e.at.off)
	}
	if err := o.repairTail(file, e); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: cannot repair the end of %s: %w", name, err), file.Close())
	}
	return file, nil
}

// repairTail ends with a sync, so a torn group is erased before the first new group is
// written in its place: its remains never turn up after a later one. The last byte
// of the file is written again for the same reason as the last group: it
// makes sure of the size.
func (o *opening) repairTail(file disk.File, e end) error {
	if e.torn {
		if err := erase(file, e.at.off, e.dirty); err != nil {
			return err
		}
	}
	b, at := e.last, e.lastAt
	if last := o.ends[len(o.ends)-1]; !e.seal.set && e.head.seq != last.head.seq {
		// The crash came between the successor and the seal. The torn group was this
		// very seal.
		b, _ = appendGroup(nil, appendSeal(nil, last.head.seq), e.head.salt, e.at)
		at = e.at.off
	}
	if len(b) > 0 {
		if _, err := file.WriteAt(b, at); err != nil {
			return err
		}
	}
	if e.size > max(e.at.off, at+int64(len(b))) {
		if _, err := file.WriteAt([]byte{0}, e.size-1); err != nil {
			return err
		}
	}
	return file.Sync()
}

// erase puts zeros in the place of the torn group from..to. The file keeps its size:
// a truncated one would look cut short if the process ended now. The header goes
// last. So a crash at any byte of this leaves a torn group again: either its header
// is as before and zeros have only become more, or nothing follows the header.
func erase(file disk.File, from, to int64) error {
	body := min(from+groupHeader, to)
	for _, part := range [][2]int64{{body, to}, {from, body}} {
		if err := eraseBytes(file, part[0], part[1]); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func eraseBytes(file disk.File, from, to int64) error {
	var none [64 << 10]byte
	for from < to {
		n := min(to-from, int64(len(none)))
		if _, err := file.WriteAt(none[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (o *opening) result(file disk.File) *Log {
	last := o.ends[len(o.ends)-1]
	l := &Log{
		cfg:      o.cfg,
		metadata: o.log.metadata,
		file:     file,
		head:     last.head,
		tail:     last.at,
		size:     last.size,
		hard:     o.log.hard,
		durable:  o.log.hard,
		prev:     o.log.prev,
	}
	l.last, l.lastTerm = o.log.last()
	for _, e := range o.ends {
		l.segments = append(l.segments, segment{name: e.name, prev: e.head.prev, bytes: e.at.off})
	}
	return l
}

package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"

	"etcd2/internal/disk"
)

const (
	version      = 1
	magic        = "etcd2wal"
	suffix       = ".wal"
	unfinished   = ".wal.part" // a segment that has not got its name yet
	lockName     = "lock"
	preludeBytes = 16 // magic, version and length: the same in every version
	fixedBytes   = 84 // a header without metadata and checksum
	maxMetadata  = 64 << 10
)

// The flags of a header. They are never set together: servers older than
// flagReserved take a segment for a restart only if its flags are exactly 1.
const (
	flagRestart  = 1 << iota // all earlier entries are superseded by a snapshot
	flagReserved             // the file always has preallocated zeros behind its last group
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header begins a segment and lets it stand alone: with it, the log can be read
// from here on when all earlier segments have been released.
type header struct {
	salt     uint32 // random: a stored value that imitates a group does not know it
	seq      uint64
	group    uint64 // number of the first group here
	before   uint32 // chained checksum of the previous segment, without its seal
	restart  bool   // flagRestart
	reserved bool   // flagReserved
	prev     uint64 // index of the last entry before this segment
	prevTerm uint64
	hard     hardState
	metadata []byte
}

func (h header) bytes() int64 { return int64(fixedBytes + len(h.metadata) + 4) }

// name is the file name of the segment: its number and the index of the entry
// that was to come next when it was made.
func (h header) name() string { return segmentName(h.seq, h.prev+1) }

func segmentName(seq, first uint64) string {
	return fmt.Sprintf("%016x-%016x%s", seq, first, suffix)
}

// parseName is the inverse of segmentName.
func parseName(name string) (seq, first uint64, ok bool) {
	const digits = 16
	if len(name) != 2*digits+1+len(suffix) || name[digits] != '-' || !strings.HasSuffix(name, suffix) ||
		name != strings.ToLower(name) {
		return 0, 0, false
	}
	seq, err1 := strconv.ParseUint(name[:digits], 16, 64)
	first, err2 := strconv.ParseUint(name[digits+1:2*digits+1], 16, 64)
	return seq, first, err1 == nil && err2 == nil
}

// encode returns the header as written, and its checksum, with which the chain of
// the segment begins.
func (h header) encode() ([]byte, uint32) {
	le := binary.LittleEndian
	b := make([]byte, 0, h.bytes())
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, uint32(h.bytes()))
	b = le.AppendUint32(b, h.salt)
	b = le.AppendUint64(b, h.seq)
	b = le.AppendUint64(b, h.group)
	b = le.AppendUint32(b, h.before)
	var flags uint32
	if h.restart {
		flags |= flagRestart
	}
	if h.reserved {
		flags |= flagReserved
	}
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, h.prev)
	b = le.AppendUint64(b, h.prevTerm)
	b = le.AppendUint64(b, h.hard.term)
	b = le.AppendUint64(b, h.hard.vote)
	b = le.AppendUint64(b, h.hard.commit)
	b = append(b, h.metadata...)
	sum := crc32.Checksum(b, castagnoli)
	return le.AppendUint32(b, sum), sum
}

// errOther is the fault of a segment that this package has not made.
var errOther = damage(0, "not a segment of this kind of log; a data directory of another etcd must be imported")

// parseHeader reads the header at the front of a segment and returns it with its
// checksum. A fault is reported with the byte where it is.
func parseHeader(b []byte) (header, uint32, error) {
	le := binary.LittleEndian
	if !strings.HasPrefix(magic, string(b[:min(len(b), len(magic))])) {
		return header{}, 0, errOther
	}
	if len(b) < preludeBytes {
		return header{}, 0, damage(int64(len(b)), "the file ends in the segment header: it was cut short")
	}
	n := int64(le.Uint32(b[12:]))
	if n < preludeBytes+4 || n > fixedBytes+maxMetadata+4 || n > int64(len(b)) {
		return header{}, 0, damage(12, "segment header of %d bytes in a file of %d", n, len(b))
	}
	b = b[:n]
	sum := crc32.Checksum(b[:n-4], castagnoli)
	if want := le.Uint32(b[n-4:]); sum != want {
		return header{}, 0, damage(0, "segment header has checksum %08x, want %08x", sum, want)
	}
	// Only now is the version believed: a flipped bit must not send the operator
	// looking for a newer server.
	if v := le.Uint32(b[8:]); v != version {
		return header{}, 0, fault{ErrVersion, 8, fmt.Sprintf("format %d, this server reads format %d; start the version that wrote it, or a newer one", v, version)}
	}
	if n < fixedBytes+4 {
		return header{}, 0, damage(12, "segment header of %d bytes, want %d or more", n, fixedBytes+4)
	}
	flags := le.Uint32(b[40:])
	return header{
		salt:     le.Uint32(b[16:]),
		seq:      le.Uint64(b[20:]),
		group:    le.Uint64(b[28:]),
		before:   le.Uint32(b[36:]),
		restart:  flags&flagRestart != 0,
		reserved: flags&flagReserved != 0,
		prev:     le.Uint64(b[44:]),
		prevTerm: le.Uint64(b[52:]),
		hard:     hardState{term: le.Uint64(b[60:]), vote: le.Uint64(b[68:]), commit: le.Uint64(b[76:])},
		metadata: append([]byte(nil), b[fixedBytes:n-4]...),
	}, sum, nil
}

// makeSegment makes a new, durable segment with the given header and opens it. It
// draws the header's salt, and reserves room unless the segment is a restart: that
// one holds no group but its seal. makeSegment returns the open file and its size.
func (l *Log) makeSegment(h *header) (disk.File, int64, error) {
	var salt [4]byte
	rand.Read(salt[:]) // never fails
	h.salt = binary.LittleEndian.Uint32(salt[:])
	h.reserved = !h.restart
	b, _ := h.encode()
	name := h.name()
	size, err := l.makeFile(name, b, h.reserved)
	if err != nil {
		return nil, 0, fmt.Errorf("wal: cannot make segment %s: %w", l.path(name), err)
	}
	f, err := l.cfg.FS.OpenFile(l.path(name), os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("wal: cannot open segment: %w", err)
	}
	return f, size, nil
}

// enter goes on in a segment that makeSegment has made.
func (l *Log) enter(h header, f disk.File, size int64) {
	_, sum := h.encode()
	l.file, l.head, l.size = f, h, size
	l.tail = position{off: h.bytes(), group: h.group, sum: sum}
	l.last, l.lastTerm, l.durable = h.prev, h.prevTerm, h.hard
	l.mu.Lock()
	l.segments = append(l.segments, segment{name: h.name(), prev: h.prev, bytes: h.bytes()})
	l.mu.Unlock()
}

// makeFile writes a new file under an unfinished name, makes it durable and then
// renames it. It is closed before that: Windows renames no open file. Until the
// rename a full disk leaves the log as it was. With reserved set the file gets
// preallocated zeros behind its content. makeFile returns the file's size.
func (l *Log) makeFile(name string, content []byte, reserved bool) (int64, error) {
	part := l.path(strings.TrimSuffix(name, suffix) + unfinished)
	f, err := l.cfg.FS.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, full(err)
	}
	size, err := fill(f, content, reserved, l.cfg.SegmentBytes)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, full(err)
	}
	if err := l.cfg.FS.Rename(part, l.path(name)); err != nil {
		return 0, full(err)
	}
	return size, l.cfg.FS.SyncDir(l.cfg.Dir)
}

func fill(f disk.File, content []byte, reserved bool, limit int64) (int64, error) {
	if _, err := f.WriteAt(content, 0); err != nil {
		return 0, err
	}
	size := int64(len(content))
	if reserved {
		var err error
		if size, err = allocate(f, size+spareBytes, grown(0, size+spareBytes, limit)); err != nil {
			return 0, err
		}
	}
	return size, f.Sync()
}

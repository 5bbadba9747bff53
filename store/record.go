package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrFormat is wrapped by the errors of the Parse functions. The bytes were
// not made by this package, or by a later version of it.
var ErrFormat = errors.New("store: malformed record")

// ErrVersion is wrapped, beside ErrFormat, by the error of ParseOp for a record of a
// later version. A new action or flag needs a new version, so that an earlier release
// does not take the record for a malformed one.
var ErrVersion = errors.New("store: record of a later version")

// recordVersion begins every record. A record is the version, numbers in the
// shortest varint form, and then the strings without separators, whose lengths
// are among the numbers. So equal values have equal bytes and no others, and
// all strings of a record are cut from one piece of memory.
const recordVersion = 1

// Flags of an op record.
const (
	opDir = 1 << iota
	opRecursive
	opRefresh
	opTTL
	opFlags = 1<<iota - 1
)

// AppendBinary appends the record of the op to dst.
func (op Op) AppendBinary(dst []byte) []byte {
	flags := bit(op.Dir, opDir) | bit(op.Recursive, opRecursive) | bit(op.Refresh, opRefresh) | bit(op.HasTTL, opTTL)
	dst = append(dst, recordVersion, byte(op.Action), flags)
	if op.HasTTL {
		dst = binary.AppendVarint(dst, int64(op.TTL))
	}
	dst = binary.AppendVarint(dst, op.Now)
	dst = binary.AppendUvarint(dst, op.PrevIndex)
	dst = binary.AppendUvarint(dst, uint64(len(op.Path)))
	dst = binary.AppendUvarint(dst, uint64(len(op.PrevValue)))
	dst = append(dst, op.Path...)
	dst = append(dst, op.PrevValue...)
	return append(dst, op.Value...)
}

// ParseOp reads what AppendBinary wrote. It keeps no reference to b. The
// strings of the op may share memory. The error wraps ErrFormat, and ErrVersion too
// when a later release wrote the record.
func ParseOp(b []byte) (Op, error) {
	if len(b) > 0 && b[0] > recordVersion {
		return Op{}, fmt.Errorf("%w: %w: %d, this release reads %d", ErrFormat, ErrVersion, b[0], recordVersion)
	}
	r := newReader(b)
	action, flags := Action(r.byte()), r.flags(opFlags)
	op := Op{
		Action:    action,
		Dir:       flags&opDir != 0,
		Recursive: flags&opRecursive != 0,
		Refresh:   flags&opRefresh != 0,
		HasTTL:    flags&opTTL != 0,
	}
	if op.HasTTL {
		op.TTL = time.Duration(r.varint())
	}
	op.Now = r.varint()
	op.PrevIndex = r.uvarint()
	path, prev := r.length(), r.length()
	if action < Set || action > Expire {
		r.fail("no such action")
	}
	if !r.fits(path, prev) {
		return Op{}, r.failure("op")
	}
	if prev == 0 {
		s := string(r.b)
		op.Path, op.Value = s[:path], s[path:]
	} else { // apart, so that the tree does not keep the previous value alive
		op.Path = string(r.b[:path])
		op.PrevValue, op.Value = string(r.b[path:path+prev]), string(r.b[path+prev:])
	}
	if !clean(op.Path) && (action != Expire || op.Path != "") {
		r.fail("path is not clean")
	}
	if err := r.failure("op"); err != nil {
		return Op{}, err
	}
	return op, nil
}

// Flags of a node, in a record of its own or in that of an event.
const (
	nodeDir = 1 << iota
	nodeExpires
	nodeFlags = 1<<iota - 1
)

// appendNumbers appends what a node has beside its path and value.
func (n *Node) appendNumbers(dst []byte) []byte {
	dst = append(dst, bit(n.Dir, nodeDir)|bit(n.Expires != 0, nodeExpires))
	dst = binary.AppendUvarint(dst, n.Created)
	dst = binary.AppendUvarint(dst, n.Modified)
	if n.Expires != 0 {
		dst = binary.AppendVarint(dst, n.Expires)
	}
	return dst
}

func (r *reader) numbers(n *Node) {
	flags := r.flags(nodeFlags)
	n.Dir = flags&nodeDir != 0
	n.Created, n.Modified = r.uvarint(), r.uvarint()
	if flags&nodeExpires != 0 {
		if n.Expires = r.varint(); n.Expires == 0 {
			r.fail("deadline is zero")
		}
	}
}

// AppendBinary appends the record of the node, its path included, to dst.
func (n *Node) AppendBinary(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = n.appendNumbers(dst)
	dst = binary.AppendUvarint(dst, uint64(len(n.Path)))
	dst = append(dst, n.Path...)
	return append(dst, n.Value...)
}

// ParseNode reads what AppendBinary wrote. It keeps no reference to b. Path
// and value share memory.
func ParseNode(b []byte) (*Node, error) {
	r := newReader(b)
	n := new(Node)
	r.numbers(n)
	path := r.length()
	if !r.fits(path, 0) {
		return nil, r.failure("node")
	}
	s := string(r.b)
	n.Path, n.Value = s[:path], s[path:]
	if !clean(n.Path) {
		r.fail("path is not clean")
	}
	if n.Dir && n.Value != "" {
		r.fail("directory has a value")
	}
	if err := r.failure("node"); err != nil {
		return nil, err
	}
	return n, nil
}

// Flags of an event record.
const (
	eventRefresh = 1 << iota
	eventPrev
	eventFlags = 1<<iota - 1
)

// AppendBinary appends the record of the event to dst. Node and Prev have the
// same path, which is written once.
func (e *Event) AppendBinary(dst []byte) []byte {
	flags := bit(e.Refresh, eventRefresh) | bit(e.Prev != nil, eventPrev)
	dst = append(dst, recordVersion, byte(e.Action), flags)
	dst = binary.AppendVarint(dst, e.Now)
	dst = e.Node.appendNumbers(dst)
	dst = binary.AppendUvarint(dst, uint64(len(e.Node.Path)))
	if e.Prev == nil {
		dst = append(dst, e.Node.Path...)
		return append(dst, e.Node.Value...)
	}
	dst = e.Prev.appendNumbers(dst)
	dst = binary.AppendUvarint(dst, uint64(len(e.Prev.Value)))
	dst = append(dst, e.Node.Path...)
	dst = append(dst, e.Prev.Value...)
	return append(dst, e.Node.Value...)
}

// ParseEvent reads what AppendBinary wrote. It keeps no reference to b.
func ParseEvent(b []byte) (Event, error) {
	r := newReader(b)
	e := Event{Action: Action(r.byte()), Node: new(Node)}
	flags := r.flags(eventFlags)
	e.Refresh = flags&eventRefresh != 0
	e.Now = r.varint()
	r.numbers(e.Node)
	path, prev := r.length(), 0
	if flags&eventPrev != 0 {
		e.Prev = new(Node)
		r.numbers(e.Prev)
		prev = r.length()
	}
	if e.Action < Set || e.Action > Expire || e.Action == CreateInOrder {
		r.fail("no such action")
	}
	if !r.fits(path, prev) {
		return Event{}, r.failure("event")
	}
	s := string(r.b)
	e.Node.Path, e.Node.Value = s[:path], s[path+prev:]
	if e.Prev != nil {
		e.Prev.Path, e.Prev.Value = e.Node.Path, s[path:path+prev]
	}
	if !clean(e.Node.Path) {
		r.fail("path is not clean")
	}
	if e.Node.Dir && e.Node.Value != "" || prev > 0 && e.Prev.Dir {
		r.fail("directory has a value")
	}
	if err := r.failure("event"); err != nil {
		return Event{}, err
	}
	return e, nil
}

// AppendBinary appends the record of the counters to dst. Watchers is left
// out: it is no counter.
func (s Stats) AppendBinary(dst []byte) []byte {
	dst = append(dst, recordVersion)
	for _, f := range s.fields() {
		dst = binary.AppendUvarint(dst, *f)
	}
	return dst
}

// ParseStats reads what AppendBinary wrote.
func ParseStats(b []byte) (Stats, error) {
	r := newReader(b)
	var s Stats
	for _, f := range s.fields() {
		*f = r.uvarint()
	}
	if len(r.b) > 0 {
		r.fail("something follows")
	}
	return s, r.failure("counters")
}

func bit(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}

// reader reads a record. After a failure it returns zeros.
type reader struct {
	b    []byte
	what string // the first failure
}

func newReader(b []byte) reader {
	r := reader{b: b}
	if v := r.byte(); v != recordVersion {
		r.fail(fmt.Sprintf("version is %d, not %d", v, recordVersion))
	}
	return r
}

func (r *reader) fail(what string) {
	if r.what == "" {
		r.what = what
	}
	r.b = nil
}

// failure is the error to return, nil when there was no failure.
func (r *reader) failure(record string) error {
	if r.what == "" {
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrFormat, record, r.what)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("too short")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) flags(known byte) byte {
	f := r.byte()
	if f&^known != 0 {
		r.fail("unknown flag")
		return 0
	}
	return f
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("malformed number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// length reads a length that an int can hold.
func (r *reader) length() int {
	u := r.uvarint()
	if u > math.MaxInt32 {
		r.fail("length does not fit")
		return 0
	}
	return int(u)
}

// fits reports whether strings of two lengths are there; more may follow.
func (r *reader) fits(a, b int) bool {
	if r.what == "" && len(r.b)-a < b {
		r.fail("too short")
	}
	return r.what == ""
}

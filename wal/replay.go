package wal

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// replay builds the state of a log from its segments, oldest first.
type replay struct {
	metadata []byte
	hard     hardState
	prev     uint64
	prevTerm uint64
	entries  []*raftpb.Entry
	make     entryMaker
	limit    int64  // Config.SegmentBytes
	arena    []byte // room for records; entries keep slices of it

	heads []header
	end   scan // of the last segment read
	seal  seal // of the last segment read

	restarted bool // prev is where a snapshot superseded the log
}

// seal ends a segment and promises its successor.
type seal struct {
	set  bool
	next uint64   // the number of the successor
	at   position // where the seal is
}

// segment reads one more segment from the bytes of its file. The scan behind its
// last whole group stays in r.end.
func (r *replay) segment(name string, b []byte) error {
	h, sum, err := parseHeader(b)
	if err != nil {
		return err
	}
	if err := r.follows(name, h); err != nil {
		return err
	}
	if len(r.heads) == 0 || h.restart {
		r.prev, r.prevTerm, r.entries, r.restarted = h.prev, h.prevTerm, nil, h.restart
	}
	r.heads = append(r.heads, h)
	r.metadata, r.hard = h.metadata, h.hard
	r.seal = seal{}
	r.end = begin(b, h, sum, r.limit)
	for {
		before := r.end.at
		g, err := r.end.next()
		if err != nil || g == nil {
			return err
		}
		if r.seal.set {
			return damage(before.off, "a group follows the seal")
		}
		if err := r.group(g, before); err != nil {
			return damage(before.off, "group %d: %v", before.group, err)
		}
	}
}

// follows checks a header against the name of its file and the segment before.
func (r *replay) follows(name string, h header) error {
	if name != h.name() {
		return damage(0, "the header belongs to %s", h.name())
	}
	if len(r.heads) == 0 {
		return nil
	}
	at := r.end.at // behind the last group but the seal
	if r.seal.set {
		at = r.seal.at
	}
	if h.before != at.sum || h.group != at.group+1 || string(h.metadata) != string(r.metadata) {
		return damage(0, "the segment does not go on where %s ends", r.heads[len(r.heads)-1].name())
	}
	return nil
}

// group reads the records of one group, which began at the given place.
func (r *replay) group(g []byte, at position) error {
	payload, err := appendPayload(r.room(len(g)), g)
	if err != nil {
		return err
	}
	r.arena = r.arena[len(payload):]
	c := cursor{b: payload}
	for len(c.b) > 0 && !c.short {
		if err := r.record(&c, at); err != nil {
			return err
		}
	}
	if c.short {
		return errShort
	}
	return nil
}

// room returns an empty slice at the head of the arena with room for n bytes.
// Big groups get memory of their own, so that one of them does not keep its
// neighbours alive.
func (r *replay) room(n int) []byte {
	const block = 64 << 10
	if n > len(r.arena) {
		r.arena = make([]byte, max(n, min(block, len(r.end.b))))
	}
	return r.arena[:0:n]
}

func (r *replay) record(c *cursor, at position) error {
	switch kind := c.take(1)[0]; {
	case kind == recordHardState:
		h := hardState{term: c.uvarint(), vote: c.uvarint(), commit: c.uvarint()}
		if !c.short {
			r.hard = h
		}
	case kind == recordSeal:
		r.seal = seal{set: true, next: c.uvarint(), at: at}
	case kind >= recordEntry && kind <= recordEntryLast:
		term, index := c.uvarint(), c.uvarint()
		data := c.take(c.uvarint())
		if c.short {
			return errShort
		}
		return r.entry(raftpb.EntryType(kind-recordEntry), term, index, data)
	default:
		return fmt.Errorf("record of unknown kind %#02x", kind)
	}
	return nil
}

// entry puts an entry in its place; what was there and behind is superseded.
//
// Once segments are released, it may replace an entry of one that is gone. The
// log then ended, at the next segment or at the release, no further than the
// checkpoint that the release stood on. So this entry is covered by the checkpoint
// too, and the log goes on behind it.
func (r *replay) entry(kind raftpb.EntryType, term, index uint64, data []byte) error {
	if 0 < index && index <= r.prev && !r.restarted {
		r.prev, r.prevTerm, r.entries = index, term, nil
		return nil
	}
	next := r.prev + uint64(len(r.entries)) + 1
	if index <= r.prev || index > next {
		return fmt.Errorf("entry %d where %d to %d can be", index, r.prev+1, next)
	}
	r.entries = append(r.entries[:index-r.prev-1], r.make.entry(kind, term, index, data))
	return nil
}

// last returns index and term of the last entry.
func (r *replay) last() (index, term uint64) {
	if n := len(r.entries); n > 0 {
		return r.entries[n-1].GetIndex(), r.entries[n-1].GetTerm()
	}
	return r.prev, r.prevTerm
}

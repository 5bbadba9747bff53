package peer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Which fields a message has. Absent and zero are different things to protobuf,
// and raft gets back exactly what was sent.
const (
	hasType = 1 << iota
	hasTo
	hasFrom
	hasTerm
	hasLogTerm
	hasIndex
	hasCommit
	hasVote
	hasRejectHint
	hasReject
	rejected // the value of reject
	hasContext
	hasEntries
	hasSnapshot
	messageBits = iota
)

// Which fields an entry has, and which of them need no bytes because they follow
// from the entry before, or from the message for the first.
const (
	entryType     = 1 << iota // the type follows
	entryNormal               // the type is there and normal
	entryTerm                 // the term follows
	entrySameTerm             // the term is there and that of the one before
	entryIndex                // the index follows
	entryNext                 // the index is there and the one before plus one
	entryData                 // data follows
	entryBits     = iota
)

// entriesMax bounds the entries of one message, whose decoded form is a hundred
// times larger than the smallest encoded one. Raft's default of 1 MiB for a
// message allows no more.
const entriesMax = 1 << 18

// appendMessage adds the encoded message to b. It carries every field but
// responses, which raft only uses within a member.
//
// It is written by hand because encoding and decoding with protobuf takes four times
// as long: it allocates each number of each entry by itself.
func appendMessage(b []byte, m *raftpb.Message) []byte {
	var has uint16
	at := len(b)
	b = append(b, 0, 0)
	if m.Type != nil {
		has |= hasType
		b = binary.AppendUvarint(b, uint64(*m.Type))
	}
	b = appendFixed(b, m.To, &has, hasTo)
	b = appendFixed(b, m.From, &has, hasFrom)
	b = appendNumber(b, m.Term, &has, hasTerm)
	b = appendNumber(b, m.LogTerm, &has, hasLogTerm)
	b = appendNumber(b, m.Index, &has, hasIndex)
	b = appendNumber(b, m.Commit, &has, hasCommit)
	b = appendFixed(b, m.Vote, &has, hasVote)
	b = appendNumber(b, m.RejectHint, &has, hasRejectHint)
	if m.Reject != nil {
		has |= hasReject
		if *m.Reject {
			has |= rejected
		}
	}
	if m.Context != nil {
		has |= hasContext
		b = appendBytes(b, m.Context)
	}
	if len(m.Entries) > 0 {
		has |= hasEntries
		b = appendEntries(b, m.Entries, m.GetTerm(), m.GetIndex())
	}
	if m.Snapshot != nil {
		has |= hasSnapshot
		b = appendSnapshot(b, m.Snapshot)
	}
	binary.LittleEndian.PutUint16(b[at:], has)
	return b
}

func appendNumber(b []byte, v *uint64, has *uint16, bit uint16) []byte {
	if v == nil {
		return b
	}
	*has |= bit
	return binary.AppendUvarint(b, *v)
}

// appendFixed is for IDs: they are random, so a short form would be a longer one.
func appendFixed(b []byte, v *uint64, has *uint16, bit uint16) []byte {
	if v == nil {
		return b
	}
	*has |= bit
	return binary.LittleEndian.AppendUint64(b, *v)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

func appendEntries(b []byte, entries []*raftpb.Entry, term, index uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for _, e := range entries {
		var has byte
		at := len(b)
		b = append(b, 0)
		switch {
		case e.Type == nil:
		case *e.Type == raftpb.EntryNormal:
			has |= entryNormal
		default:
			has |= entryType
			b = binary.AppendUvarint(b, uint64(*e.Type))
		}
		switch {
		case e.Term == nil:
		case *e.Term == term:
			has |= entrySameTerm
		default:
			has |= entryTerm
			term = *e.Term
			b = binary.AppendUvarint(b, term)
		}
		index++
		switch {
		case e.Index == nil:
		case *e.Index == index:
			has |= entryNext
		default:
			has |= entryIndex
			index = *e.Index
			b = binary.AppendUvarint(b, index)
		}
		if e.Data != nil {
			has |= entryData
			b = appendBytes(b, e.Data)
		}
		b[at] = has
	}
	return b
}

// appendSnapshot leaves the rare snapshot to protobuf. Marshalling a message that
// holds no text cannot fail.
func appendSnapshot(b []byte, s *raftpb.Snapshot) []byte {
	b = binary.AppendUvarint(b, uint64(proto.Size(s)))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, s)
	if err != nil {
		panic(fmt.Sprintf("peer: snapshot %v does not encode: %v", s, err))
	}
	return b
}

// decodedMessage is a message together with what its fields point to.
type decodedMessage struct {
	message raftpb.Message
	kind    raftpb.MessageType
	numbers struct{ to, from, term, logTerm, index, commit, vote, rejectHint uint64 }
	reject  bool
}

// decodedEntry is an entry together with what its fields point to.
type decodedEntry struct {
	entry       raftpb.Entry
	kind        raftpb.EntryType
	term, index uint64
}

// decodeMessage reads what appendMessage wrote. A private payload becomes part of
// the message; of another one the message keeps nothing.
func decodeMessage(payload []byte, private bool) (*raftpb.Message, error) {
	r := &reader{rest: payload, private: private}
	has := r.mask()
	if has>>messageBits != 0 {
		return nil, fmt.Errorf("%w: message with unknown fields %#x", errFrame, has)
	}
	d := new(decodedMessage)
	m, n := &d.message, &d.numbers
	if has&hasType != 0 {
		d.kind = raftpb.MessageType(r.enum())
		m.Type = &d.kind
	}
	m.To = r.fixed(has&hasTo, &n.to)
	m.From = r.fixed(has&hasFrom, &n.from)
	m.Term = r.number(has&hasTerm, &n.term)
	m.LogTerm = r.number(has&hasLogTerm, &n.logTerm)
	m.Index = r.number(has&hasIndex, &n.index)
	m.Commit = r.number(has&hasCommit, &n.commit)
	m.Vote = r.fixed(has&hasVote, &n.vote)
	m.RejectHint = r.number(has&hasRejectHint, &n.rejectHint)
	if has&hasReject != 0 {
		d.reject = has&rejected != 0
		m.Reject = &d.reject
	}
	if has&hasContext != 0 {
		m.Context = bytes.Clone(r.bytes())
	}
	if has&hasEntries != 0 {
		m.Entries = r.entries(n.term, n.index)
	}
	if has&hasSnapshot != 0 {
		m.Snapshot = new(raftpb.Snapshot)
		if err := proto.Unmarshal(r.bytes(), m.Snapshot); err != nil {
			return nil, fmt.Errorf("%w: snapshot: %w", errFrame, err)
		}
	}
	if r.failed || len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: message of %d bytes is broken at byte %d", errFrame, len(payload), len(payload)-len(r.rest))
	}
	return m, nil
}

// reader takes a payload apart. Once it has failed everything it returns is zero.
type reader struct {
	rest    []byte
	private bool
	failed  bool
}

func (r *reader) mask() uint16 {
	if len(r.rest) < 2 {
		r.failed = true
		return 0
	}
	has := binary.LittleEndian.Uint16(r.rest)
	r.rest = r.rest[2:]
	return has
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// enum reads the number of an enumeration, which protobuf keeps in 32 bits.
func (r *reader) enum() int32 {
	v := r.uvarint()
	if v > math.MaxInt32 {
		r.failed = true
		return 0
	}
	return int32(v)
}

func (r *reader) number(has uint16, into *uint64) *uint64 {
	if has == 0 {
		return nil
	}
	*into = r.uvarint()
	return into
}

func (r *reader) fixed(has uint16, into *uint64) *uint64 {
	if has == 0 {
		return nil
	}
	if len(r.rest) < 8 {
		r.failed, r.rest = true, nil
		return into
	}
	*into = binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return into
}

// bytes returns the next run of bytes, which is part of the payload and cannot
// grow into what follows. It is not nil unless the reader has failed.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.failed || n > uint64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	data := r.rest[:n:n]
	r.rest = r.rest[n:]
	return data
}

// entries reads the entries of a message of this term and index. They share one
// piece of memory, and so does their data: entries leave the log in the order
// they came, so little is kept for the sake of a neighbour.
func (r *reader) entries(term, index uint64) []*raftpb.Entry {
	count := r.uvarint()
	if r.failed || count > entriesMax || count > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	if !r.private {
		r.rest, r.private = bytes.Clone(r.rest), true
	}
	slab := make([]decodedEntry, count)
	list := make([]*raftpb.Entry, count)
	for i := range slab {
		d := &slab[i]
		list[i] = &d.entry
		r.entry(d, &term, &index)
		if r.failed {
			return nil
		}
	}
	return list
}

// entry reads one entry behind one of this term and index.
func (r *reader) entry(d *decodedEntry, term, index *uint64) {
	if len(r.rest) == 0 || r.rest[0]>>entryBits != 0 {
		r.failed = true
		return
	}
	has := r.rest[0]
	r.rest = r.rest[1:]
	e := &d.entry
	if has&entryType != 0 {
		d.kind = raftpb.EntryType(r.enum())
	}
	if has&(entryType|entryNormal) != 0 {
		e.Type = &d.kind
	}
	if has&entryTerm != 0 {
		*term = r.uvarint()
	}
	if has&(entryTerm|entrySameTerm) != 0 {
		d.term = *term
		e.Term = &d.term
	}
	*index++
	if has&entryIndex != 0 {
		*index = r.uvarint()
	}
	if has&(entryIndex|entryNext) != 0 {
		d.index = *index
		e.Index = &d.index
	}
	if has&entryData != 0 {
		e.Data = r.bytes()
	}
}

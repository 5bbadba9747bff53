package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A group is what one Save wrote:
//
//	magic, length, number, sum, header checksum   24 bytes
//	mark and up to 255 bytes of records           repeated
//	end                                           1 byte
//
// The marks tell a torn group from a damaged one. A write that did
// not finish leaves zeros where it did not happen: at the end, or in whole
// sectors. In a group that was finished, the first byte, the last byte, the byte
// after the header and at least one byte of every sector in between are known to
// have several bits set, so no single flipped bit can make it look unfinished.
const (
	groupMagic   = "grp\xb7"
	groupHeader  = 24
	pieceBytes   = 255
	markByte     = 0xa5
	endByte      = 0x5a
	sectorBytes  = 512             // what a drive writes whole or not at all
	headerMarked = groupHeader + 1 // the header and the first mark
)

// frameBytes is the size of the group that holds payload bytes of records.
func frameBytes(payload int) int64 {
	pieces := (payload + pieceBytes - 1) / pieceBytes
	return int64(groupHeader + pieces + payload + 1)
}

// appendGroup frames payload, which is not empty, as the group that goes at the
// given place, and returns the place after it.
func appendGroup(b, payload []byte, salt uint32, at position) ([]byte, position) {
	le := binary.LittleEndian
	start := len(b)
	size := frameBytes(len(payload))
	b = append(b, groupMagic...)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint64(b, at.group)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	for len(payload) > 0 {
		n := min(len(payload), pieceBytes)
		b = append(b, markByte)
		b = append(b, payload[:n]...)
		payload = payload[n:]
	}
	b = append(b, endByte)
	g := b[start:]
	sum := chain(at.sum, g)
	le.PutUint32(g[16:], sum)
	le.PutUint32(g[20:], headerSum(g, salt))
	return b, position{off: at.off + size, group: at.group + 1, sum: sum}
}

// chain carries the running checksum over a group, except over the two checksums
// in its own header.
func chain(sum uint32, group []byte) uint32 {
	sum = crc32.Update(sum, castagnoli, group[:16])
	return crc32.Update(sum, castagnoli, group[groupHeader:])
}

func headerSum(group []byte, salt uint32) uint32 {
	return crc32.Update(salt, castagnoli, group[:20])
}

// groupSize returns the length a group at the front of b has by its header. It is
// false when there is no valid header.
func groupSize(b []byte, salt uint32) (int64, bool) {
	if len(b) < groupHeader || string(b[:len(groupMagic)]) != groupMagic {
		return 0, false
	}
	if binary.LittleEndian.Uint32(b[20:]) != headerSum(b, salt) {
		return 0, false
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	return size, size > headerMarked
}

// scan is a walk over the groups of one segment.
type scan struct {
	b    []byte // the whole file
	salt uint32 // of the segment
	at   position
	last int64 // offset of the group before at; 0 when there is none
	torn bool  // set by next at the end: a torn group begins at at

	reserved bool  // the header's flag
	limit    int64 // Config.SegmentBytes
	room     int64 // what a server without the flag had reserved when it wrote the group before at
}

// begin returns the scan of a segment from its first group on.
func begin(b []byte, h header, sum uint32, limit int64) scan {
	return scan{
		b:        b,
		salt:     h.salt,
		at:       position{off: h.bytes(), group: h.group, sum: sum},
		reserved: h.reserved,
		limit:    limit,
		room:     h.bytes(),
	}
}

// next returns the group at s.at, whole and verified, and goes behind it. At the
// end of the segment it returns nil, and sets s.torn if a torn group is there.
// What is neither a group nor the trace of a torn one is a fault.
func (s *scan) next() ([]byte, error) {
	rest := s.b[s.at.off:]
	size, ok := groupSize(rest, s.salt)
	if ok {
		if number := binary.LittleEndian.Uint64(rest[8:]); number != s.at.group {
			return nil, damage(s.at.off, "group %d where group %d was to come", number, s.at.group)
		}
	}
	if ok && size <= int64(len(rest)) {
		g := rest[:size]
		if sum := chain(s.at.sum, g); sum == binary.LittleEndian.Uint32(g[16:]) {
			s.last = s.at.off
			s.at = position{off: s.at.off + size, group: s.at.group + 1, sum: sum}
			if s.at.off > s.room {
				s.room = grown(s.room, s.at.off, s.limit)
			}
			return g, nil
		}
	}
	if zeros(rest) {
		return nil, nil
	}
	if later := laterGroup(rest, s.salt, s.at.group); later > 0 {
		return nil, damage(s.at.off, "group %d is damaged, and another follows at byte %d", s.at.group, s.at.off+later)
	}
	if !ok {
		size = 0
	}
	if s.endsIn(rest, size) {
		if s.reserved || int64(len(s.b)) != s.room {
			return nil, damage(s.at.off, "group %d is not whole, and the file ends at byte %d: it was cut short", s.at.group, len(s.b))
		}
		// Older servers did not sync the size that they had reserved for the group. A
		// power failure left the size before it.
		s.torn = true
		return nil, nil
	}
	if !torn(rest, size, s.at.off) {
		return nil, damage(s.at.off, "group %d is damaged", s.at.group)
	}
	s.torn = true
	return nil, nil
}

// endsIn reports whether the file is too short for the group that begins rest, and
// for the spare room behind it. Its size is 0 when it has no valid header.
func (s *scan) endsIn(rest []byte, size int64) bool {
	if size == 0 {
		size = frameBytes(1)
	}
	if s.reserved {
		size += spareBytes
	}
	return int64(len(rest)) < size
}

// laterGroup returns where in b the header of a group behind the given one is, or
// 0. A group is begun only after the sync of the one before it has returned, so
// what precedes a header cannot be torn.
func laterGroup(b []byte, salt uint32, group uint64) int64 {
	for at := 1; ; at++ {
		i := bytes.Index(b[at:], []byte(groupMagic))
		if i < 0 {
			return 0
		}
		at += i
		if _, ok := groupSize(b[at:], salt); ok && binary.LittleEndian.Uint64(b[at+8:]) > group {
			return int64(at)
		}
	}
}

// torn reports whether b, the rest of a segment from offset off on, begins with a
// group that was not written to its end. Its size is 0 when it has no valid
// header; then only the bytes up to the first mark are known to belong to it, but
// it goes on behind them. The file holds all of the group.
func torn(b []byte, size, off int64) bool {
	known := size > 0
	if !known {
		size = headerMarked
	}
	if zeros(b[size:]) {
		return b[size-1] == 0 || hole(b, size, off, !known)
	}
	return !known && hole(b, size, off, true)
}

// hole reports whether a sector that b[:size] touches was not written: the part
// of it in the group reads as zeros. If the group goes on behind size, that part
// ends with the sector.
func hole(b []byte, size, off int64, goesOn bool) bool {
	for at := int64(0); at < size; {
		end := at + sectorBytes - (off+at)%sectorBytes
		part := min(end, size)
		if goesOn {
			part = min(end, int64(len(b)))
		}
		if zeros(b[at:part]) {
			return true
		}
		at = end
	}
	return false
}

// appendPayload takes the records out of a verified group.
func appendPayload(b, group []byte) ([]byte, error) {
	body := group[groupHeader : len(group)-1]
	for len(body) > 0 {
		n := min(len(body), pieceBytes+1)
		if body[0] != markByte {
			return nil, fmt.Errorf("mark is %02x, want %02x", body[0], markByte)
		}
		b = append(b, body[1:n]...)
		body = body[n:]
	}
	if end := group[len(group)-1]; end != endByte {
		return nil, fmt.Errorf("end is %02x, want %02x", end, endByte)
	}
	return b, nil
}

// zeros reports whether b has no bit set.
func zeros(b []byte) bool {
	var none [4096]byte
	for len(b) > len(none) {
		if !bytes.Equal(b[:len(none)], none[:]) {
			return false
		}
		b = b[len(none):]
	}
	return bytes.Equal(b, none[:len(b)])
}

// fault is something wrong in a segment, at a byte of it.
type fault struct {
	kind error // ErrCorrupt or ErrVersion
	off  int64
	text string
}

func (f fault) Error() string { return fmt.Sprintf("at byte %d: %s", f.off, f.text) }
func (f fault) Unwrap() error { return f.kind }

func damage(off int64, format string, args ...any) error {
	return fault{ErrCorrupt, off, fmt.Sprintf(format, args...)}
}

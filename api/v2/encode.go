package v2

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"etcd2/store"
)

// moment is the time at which an answer shows TTLs and expirations, in Unix nanoseconds.
type moment struct {
	now    int64 // cluster time from which TTLs count
	offset int64 // what to add to cluster time to get wall time
	floor  int64 // no expiration is shown before this wall time
}

// moment returns the present moment. While there is no leader cluster time stands still,
// so the deadline of a key that still exists may lie before the wall time; it is shown as
// now.
func (h *handler) moment() moment {
	return moment{now: h.Now(), offset: h.WallOffset(), floor: time.Now().UnixNano()}
}

// appendEvent appends the JSON of an event and a newline. TTLs count from the
// event's own time, so every member and every watcher sees the same bytes. offset is
// that of moment.
func appendEvent(dst []byte, e *store.Event, offset int64) []byte {
	at := moment{now: e.Now, offset: offset}
	dst = appendAction(dst, e.Action)
	dst = append(dst, `,"node":`...)
	dst = appendNode(dst, e.Node, at, !removes(e.Action))
	if e.Prev != nil {
		dst = append(dst, `,"prevNode":`...)
		dst = appendNode(dst, e.Prev, at, true)
	}
	return append(dst, "}\n"...)
}

// encodeEvent makes the bytes that all watchers of an event share: those of the
// event as one chunk, and of the end of the answer behind it.
func encodeEvent(e *store.Event, offset int64) []byte {
	const sizeRoom = len("ffffffff\r\n")
	size := 200 + len(e.Node.Path) + len(e.Node.Value)
	if e.Prev != nil {
		size += 200 + len(e.Prev.Path) + len(e.Prev.Value)
	}
	b := appendEvent(make([]byte, sizeRoom, size), e, offset)
	var room [sizeRoom]byte
	head := append(strconv.AppendInt(room[:0], int64(len(b)-sizeRoom), 16), "\r\n"...)
	copy(b[sizeRoom-len(head):], head)
	b = append(append(b, "\r\n"...), lastChunk...)
	return b[sizeRoom-len(head):]
}

// eventChunk is an encoded event without the end of the answer.
func eventChunk(encoded []byte) []byte { return encoded[:len(encoded)-len(lastChunk)] }

// eventText is an encoded event without the chunked coding.
func eventText(encoded []byte) []byte {
	start := bytes.IndexByte(encoded, '\n') + 1
	return encoded[start : len(encoded)-len("\r\n"+lastChunk)]
}

// removes reports whether the node of the event is gone, and has no value.
func removes(a store.Action) bool {
	return a == store.Delete || a == store.CompareAndDelete || a == store.Expire
}

// appendAction begins an event.
func appendAction(dst []byte, a store.Action) []byte {
	dst = append(dst, `{"action":"`...)
	dst = append(dst, a.String()...)
	return append(dst, '"')
}

// appendNode appends the JSON of a node without children.
func appendNode(dst []byte, n *store.Node, at moment, withValue bool) []byte {
	return closeNode(openNode(dst, n, at, withValue), n)
}

// openNode appends the members of a node that come before its children.
func openNode(dst []byte, n *store.Node, at moment, withValue bool) []byte {
	dst = append(dst, '{')
	start := len(dst)
	if len(n.Path) > len("/1") {
		dst = append(dst, `"key":`...)
		dst = appendString(dst, n.Path[len("/1"):])
	}
	switch {
	case n.Dir:
		dst = comma(dst, start)
		dst = append(dst, `"dir":true`...)
	case withValue:
		dst = comma(dst, start)
		dst = append(dst, `"value":`...)
		dst = appendString(dst, n.Value)
	}
	if n.Expires != 0 {
		dst = comma(dst, start)
		dst = append(dst, `"expiration":"`...)
		dst = time.Unix(0, max(n.Expires+at.offset, at.floor)).UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
		if ttl := ttlSeconds(n.Expires - at.now); ttl != 0 {
			dst = append(dst, `,"ttl":`...)
			dst = strconv.AppendInt(dst, ttl, 10)
		}
	}
	return dst
}

// closeNode appends the members of a node that come after its children. Only
// the root has no indexes.
func closeNode(dst []byte, n *store.Node) []byte {
	if n.Modified != 0 {
		dst = append(dst, `,"modifiedIndex":`...)
		dst = strconv.AppendUint(dst, n.Modified, 10)
	}
	if n.Created != 0 {
		dst = append(dst, `,"createdIndex":`...)
		dst = strconv.AppendUint(dst, n.Created, 10)
	}
	return append(dst, '}')
}

// comma appends one unless the object that began at start is still empty.
func comma(dst []byte, start int) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return dst
}

// ttlSeconds rounds the nanoseconds left up. What is overdue by less than a
// second is 0, more is negative.
func ttlSeconds(left int64) int64 {
	s := left / int64(time.Second)
	if left%int64(time.Second) > 0 {
		s++
	}
	return s
}

const hexDigits = "0123456789abcdef"

// asIs marks the ASCII bytes that stand for themselves in a JSON string.
var asIs = func() (table [utf8.RuneSelf]bool) {
	for b := byte(' '); b < utf8.RuneSelf; b++ {
		table[b] = b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
	}
	return table
}()

// asIsLen is the length of a beginning of s, not always the longest, whose bytes
// all stand for themselves. It looks at eight bytes at a time.
func asIsLen(s string) int {
	const ones = 0x0101010101010101
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// A difference borrows into the top bit of its byte when the byte is too
		// small: below a blank, or zero after the exclusive or with a special
		// character. One bit more or less joins < to > and " to &.
		angle := (w | 0x02*ones) ^ '>'*ones
		quote := (w | 0x04*ones) ^ '&'*ones
		slash := w ^ '\\'*ones
		odd := w | (w - ' '*ones) | (angle - ones) | (quote - ones) | (slash - ones)
		if odd&(0x80*ones) != 0 {
			return i
		}
	}
	for ; i < len(s); i++ {
		if b := s[i]; b >= utf8.RuneSelf || !asIs[b] {
			break
		}
	}
	return i
}

// appendString appends s as a JSON string, escaped as encoding/json does it:
// HTML's special characters, U+2028 and U+2029 as \u escapes, and the six
// characters \ufffd for each byte that is not UTF-8.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what has not been copied yet
	for i := asIsLen(s); i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if asIs[b] {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscaped(dst, b)
			i++
			start = i
			i += asIsLen(s[i:])
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscaped appends the escape of one ASCII byte.
func appendEscaped(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xf])
}

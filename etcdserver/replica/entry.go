package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	"etcd2/store"
	"etcd2/version"
)

// A normal log entry is a byte that names its kind, the request id of the member
// that asked for it, the cluster time at which the leader proposed it (8 bytes each,
// big endian) and a body. A leader's first entry of a term is empty.
//
// A later release that needs another kind gives it a number above these. The body then
// begins with the release that introduced it, such as "0.2.0": the length of the text in
// one byte, then the text. This release stops at such an entry and names the release it needs.
const (
	kindWrite   = 2 // the body is an operation as package store encodes it, without its time
	kindBarrier = 3 // a place in the log at which the members compare their trees; no body
	kindNewest  = kindBarrier

	entryTime   = 1 + 8
	entryHeader = 1 + 8 + 8
)

// ErrMalformed is wrapped by the refusals of entries that no release writes. Such an
// entry changes nothing.
var ErrMalformed = errors.New("etcdserver: log entry of an unknown form")

// entry is a decoded normal entry.
type entry struct {
	kind byte
	id   uint64   // of the request
	op   store.Op // of kindWrite, with its time
}

// EncodeWrite returns the entry of a write. Its time is written by Stamp.
func EncodeWrite(request uint64, op store.Op) []byte {
	op.Now = 0
	buf := make([]byte, entryHeader, entryHeader+64+len(op.Path)+len(op.Value)+len(op.PrevValue))
	buf[0] = kindWrite
	binary.BigEndian.PutUint64(buf[1:], request)
	return op.AppendBinary(buf)
}

// EncodeBarrier returns an entry at which the members compare their trees.
func EncodeBarrier() []byte {
	buf := make([]byte, entryHeader)
	buf[0] = kindBarrier
	return buf
}

// Stamp writes the cluster time, Unix nanoseconds, into an encoded entry.
func Stamp(data []byte, now int64) {
	binary.BigEndian.PutUint64(data[entryTime:], uint64(now))
}

// StampOf returns the cluster time of an encoded entry; false when it has none.
func StampOf(data []byte) (now int64, ok bool) {
	if len(data) < entryHeader || data[0] != kindWrite && data[0] != kindBarrier {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(data[entryTime:])), true
}

// RequestOf returns the request id of an encoded write; false for any other entry.
func RequestOf(data []byte) (request uint64, ok bool) {
	if len(data) < entryHeader || data[0] != kindWrite {
		return 0, false
	}
	return binary.BigEndian.Uint64(data[1:]), true
}

// decodeEntry returns a *FormatError for an entry of a later release, and an error
// that wraps ErrMalformed for one that no release writes. The request id is set in
// either case if there is one.
func decodeEntry(data []byte) (entry, error) {
	if len(data) < entryHeader {
		return entry{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	e := entry{kind: data[0], id: binary.BigEndian.Uint64(data[1:])}
	body := data[entryHeader:]
	switch {
	case e.kind > kindNewest:
		return e, &FormatError{Format: fmt.Sprintf("format %d", e.kind), Needs: neededRelease(body)}
	case e.kind == kindBarrier:
		return e, nil
	case e.kind != kindWrite:
		return e, fmt.Errorf("%w: kind %d", ErrMalformed, e.kind)
	}
	var err error
	if e.op, err = store.ParseOp(body); err != nil {
		if errors.Is(err, store.ErrVersion) {
			return e, &FormatError{Format: fmt.Sprintf("an operation of version %d", body[0])}
		}
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e.op.Now = int64(binary.BigEndian.Uint64(data[entryTime:]))
	return e, nil
}

// neededRelease reads the release that the body of a later kind begins with, "" when
// there is none.
func neededRelease(body []byte) string {
	if len(body) == 0 || int(body[0]) >= len(body) {
		return ""
	}
	text := string(body[1 : 1+int(body[0])])
	if _, err := version.Parse(text); err != nil {
		return ""
	}
	return text
}

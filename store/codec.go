package store

import "errors"

// ErrFormat is wrapped by every error of the Parse functions.
var ErrFormat = errors.New("store: malformed record")

// AppendKey appends the sort key of path: as long as the path, and the byte
// order of keys is tree order (a directory, all below it, its next sibling).
func AppendKey(dst []byte, path string) []byte {
	for i := range len(path) {
		b := path[i]
		switch {
		case b == '/':
			b = 0
		case b < '/':
			b++
		}
		dst = append(dst, b)
	}
	return dst
}

// AppendBinary appends the record of the op.
func (op Op) AppendBinary(dst []byte) []byte { return dst }

// ParseOp reads what AppendBinary wrote.
func ParseOp(b []byte) (Op, error) { return Op{}, ErrFormat }

// AppendBinary appends the record of the node, its path included.
func (n *Node) AppendBinary(dst []byte) []byte { return dst }

// ParseNode reads what AppendBinary wrote.
func ParseNode(b []byte) (*Node, error) { return nil, ErrFormat }

// AppendBinary appends the record of the event, node and previous node included.
func (e *Event) AppendBinary(dst []byte) []byte { return dst }

// ParseEvent reads what AppendBinary wrote.
func ParseEvent(b []byte) (Event, error) { return Event{}, ErrFormat }

// AppendBinary appends the record of the counters; Watchers is left out.
func (s Stats) AppendBinary(dst []byte) []byte { return dst }

// ParseStats reads what AppendBinary wrote.
func ParseStats(b []byte) (Stats, error) { return Stats{}, ErrFormat }

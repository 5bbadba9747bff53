package peer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	// writesMax and batchBytes bound what is forwarded in one frame, so that
	// heartbeats find a gap and a receiver need not take much on trust.
	writesMax  = 1 << 14
	batchBytes = 1 << 20
)

// item is what waits to be sent: a message or forwarded writes.
type item struct {
	message *raftpb.Message
	writes  [][]byte
	bytes   int // about its size on the wire
}

// urgent tells whether the item may overtake others. Appends may not overtake each
// other, or the follower refuses the later one; heartbeats and votes must not
// wait behind megabytes of them.
func (i item) urgent() bool {
	return i.message != nil && i.message.GetType() != raftpb.MsgApp
}

// messageBytes is about what a message needs on the wire.
func messageBytes(m *raftpb.Message) int {
	n := 64 + len(m.Context)
	for _, e := range m.Entries {
		n += 16 + len(e.Data)
	}
	return n
}

// batch returns how many of the writes go into the next frame, at least one, and
// about their size.
func batch(writes [][]byte) (n, size int) {
	for n, w := range writes {
		if n > 0 && (n >= writesMax || size+len(w) > batchBytes) {
			return n, size
		}
		size += len(w) + binary.MaxVarintLen32
	}
	return len(writes), size
}

// appendWrites adds encoded writes to b.
func appendWrites(b []byte, writes [][]byte) []byte {
	for _, w := range writes {
		b = appendBytes(b, w)
	}
	return b
}

// decodeWrites reads what appendWrites wrote. A private payload becomes part of
// the writes; of another one they keep nothing.
func decodeWrites(payload []byte, private bool) ([][]byte, error) {
	if !private {
		payload = slices.Clone(payload)
	}
	r := &reader{rest: payload}
	var writes [][]byte
	for len(r.rest) > 0 {
		writes = append(writes, r.bytes())
		if r.failed || len(writes) > writesMax {
			return nil, fmt.Errorf("%w: writes are broken after %d", errFrame, len(writes))
		}
	}
	return writes, nil
}

// queue is what waits for one member. It is open while there is a stream.
type queue struct {
	messagesMax, bytesMax int
	wake                  chan struct{} // capacity 1: one wake-up covers all that waits

	mu       sync.Mutex // guards the fields below
	open     bool
	urgent   []item
	bulk     []item
	messages int // items of bulk, those that were taken and not yet released too
	bytes    int // their bytes
}

func newQueue(messagesMax, bytesMax int) *queue {
	return &queue{messagesMax: messagesMax, bytesMax: bytesMax, wake: make(chan struct{}, 1)}
}

// push adds an item, or returns false when there is no stream or no room.
func (q *queue) push(i item) bool {
	q.mu.Lock()
	if !q.open || i.bytes > frameBytesMax || i.message != nil && len(i.message.Entries) > entriesMax {
		q.mu.Unlock()
		return false
	}
	if i.urgent() {
		if len(q.urgent) >= q.messagesMax {
			q.mu.Unlock()
			return false
		}
		q.urgent = append(q.urgent, i)
	} else {
		// One item always fits, however large.
		if q.messages >= q.messagesMax || q.messages > 0 && q.bytes+i.bytes > q.bytesMax {
			q.mu.Unlock()
			return false
		}
		q.messages++
		q.bytes += i.bytes
		q.bulk = append(q.bulk, i)
	}
	q.mu.Unlock()
	signal(q.wake)
	return true
}

// take adds everything that waits to the two slices. What was bulk counts against
// the bounds until it is released.
func (q *queue) take(urgent, bulk []item) (_, _ []item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	urgent, bulk = append(urgent, q.urgent...), append(bulk, q.bulk...)
	clear(q.urgent)
	clear(q.bulk)
	q.urgent, q.bulk = q.urgent[:0], q.bulk[:0]
	return urgent, bulk
}

// release makes room for as much again.
func (q *queue) release(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages -= messages
	q.bytes -= bytes
}

// begin opens the queue, which is empty, for a stream.
func (q *queue) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = true
	q.messages, q.bytes = 0, 0
}

// shut lets nothing in from now on. What waits is for the stream to take.
func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = false
}

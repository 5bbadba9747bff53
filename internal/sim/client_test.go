package sim_test

import (
	"errors"
	"fmt"
	"slices"

	"etcd2/etcdserver/replica"
	"etcd2/store"
)

// request is a client's write or quorum read of one key. Action Get is a read;
// an Expire is the leader's own and concerns all keys.
type request struct {
	id     uint64
	op     store.Op
	stamp  int64 // cluster time at which it was applied, Unix nanoseconds
	floor  uint64
	until  int // step at which the client gives up
	call   int64
	ret    int64 // 0 while there is no answer
	answer answer

	round, readIndex uint64 // of a read
}

// answer is what a client gets to see.
type answer struct {
	code     store.Code // zero for a success
	index    uint64     // etcd index
	exists   bool       // after it
	value    string
	modified uint64 // of the event, or of the node that was read
	prev     uint64 // modified index of the node that was replaced, 0 for none
}

func look(s *store.Store, key string) answer {
	a := answer{index: s.Index()}
	if node, ok := s.Lookup(key); ok {
		a.exists, a.value, a.modified = true, node.Value, node.Modified
	}
	return a
}

func answerOf(effects replica.Effects) answer {
	var refusal *store.Error
	if errors.As(effects.Refused, &refusal) {
		return answer{code: refusal.Code, index: refusal.Index}
	}
	a, ev := answer{index: effects.Index}, effects.Event
	if ev.Node != nil {
		a.exists = ev.Action != store.Delete && ev.Action != store.CompareAndDelete
		a.value, a.modified = ev.Node.Value, ev.Node.Modified
	}
	if ev.Prev != nil {
		a.prev = ev.Prev.Modified
	}
	return a
}

// proposal is a request on its way to the log, as encoded.
type proposal []byte

func (w proposal) id() uint64 {
	id, _ := replica.RequestOf(w)
	return id
}

// keys are few, so that requests meet; one is hidden, one lies deeper.
func keys() []string { return []string{"/1/a", "/1/b", "/1/d/c", "/1/_h"} }

// maxWaiting bounds the requests of each kind that wait at a member.
const maxWaiting = 6

// write lets a client of the member write something.
func (c *cluster) write(m *machine) {
	for id, q := range m.writes {
		if c.step > q.until {
			delete(m.writes, id) // nobody knows what became of it
		}
	}
	if len(m.writes) >= maxWaiting {
		return
	}
	for range 1 + c.rng.IntN(3) {
		op := c.op(keys()[c.rng.IntN(len(keys()))])
		q := c.history.begin(op)
		q.until = c.step + 500 + c.rng.IntN(1500)
		m.writes[q.id] = q
		m.queue = append(m.queue, replica.EncodeWrite(q.id, op))
	}
	m.flush()
}

// op draws what a write does.
func (c *cluster) op(key string) store.Op {
	op := store.Op{Action: store.Set, Path: key}
	switch c.rng.IntN(12) {
	case 0:
		op.Action = store.Delete
		return op
	case 1, 2:
		op.HasTTL, op.TTL = true, c.ttl()
	case 3, 4, 5:
		op.Action, op.PrevIndex = store.CompareAndSwap, look(c.history.truth.Tree(), key).modified
		if op.PrevIndex == 0 {
			op.Action = store.Create
		}
	case 6:
		op.Action, op.PrevIndex = store.CompareAndDelete, max(look(c.history.truth.Tree(), key).modified, 1)
		return op
	case 7:
		op.Refresh, op.HasTTL, op.TTL = true, true, c.ttl()
		return op
	case 8:
		op.Action = store.Update
	}
	op.Value = fmt.Sprintf("%-40d", len(c.history.requests)+1)
	return op
}

// flush hands the queue to the leader: into the log, or on its way.
func (m *machine) flush() {
	for m.up && len(m.queue) > 0 && m.core.Leader() != 0 {
		n := min(len(m.queue), 3)
		batch := m.queue[:n:n]
		if m.core.IsLeader() {
			if m.propose(batch) != nil {
				return // busy
			}
		} else {
			m.cluster.post(parcel{from: m.id, to: m.core.Leader(), writes: batch})
			m.cluster.forwards++
		}
		m.queue = m.queue[n:]
	}
}

// propose stamps writes and puts them into the log, all or none.
func (m *machine) propose(batch []proposal) error {
	data := make([][]byte, len(batch))
	for i, w := range batch {
		data[i] = slices.Clone(w)
		m.stamp(data[i])
	}
	err := m.core.Propose(data)
	m.pump()
	return err
}

// takeForwarded is what a member does with the writes of another one.
func (m *machine) takeForwarded(p parcel) {
	if m.propose(p.writes) != nil {
		m.cluster.refusals++
		m.cluster.post(parcel{from: m.id, to: p.from, writes: p.writes, refused: true})
	}
}

// takeBack queues again what was certainly not taken, if somebody still waits.
func (m *machine) takeBack(writes []proposal) {
	for _, w := range writes {
		if m.writes[w.id()] != nil {
			m.refused = append(m.refused, w)
		}
	}
}

// read lets a client of the member read with a quorum.
func (c *cluster) read(m *machine) {
	if len(m.reads) >= maxWaiting {
		return
	}
	round, ok := m.core.ReadIndex()
	if !ok {
		return
	}
	q := c.history.begin(store.Op{Action: store.Get, Path: keys()[c.rng.IntN(len(keys()))]})
	q.round = round
	m.reads = append(m.reads, q)
}

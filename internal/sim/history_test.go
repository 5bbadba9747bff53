package sim_test

import (
	"bytes"
	"hash/fnv"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/store"
)

// request is a client's write or quorum read of one key.
type request struct {
	id    uint64
	key   string
	write bool
	floor uint64 // the highest log position that was seen by a client before this began

	round, readIndex uint64 // of a read
}

// history knows everything that became visible to anybody, and judges it.
//
// Each finished request has a position in the log: a write that of its entry, a
// read that of the state it saw. Requests are linearizable when a request that
// begins after another has ended never has a smaller position, and every read
// sees what the entries up to its position make of its key.
type history struct {
	c       *cluster
	truth   *store.Store // fed with each entry when it is first applied
	entries []entry      // entries[i] has index i+1
	dumps   map[uint64]uint64
	highest uint64   // position of the latest among the finished requests
	acks    []uint64 // positions of the finished writes, in that order
	ids     map[uint64]uint64
	reads   int
}

type entry struct {
	term, id uint64
	data     []byte
	keys     map[string]value // after it, where it differs from before; nil for none
}

// value is what a read sees.
type value struct {
	text     string
	modified uint64
	exists   bool
}

func newHistory(c *cluster) *history {
	return &history{c: c, truth: store.New(storeConfig()), dumps: map[uint64]uint64{}, ids: map[uint64]uint64{}}
}

func look(s *store.Store, key string) value {
	node, ok := s.Lookup(key)
	if !ok {
		return value{}
	}
	return value{node.Value, node.Modified, true}
}

// commit is called for every entry that a member is about to apply.
func (h *history) commit(m *machine, e *raftpb.Entry) {
	i := e.GetIndex() - 1
	if i < uint64(len(h.entries)) {
		if got := h.entries[i]; got.term != e.GetTerm() || !bytes.Equal(got.data, e.GetData()) {
			h.c.t.Fatalf("%v: member %d applies another entry at %d: term %d, was %d", h.c, m.id, e.GetIndex(), e.GetTerm(), got.term)
		}
		return
	}
	if i > uint64(len(h.entries)) {
		h.c.t.Fatalf("%v: member %d applies %d, nobody has applied %d", h.c, m.id, e.GetIndex(), len(h.entries)+1)
	}
	copies := 0
	for _, other := range h.c.members {
		if other.holds(e.GetIndex(), e.GetTerm()) {
			copies++
		}
	}
	if copies <= len(h.c.members)/2 || !m.holds(e.GetIndex(), e.GetTerm()) {
		h.c.t.Fatalf("%v: member %d applies %d with %d durable copies", h.c, m.id, e.GetIndex(), copies)
	}
	id, op := decode(h.c.t, e)
	next := entry{term: e.GetTerm(), id: id, data: e.GetData(), keys: map[string]value{}}
	if id != 0 {
		if at := h.ids[id]; at != 0 {
			h.c.t.Fatalf("%v: request %d is applied at %d and again at %d", h.c, id, at, e.GetIndex())
		}
		h.ids[id] = e.GetIndex()
		before := h.truth.Index()
		_, _ = h.truth.Apply(op)
		if h.truth.Index() < before {
			h.c.t.Fatalf("%v: index goes back from %d to %d", h.c, before, h.truth.Index())
		}
	}
	for _, key := range keys() {
		next.keys[key] = look(h.truth, key)
	}
	h.entries = append(h.entries, next)
	if e.GetIndex()%dumpEvery == 0 {
		h.dumps[e.GetIndex()] = sum(h.c, h.truth)
	}
}

// dumpEvery is the number of entries from one comparison of trees to the next.
const dumpEvery = 16

// compare checks that a member's tree is that of everybody else at this index.
func (h *history) compare(m *machine) {
	if m.applied%dumpEvery != 0 {
		return
	}
	if got, want := sum(h.c, m.store), h.dumps[m.applied]; got != want {
		h.c.t.Fatalf("%v: member %d has another tree at %d", h.c, m.id, m.applied)
	}
}

func sum(c *cluster, s *store.Store) uint64 {
	h := fnv.New64a()
	if err := s.Dump(h); err != nil {
		c.t.Fatalf("%v: dump: %v", c, err)
	}
	return h.Sum64()
}

// begin stamps a request.
func (h *history) begin(q *request) { q.floor = h.highest }

// finish is the moment at which a client sees the outcome of its request.
func (h *history) finish(m *machine, q *request, position uint64) {
	if position < q.floor || q.write && position == q.floor {
		h.c.t.Fatalf("%v: request %d (%+v) at member %d has position %d, a client had seen %d before it began",
			h.c, q.id, *q, m.id, position, q.floor)
	}
	h.highest = max(h.highest, position)
	h.c.trace("done", m.id, q.id, position)
	if q.write {
		h.acks = append(h.acks, position)
		return
	}
	h.reads++
	if got, want := look(m.store, q.key), h.entries[position-1].keys[q.key]; got != want {
		h.c.t.Fatalf("%v: member %d reads %s = %+v at %d, want %+v", h.c, m.id, q.key, got, position, want)
	}
}

// end checks a cluster that has come to rest: nothing acknowledged is missing
// anywhere, and all trees are equal.
func (h *history) end() {
	for _, m := range h.c.members {
		if m.applied != uint64(len(h.entries)) {
			h.c.t.Fatalf("%v: member %d has applied %d of %d", h.c, m.id, m.applied, len(h.entries))
		}
		if sum(h.c, m.store) != sum(h.c, h.truth) {
			h.c.t.Fatalf("%v: member %d ends with another tree", h.c, m.id)
		}
		if m.store.Index() != h.truth.Index() {
			h.c.t.Fatalf("%v: member %d ends at index %d, want %d", h.c, m.id, m.store.Index(), h.truth.Index())
		}
	}
	for _, at := range h.acks {
		if at > uint64(len(h.entries)) {
			h.c.t.Fatalf("%v: acknowledged position %d is gone", h.c, at)
		}
	}
}

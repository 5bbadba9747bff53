package sim_test

import (
	"bytes"
	"hash/fnv"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/store"
)

// history knows everything that became visible to anybody, and judges it: the
// log by itself, the trees by that of a store of its own, and what clients saw by
// the two and, after the run, by a linearizability checker.
//
// Each finished request has a position in the log: a write that of its entry, a
// read that of the state it saw. A request that begins after another has ended
// never has a smaller position. That holds across keys, where the checker looks
// at one key at a time, and fails at the very step.
type history struct {
	c       *cluster
	truth   *replica.Replica // fed with each entry when it is first applied
	entries []entry          // entries[i] has index i+1
	events  []store.Event
	dumps   map[uint64]uint64
	roster  roster // after all entries
	before  roster // before the last change

	moments   int64      // counts calls and answers
	requests  []*request // by id - 1
	outcomes  map[uint64]outcome
	deadlines *deadlines
	highest   uint64   // position of the latest among the finished requests
	acks      []uint64 // positions of the finished writes, in that order
	reads     int
}

// entry is what was applied at one position of the log.
type entry struct {
	term   uint64
	data   []byte
	roster roster // after it
}

// outcome is what an entry did.
type outcome struct {
	position uint64
	answer   answer
	expired  map[string]uint64 // by key, the index of the event
}

func newHistory(c *cluster) *history {
	h := &history{
		c: c, dumps: map[uint64]uint64{}, outcomes: map[uint64]outcome{}, deadlines: newDeadlines(c),
	}
	var err error
	if h.truth, err = replica.New(store.New(storeConfig()), replica.Position{}, nil); err != nil {
		c.Fatalf("%v", err)
	}
	return h
}

// term is that of the last entry.
func (h *history) term() uint64 {
	if len(h.entries) == 0 {
		return 0
	}
	return h.entries[len(h.entries)-1].term
}

// commit is called for every entry that a member is about to apply.
func (h *history) commit(m *machine, e *raftpb.Entry) {
	i := e.GetIndex() - 1
	if i < uint64(len(h.entries)) {
		if got := h.entries[i]; got.term != e.GetTerm() || !bytes.Equal(got.data, e.GetData()) {
			h.c.Fatalf("member %d applies another entry at %d: term %d, was %d", m.id, e.GetIndex(), e.GetTerm(), got.term)
		}
		return
	}
	if i > uint64(len(h.entries)) {
		h.c.Fatalf("member %d applies %d, nobody has applied %d", m.id, e.GetIndex(), len(h.entries)+1)
	}
	if !m.holds(e.GetIndex(), e.GetTerm()) || !h.decided(e, h.roster) && !h.decided(e, h.before) {
		h.c.Fatalf("member %d applies %d, which is not durable on a quorum", m.id, e.GetIndex())
	}
	effects, err := h.truth.Apply(e)
	if err != nil {
		h.c.Fatalf("entry %d cannot be applied: %v", e.GetIndex(), err)
	}
	if effects.Malformed {
		h.c.Fatalf("entry %d is one that nobody may propose: %v", e.GetIndex(), effects.Refused)
	}
	expired := h.collect(e)
	h.deadlines.applied(e, effects, expired)
	switch {
	case e.GetType() == raftpb.EntryConfChange:
		h.change(e, effects)
	case effects.Request > 0:
		h.apply(e, effects, expired)
	}
	h.entries = append(h.entries, entry{term: e.GetTerm(), data: e.GetData(), roster: h.roster})
	if e.GetIndex()%dumpEvery == 0 {
		h.dumps[e.GetIndex()] = sum(h.c, h.truth.Tree())
	}
}

// decided tells whether a quorum has made an entry durable. A leader counts by
// the changes that it has applied, of which the last may be missing.
func (h *history) decided(e *raftpb.Entry, r roster) bool {
	if e.GetTerm() == 1 {
		return true // the founding entries, which everybody begins with
	}
	copies := 0
	for _, id := range r.voters {
		if h.c.machines[id-1].holds(e.GetIndex(), e.GetTerm()) {
			copies++
		}
	}
	return len(r.voters) > 0 && copies >= r.quorum()
}

// collect takes the events of an entry, and returns those that were expiries, by key.
func (h *history) collect(e *raftpb.Entry) map[string]uint64 {
	expired := map[string]uint64{}
	for _, run := range h.truth.Tree().Cut().Events {
		for _, ev := range run {
			h.events = append(h.events, ev)
			if ev.Index() != uint64(len(h.events)) {
				h.c.Fatalf("entry %d makes event %d after %d events", e.GetIndex(), ev.Index(), len(h.events)-1)
			}
			if ev.Action == store.Expire {
				expired[ev.Node.Path] = ev.Index()
			}
		}
	}
	return expired
}

// apply notes the outcome of a write.
func (h *history) apply(e *raftpb.Entry, effects replica.Effects, expired map[string]uint64) {
	id := effects.Request
	if was, twice := h.outcomes[id]; twice {
		h.c.Fatalf("request %d is applied at %d and again at %d", id, was.position, e.GetIndex())
	}
	h.requests[id-1].stamp = effects.Time
	h.outcomes[id] = outcome{position: e.GetIndex(), answer: answerOf(effects), expired: expired}
}

// change notes the outcome of a change of members.
func (h *history) change(e *raftpb.Entry, effects replica.Effects) {
	if effects.Request > 0 {
		ch := h.c.changes[effects.Request-1]
		if ch.applied {
			h.c.Fatalf("change %d is applied again at %d", effects.Request, e.GetIndex())
		}
		ch.applied, ch.accepted = true, effects.Refused == nil
	}
	if effects.Change == nil {
		return
	}
	if effects.Change.Kind == membership.Add {
		h.c.machines[effects.Change.Member.ID-1].awaited = false
	}
	h.before, h.roster = h.roster, rosterOf(h.truth)
}

// dumpEvery is the number of entries from one comparison of trees to the next.
const dumpEvery = 16

// compare checks that a member's tree is that of everybody else at this index.
func (h *history) compare(m *machine) {
	if m.applied%dumpEvery != 0 {
		return
	}
	if got, want := sum(h.c, m.store()), h.dumps[m.applied]; got != want {
		h.c.Fatalf("member %d has another tree at %d", m.id, m.applied)
	}
}

// compareConf checks that raft has the members at a member that the log tells of.
func (h *history) compareConf(m *machine) {
	if want := h.entries[m.applied-1].roster; !want.is(m.conf) {
		h.c.Fatalf("member %d has configuration %v at %d, want %+v", m.id, m.conf, m.applied, want)
	}
}

func sum(c *cluster, s *store.Store) uint64 {
	h := fnv.New64a()
	if err := s.Dump(h); err != nil {
		c.Fatalf("dump: %v", err)
	}
	return h.Sum64()
}

// moment is later than all before.
func (h *history) moment() int64 {
	h.moments++
	return h.moments
}

// begin notes a request.
func (h *history) begin(op store.Op) *request {
	q := &request{id: uint64(len(h.requests) + 1), op: op, floor: h.highest, call: h.moment()}
	h.requests = append(h.requests, q)
	return q
}

// finish is the moment at which a client sees the outcome of its request.
func (h *history) finish(m *machine, q *request, position uint64) {
	write := q.op.Action != store.Get
	if position < q.floor || write && position == q.floor {
		h.c.Fatalf("request %d (%+v) at member %d has position %d, a client had seen %d before it began",
			q.id, *q, m.id, position, q.floor)
	}
	q.ret = h.moment()
	h.highest = max(h.highest, position)
	h.c.trace("done", m.id, q.id, position)
	if write {
		h.acks = append(h.acks, position)
	} else {
		h.reads++
	}
}

// end checks a cluster that has come to rest: nothing acknowledged is missing
// anywhere, all trees are equal, and clients saw what one store would have shown.
func (h *history) end() {
	for _, m := range h.c.members() {
		if m.applied != uint64(len(h.entries)) {
			h.c.Fatalf("member %d has applied %d of %d", m.id, m.applied, len(h.entries))
		}
		if sum(h.c, m.store()) != sum(h.c, h.truth.Tree()) {
			h.c.Fatalf("member %d ends with another tree", m.id)
		}
		if m.store().Index() != h.truth.Tree().Index() {
			h.c.Fatalf("member %d ends at index %d, want %d", m.id, m.store().Index(), h.truth.Tree().Index())
		}
		if !h.roster.is(m.conf) {
			h.c.Fatalf("member %d ends with configuration %v, want %+v", m.id, m.conf, h.roster)
		}
	}
	for _, q := range h.requests {
		if _, kept := h.outcomes[q.id]; q.ret > 0 && q.op.Action != store.Get && !kept {
			h.c.Fatalf("request %d was acknowledged and is gone", q.id)
		}
	}
	if i := slices.IndexFunc(h.c.changes, func(ch *change) bool { return ch.answered && !ch.applied }); i >= 0 {
		h.c.Fatalf("change %d was acknowledged and is gone", i+1)
	}
	for _, v := range h.c.viewers {
		v.end()
	}
	h.checkLinearizable()
}

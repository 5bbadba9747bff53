package sim_test

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/raftnode"
	"etcd2/store"
)

// stepTime is how much real time one step of a run stands for: about what makes a
// tick of three members 100 ms.
const stepTime = 4 * time.Millisecond

// driftPPM is by how much a monotonic clock is fast or slow at most, in millionths.
const driftPPM = 10_000

// real is the true time, which no machine knows, in nanoseconds.
func (c *cluster) real() int64 { return int64(c.step) * int64(stepTime) }

// localClock is the monotonic and the wall clock of one machine. They start anywhere
// and go by real time, a little too fast or too slow.
type localClock struct {
	mono, wall int64
	ppm        int64
	read       int64 // real time of the last reading
	stands     int64 // the clocks stand still until this real time
}

func newLocalClock(c *cluster) localClock {
	return localClock{
		mono: c.rng.Int64N(1e15),
		wall: c.rng.Int64N(4e18),
		ppm:  c.rng.Int64N(2*driftPPM+1) - driftPPM,
	}
}

// advance moves both clocks up to the present.
func (l *localClock) advance(real int64) {
	passed := real - max(l.read, min(l.stands, real))
	l.read = real
	passed += passed / 1_000_000 * l.ppm
	l.mono += passed
	l.wall += passed
}

func (m *machine) mono() int64 {
	m.clocks.advance(m.cluster.real())
	return m.clocks.mono
}

func (m *machine) wall() int64 {
	m.clocks.advance(m.cluster.real())
	return m.clocks.wall
}

// disturbClock sets the wall clock of a machine, or lets both its clocks stand still.
func (c *cluster) disturbClock(m *machine) {
	m.mono()
	if c.rng.IntN(2) == 0 {
		m.clocks.wall += c.rng.Int64N(2e12) - 1e12
	} else {
		m.clocks.stands = c.real() + c.rng.Int64N(3e9)
	}
}

// role is what raft says of the leader.
type role struct {
	term, leader uint64
	leads        bool
}

// heartbeat is cluster time as one leader has shown it.
type heartbeat = replica.Reading

// startClock is what a start does to the clock.
func (m *machine) startClock() {
	m.clocks.mono = m.cluster.rng.Int64N(1e15) // of another boot
	m.clock, m.role, m.heard, m.fresh, m.expiry = replica.Clock{}, role{}, nil, heartbeat{}, 0
	m.clock.Restore(m.note)
	m.clock.Applied(replica.Reading{Time: m.store().Clock()}, m.mono())
	m.fresh = m.note
}

// followRole tells the clock of a new leader, before anything is proposed under it.
func (m *machine) followRole() {
	now := role{m.core.Term(), m.core.Leader(), m.core.IsLeader()}
	if now == m.role {
		return
	}
	was := m.role
	m.role = now
	if !now.leads {
		if was.leads {
			m.noteHeard(heartbeat{Term: was.term, Time: m.clock.Now(m.mono())})
		}
		m.clock.Follow(now.term, now.leader != 0, m.mono())
		return
	}
	lastTerm, earlier := m.core.Earlier()
	last := replica.LastShown(lastTerm, m.applied, m.store().Clock(), earlier)
	m.clock.Lead(now.term, last, m.wall(), m.mono())
	m.judgeLead(lastTerm)
}

// judgeLead compares the time from which a member leads with all that its log and
// the leader of its last entry have shown to it.
func (m *machine) judgeLead(lastTerm uint64) {
	if m.excluded {
		return
	}
	m.cluster.leads++
	var log int64
	_, earlier := m.core.Earlier()
	for e := range earlier {
		if at, ok := replica.StampOf(e.GetData()); ok && e.GetType() == raftpb.EntryNormal {
			log = max(log, at)
		}
	}
	log = max(log, m.store().Clock())
	most := log
	for _, h := range append(m.heard, m.note) {
		if h.Term == lastTerm {
			most = max(most, h.Time)
		}
	}
	least := log
	if m.fresh.Term == lastTerm {
		least = max(least, m.fresh.Time)
	}
	got := m.clock.Now(m.mono())
	if most == 0 && got == m.wall() {
		return // nothing has ever shown a time to this member
	}
	if got < least || got > most {
		m.cluster.Fatalf("member %d leads term %d from cluster time %d; its log shows %d, the leader of term %d up to %d",
			m.id, m.role.term, got, log, lastTerm, most)
	}
	if most > log {
		m.cluster.continued++
	}
}

// takePayload takes the payload of a message that raft has accepted.
func (m *machine) takePayload(msg *raftpb.Message) {
	payload := raftnode.Payload(msg)
	if payload == nil {
		return
	}
	m.clock.Heartbeat(msg.GetTerm(), payload, m.core.LastTerm(), m.mono())
	if shown, ok := replica.TimeOf(payload); ok && !m.core.IsLeader() {
		m.noteHeard(heartbeat{Term: msg.GetTerm(), Time: shown})
	}
}

// noteHeard remembers what a leader has shown, for the judge.
func (m *machine) noteHeard(h heartbeat) {
	m.heard = append(m.heard, h)
	last := m.core.LastTerm()
	switch {
	case h.Term == last && m.fresh.Term == last:
		m.fresh.Time = max(m.fresh.Time, h.Time)
	case h.Term == last:
		m.fresh = h
	case m.fresh.Term != last:
		m.fresh = heartbeat{}
	}
}

// addPayload puts the leader's time into its heartbeats.
func (m *machine) addPayload(ms []*raftpb.Message) {
	if payload := m.clock.Payload(m.wall(), m.mono()); payload != nil {
		raftnode.SetPayload(ms, payload)
	}
}

// stamp gives an entry the time of the leader.
func (m *machine) stamp(data []byte) {
	now := m.clock.Now(m.mono())
	replica.Stamp(data, now)
	id, _ := replica.RequestOf(data)
	m.cluster.history.deadlines.stamped[stamp{id, now}] = m.cluster.real()
}

// notePeriod is how often a member notes cluster time on its disk.
const notePeriod = int64(10 * time.Second)

// keepTime is what a member does for time at each turn: it notes it, and proposes
// expiry when that is due.
func (m *machine) keepTime() {
	if !m.up || m.excluded {
		return
	}
	if m.cluster.real() >= m.noteDue {
		m.noteTime()
	}
	next, ok := m.store().NextExpiry()
	wait, may := m.clock.UntilExpiry(next, m.term, m.mono())
	if !ok || !may || wait > 0 || m.cluster.real() < m.expiry {
		return
	}
	if m.term != m.core.Term() {
		m.cluster.Fatalf("member %d proposes expiry in term %d and has applied up to term %d", m.id, m.core.Term(), m.term)
	}
	m.expiry = m.cluster.real() + int64(50*time.Millisecond)
	q := m.cluster.history.begin(store.Op{Action: store.Expire, Path: "/"})
	q.until = m.cluster.step + 500
	m.writes[q.id] = q
	m.queue = append(m.queue, replica.EncodeWrite(q.id, q.op))
}

// noteTime keeps cluster time on the disk, if there is anything to keep it for.
func (m *machine) noteTime() {
	m.noteDue = m.cluster.real() + notePeriod
	if _, ok := m.store().NextExpiry(); !ok {
		return
	}
	if r, ok := m.clock.Note(m.core.LastTerm(), m.mono()); ok {
		m.note = r
	}
}

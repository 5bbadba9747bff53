package replica

import (
	"encoding/binary"
	"iter"

	"go.etcd.io/raft/v3/raftpb"
)

// Reading is cluster time as the leader of one term showed it.
type Reading struct {
	Term uint64
	Time int64 // Unix nanoseconds
}

// Clock is cluster time at one member; docs/time.md has the rules and why no TTL ends
// early by them.
//
// Cluster time runs only while there is a leader, by the leader's monotonic clock. A
// new leader continues from the largest cluster time that its own log shows up to the
// last entry, committed or not, and that heartbeats of the leader of that last entry's
// term have shown. It uses no wall clock and no reading of any other leader.
//
// A Clock reads no clock itself: mono is the caller's monotonic clock and wall its
// wall clock, both in nanoseconds.
type Clock struct {
	term uint64 // of the leader that the fields below follow; 0 before the first
	base int64  // cluster time at since
	// since is the monotonic time at which base was right. It counts only while the
	// clock runs.
	since  int64
	runs   bool   // there is a leader
	leads  bool   // it is this member
	offset int64  // of wall time from cluster time
	placed bool   // offset is that of the leader of term
	follow uint64 // term of the leader that is followed; it may have shown nothing yet

	// What heartbeats have shown: by the leader of the last entry's term and by the
	// newest leader, from which the log may have no entry yet.
	ofLog, newest Reading
}

// offsetDriftMax is how far wall time may drift from cluster time plus offset before the
// leader sets a new offset, in nanoseconds.
const offsetDriftMax = 100e6

// Restore takes the reading that this member noted before it stopped.
func (c *Clock) Restore(r Reading) { c.ofLog = r }

// LastShown returns what its log shows to a new leader: the term of the last entry before
// its leadership, and the largest cluster time up to there. applied is the raft index of
// the last applied entry and clock the cluster time there; earlier are the entries before
// the leadership, the last one first.
func LastShown(lastTerm, applied uint64, clock int64, earlier iter.Seq[*raftpb.Entry]) Reading {
	last := Reading{lastTerm, clock}
	for e := range earlier {
		if e.GetIndex() <= applied {
			break
		}
		if at, ok := StampOf(e.GetData()); ok && e.GetType() == raftpb.EntryType_EntryNormal {
			last.Time = max(last.Time, at)
		}
	}
	return last
}

// Lead makes this member the leader of a term. last is the term of the last entry
// before this leadership, and the largest cluster time that the log shows up to there.
// Only the first leader of a cluster, to which nothing has ever shown a time, begins
// at its wall clock.
func (c *Clock) Lead(term uint64, last Reading, wall, mono int64) {
	base := last.Time
	for _, heard := range []Reading{c.ofLog, c.newest} {
		if heard.Term == last.Term {
			base = max(base, heard.Time)
		}
	}
	if base == 0 {
		base = wall
	}
	c.term, c.base, c.since, c.runs, c.leads = term, base, mono, true, true
	c.offset, c.placed = wall-base, true
}

// Follow makes the clock that of a member that does not lead; led is false while no
// leader is known. A former leader keeps the time that it showed as a reading.
func (c *Clock) Follow(term uint64, led bool, mono int64) {
	now := c.Now(mono)
	if c.leads {
		c.remember(Reading{c.term, now}, c.term)
		c.leads = false
	}
	c.base, c.since, c.runs = now, mono, led
	if led {
		c.follow = term
		c.placed = c.placed && term == c.term // or when a heartbeat brings the new leader's offset
	}
}

// Heartbeat takes the payload of a heartbeat of the leader of a term. lastTerm is the
// term of this member's last entry.
func (c *Clock) Heartbeat(term uint64, payload []byte, lastTerm uint64, mono int64) {
	time, ok := TimeOf(payload)
	if !ok {
		return // from an earlier release
	}
	r := Reading{term, time}
	if c.leads || r.Term < c.newest.Term && r.Term != lastTerm {
		return
	}
	c.remember(r, lastTerm)
	if r.Term < c.term {
		return
	}
	c.term, c.base, c.since, c.runs = r.Term, r.Time, mono, true
	c.offset, c.placed = int64(binary.LittleEndian.Uint64(payload[8:])), true
}

// TimeOf returns the cluster time in the payload of a heartbeat; false when there is
// none.
func TimeOf(payload []byte) (time int64, ok bool) {
	if len(payload) < payloadBytes {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(payload)), true
}

// remember keeps a reading for the case that this member becomes leader. Two can count
// then: that of the last entry's term, and that of the newest leader.
func (c *Clock) remember(r Reading, lastTerm uint64) {
	if c.newest.Term == lastTerm && c.newest.Term != c.ofLog.Term {
		c.ofLog = c.newest
	}
	if r.Term == lastTerm {
		c.ofLog = later(c.ofLog, r)
	}
	if r.Term >= c.newest.Term {
		c.newest = later(c.newest, r)
	}
}

// later is the reading of the higher term, or the larger one of the same leader.
func later(a, b Reading) Reading {
	if a.Term != b.Term {
		if a.Term > b.Term {
			return a
		}
		return b
	}
	return Reading{a.Term, max(a.Time, b.Time)}
}

// Applied takes the cluster time of an applied entry. Cluster time is at least that. Until
// the first heartbeat of a new leader its entries set the clock back too: this member may
// have led before, and its clock may be ahead.
func (c *Clock) Applied(r Reading, mono int64) {
	if !c.leads && (r.Time > c.Now(mono) || !c.placed && r.Term > 0 && r.Term == c.follow) {
		c.base, c.since = r.Time, mono
	}
}

// Now is the cluster time. On the leader it is what entries are stamped with; on
// other members it is near, and serves to show TTLs.
func (c *Clock) Now(mono int64) int64 {
	if !c.runs {
		return c.base
	}
	return c.base + mono - c.since
}

// payloadBytes is the size of the payload of a heartbeat: the cluster time, and the
// offset of wall time from it, 8 bytes each, little endian.
const payloadBytes = 16

// Payload returns the payload of this member's heartbeats; nil unless it leads. The
// offset follows the wall clock when that was set.
func (c *Clock) Payload(wall, mono int64) []byte {
	if !c.leads {
		return nil
	}
	now := c.Now(mono)
	if c.Moved(wall, mono) {
		c.offset = wall - now
	}
	payload := binary.LittleEndian.AppendUint64(make([]byte, 0, payloadBytes), uint64(now))
	return binary.LittleEndian.AppendUint64(payload, uint64(c.offset))
}

// Note is the reading to keep for the next start; false when there is none. lastTerm
// is the term of this member's last entry.
func (c *Clock) Note(lastTerm uint64, mono int64) (Reading, bool) {
	if c.leads {
		return Reading{c.term, c.Now(mono)}, true
	}
	for _, heard := range []Reading{c.newest, c.ofLog} {
		if heard.Term == lastTerm && heard.Term > 0 {
			return heard, true
		}
	}
	return Reading{}, false
}

// UntilExpiry returns after how many nanoseconds this member proposes expiry; 0 or less
// means now. next is the earliest deadline in the tree, and applied the term of the last
// applied entry. ok is false while the member does not lead, or has applied no entry of
// its own term: until then an entry that it has not applied may extend the deadline.
func (c *Clock) UntilExpiry(next int64, applied uint64, mono int64) (wait int64, ok bool) {
	return next - c.Now(mono), c.leads && applied == c.term
}

// Moved reports whether the wall clock of this leader has moved against the offset, so
// that Payload would take another one. A leader without other members sends no
// heartbeats that would do so.
func (c *Clock) Moved(wall, mono int64) bool {
	drift := wall - c.Now(mono) - c.offset
	return c.leads && (drift > offsetDriftMax || drift < -offsetDriftMax)
}

// Offset is what to add to cluster time to get the wall time at which it will be, if
// the leader stays; the same on every member. Before the leader has told it, it is
// this member's own estimate.
func (c *Clock) Offset(wall, mono int64) int64 {
	if c.placed {
		return c.offset
	}
	return wall - c.Now(mono)
}

package expiry

import (
	"slices"
	"sync"
	"time"
)

// silenceMin is the shortest time without an acknowledged write that counts as time
// without a leader when no fault is known. An election takes longer.
const silenceMin = 250 * time.Millisecond

// Timeline records when a cluster may have had no leader, by the writes that it
// acknowledged. Any goroutine may use it.
//
// What it counts is never less than the leaderless time while clients write all the
// time: the log has the last acknowledged write with the cluster time at which it was
// proposed, and a new leader continues from there before it acknowledges another one.
type Timeline struct {
	// Continuous says that clients write all the time, so that a silence counts as time
	// without a leader.
	Continuous bool

	mu     sync.Mutex // guards the fields below
	acks   []span
	faults []span // from the beginning of a fault to the moment it was complete
}

type span struct{ from, to time.Time }

// Acknowledged records a write, with or without a TTL.
func (l *Timeline) Acknowledged(sent, answered time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, span{sent, answered})
}

// Fault records that something went wrong: it began after began, and was complete
// before complete. The cluster has a leader again when a write that was sent after
// complete is acknowledged.
func (l *Timeline) Fault(began, complete time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, span{began, complete})
}

// Leaderless returns for how long the cluster may have had no leader between two
// moments.
func (l *Timeline) Leaderless(from, to time.Time) time.Duration { return covered(l.gaps(), from, to) }

// gaps returns the times without a leader, sorted by their beginning.
func (l *Timeline) gaps() []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.acks, func(a, b span) int { return a.to.Compare(b.to) })
	gaps := l.outages()
	if l.Continuous {
		gaps = append(gaps, l.silences()...)
	}
	slices.SortFunc(gaps, func(a, b span) int { return a.from.Compare(b.from) })
	return gaps
}

// outages are the faults, each up to the first write that was sent and acknowledged
// after it, or up to now.
func (l *Timeline) outages() []span {
	var out []span
	for _, f := range l.faults {
		until := time.Now()
		if i := slices.IndexFunc(l.acks, func(a span) bool { return !a.from.Before(f.to) }); i >= 0 {
			until = l.acks[i].to
		}
		out = append(out, span{f.from, until})
	}
	return out
}

// silences are the times between two acknowledgements that are too long for a cluster
// with a leader.
func (l *Timeline) silences() []span {
	var out []span
	for i := 1; i < len(l.acks); i++ {
		if last, next := l.acks[i-1], l.acks[i]; next.to.Sub(last.to) >= silenceMin {
			out = append(out, span{last.from, next.to})
		}
	}
	return out
}

// covered is how much of the time between two moments lies in the spans, which are
// sorted by their beginning.
func covered(spans []span, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range spans {
		if s.from.Before(from) {
			s.from = from
		}
		if s.to.After(to) {
			s.to = to
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			from = s.to
		}
	}
	return sum
}

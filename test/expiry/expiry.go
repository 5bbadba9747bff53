// Package expiry judges from outside whether the TTLs of a cluster end in time.
//
// A test records what its clients saw: every write with a TTL, when it was sent and
// answered, and the expire events that a Watcher at each member received. A Timeline
// holds when the cluster may have had no leader. Judge compares them. It knows nothing
// of the servers' clocks, so its bounds are those that a user can rely on: a key is
// there at least its TTL from the moment the request was sent, and at most its TTL,
// the leaderless time in between and a fixed delay from the moment of the answer.
//
// All times are read from the clock of the test's process.
package expiry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Write is one write that gives a key or directory a TTL.
type Write struct {
	Key        string        // without /v2/keys
	InOrder    bool          // a POST without an answer: Key is the directory
	TTL        time.Duration // from this write on
	Call, End  time.Time     // the request was sent, its answer arrived
	Index      uint64        // modifiedIndex of the answer; 0: no answer came, it may have taken effect or may yet
	Expiration time.Time     // as the answer shows it; zero: not to be judged
}

// Expired is one expire event as a watcher received it.
type Expired struct {
	Key   string
	Index uint64    // of the event
	Last  uint64    // modifiedIndex of the last write before it
	At    time.Time // it arrived
}

// Limits are what Judge allows.
type Limits struct {
	Early time.Duration // before the request was sent + TTL
	Late  time.Duration // after the answer arrived + TTL + leaderless time
	Shown time.Duration // between the expiration shown and the event, without leaderless time
}

// Report is what Judge found. The figures are the largest ones; negative ones are on
// the safe side.
type Report struct {
	Judged     int // expire events of a known write
	Early      time.Duration
	Late       time.Duration
	Shown      time.Duration
	Compared   int // expirations that Shown is the largest deviation of
	Violations []string
}

func (r Report) String() string {
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	text := fmt.Sprintf("%d expire events; at most %s early, %s late", r.Judged, ms(r.Early), ms(r.Late))
	if r.Compared > 0 {
		text += fmt.Sprintf("; %d expirations shown, wrong by %s at most", r.Compared, ms(r.Shown))
	}
	return text
}

// Judge compares the writes with the expire events. Every acknowledged write must have
// been replaced by a later write of its key, or have ended by an event, so the watchers
// must have run until the last TTL was over. seen is what the watchers received; of
// equal events the earliest arrival counts.
func Judge(writes []Write, seen [][]Expired, line *Timeline, limits Limits) Report {
	j := judge{gaps: line.gaps(), limits: limits, byIndex: map[uint64]Write{}, ended: map[uint64]bool{}}
	j.Early, j.Late = -time.Hour, -time.Hour
	last := map[string]Write{} // acknowledged, by key
	for _, w := range writes {
		if w.Index == 0 {
			j.open = append(j.open, w)
			continue
		}
		j.byIndex[w.Index] = w
		if w.Index > last[w.Key].Index {
			last[w.Key] = w
		}
	}
	for _, e := range j.earliest(seen) {
		j.event(e)
	}
	for _, w := range last {
		if !j.ended[w.Index] && !j.mayBeReplaced(w) {
			j.complain("%s with TTL %v, written at index %d, did not expire", w.Key, w.TTL, w.Index)
		}
	}
	slices.Sort(j.Violations)
	return j.Report
}

type judge struct {
	Report
	gaps    []span // without a leader
	limits  Limits
	byIndex map[uint64]Write // acknowledged
	open    []Write          // without an answer
	ended   map[uint64]bool  // by modifiedIndex of the write
}

func (j *judge) complain(format string, args ...any) {
	j.Violations = append(j.Violations, fmt.Sprintf(format, args...))
}

// earliest returns each event once, in the order of indexes. Members that disagree
// about an event break a promise.
func (j *judge) earliest(seen [][]Expired) []Expired {
	events := map[[2]any]Expired{}
	for _, e := range slices.Concat(seen...) {
		id := [2]any{e.Index, e.Key} // one entry may expire many keys
		known, ok := events[id]
		if ok && known.Last != e.Last {
			j.complain("expire event %d of %s follows write %d and write %d", e.Index, e.Key, known.Last, e.Last)
		}
		if !ok || e.At.Before(known.At) {
			events[id] = e
		}
	}
	var out []Expired
	for _, e := range events {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Expired) int { return cmp.Compare(a.Index, b.Index) })
	return out
}

// event judges one expire event.
func (j *judge) event(e Expired) {
	w, ok := j.byIndex[e.Last]
	if !ok || w.Key != e.Key {
		j.unanswered(e)
		return
	}
	j.Judged++
	j.ended[e.Last] = true
	early := w.TTL - e.At.Sub(w.Call)
	j.Early = max(j.Early, early)
	if early > j.limits.Early {
		j.complain("%s with TTL %v expired %v after the request was sent: %v early (write %d, event %d)",
			w.Key, w.TTL, e.At.Sub(w.Call), early, w.Index, e.Index)
	}
	without := covered(j.gaps, w.Call, e.At)
	late := e.At.Sub(w.End) - w.TTL - without
	j.Late = max(j.Late, late)
	if late > j.limits.Late {
		j.complain("%s with TTL %v expired %v after the answer: %v late, after %v without a leader (write %d, event %d)",
			w.Key, w.TTL, e.At.Sub(w.End), late, without, w.Index, e.Index)
	}
	if without > 0 || w.Expiration.IsZero() {
		return
	}
	j.Compared++
	shown := e.At.Sub(w.Expiration).Abs()
	j.Shown = max(j.Shown, shown)
	if shown > j.limits.Shown {
		j.complain("%s showed the expiration %v and expired %v", w.Key, w.Expiration.UTC(), e.At.UTC())
	}
}

// unanswered judges an event after a write that no client has an answer to. One of the
// writes without an answer must explain it.
func (j *judge) unanswered(e Expired) {
	early := time.Duration(-1)
	for _, w := range j.open {
		if !w.writes(e.Key) {
			continue
		}
		if early = w.TTL - e.At.Sub(w.Call); early <= j.limits.Early {
			return
		}
	}
	if early < 0 {
		j.complain("%s expired at index %d after write %d, which no client sent", e.Key, e.Index, e.Last)
		return
	}
	j.complain("%s expired %v early after a write without an answer (event %d)", e.Key, early, e.Index)
}

// writes reports whether w may have written the key.
func (w Write) writes(key string) bool {
	return w.Key == key || w.InOrder && strings.HasPrefix(key, w.Key+"/")
}

// mayBeReplaced reports whether a write without an answer may have come after w.
func (j *judge) mayBeReplaced(w Write) bool {
	return slices.ContainsFunc(j.open, func(o Write) bool { return o.writes(w.Key) })
}

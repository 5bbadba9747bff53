package replica

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

const second = int64(1e9)

// shown gives a clock the heartbeat of a leader.
func shown(c *Clock, r Reading, offset int64, lastTerm uint64, mono int64) {
	payload := binary.LittleEndian.AppendUint64(nil, uint64(r.Time))
	c.Heartbeat(r.Term, binary.LittleEndian.AppendUint64(payload, uint64(offset)), lastTerm, mono)
}

// A new leader continues from its log and from the heartbeats of the leader of the
// log's last term, and from nothing else.
func TestLeadContinues(t *testing.T) {
	heard := func(term uint64, at int64) func(*Clock) {
		return func(c *Clock) { shown(c, Reading{term, at}, 0, term, 0) }
	}
	tests := []struct {
		name string
		was  []func(*Clock)
		last Reading
		want int64
	}{
		{"nothing was ever shown", nil, Reading{}, 1000},
		{"the log", nil, Reading{1, 50}, 50},
		{"heartbeats of the log's last leader", []func(*Clock){heard(1, 70)}, Reading{1, 50}, 70},
		{"heartbeats behind the log", []func(*Clock){heard(1, 40)}, Reading{1, 50}, 50},
		{"heartbeats of an earlier leader", []func(*Clock){heard(1, 90)}, Reading{2, 50}, 50},
		{"heartbeats of a leader without entries here", []func(*Clock){heard(1, 60), func(c *Clock) { shown(c, Reading{2, 90}, 0, 1, 0) }}, Reading{1, 50}, 60},
		{"its first entry comes later", []func(*Clock){heard(1, 60), func(c *Clock) { shown(c, Reading{2, 90}, 0, 1, 0) }}, Reading{2, 50}, 90},
		{"a deposed leader's heartbeat", []func(*Clock){heard(2, 60), heard(1, 90)}, Reading{2, 50}, 60},
		{"a note of this term", []func(*Clock){func(c *Clock) { c.Restore(Reading{3, 80}) }}, Reading{3, 50}, 80},
		{"a note of another term", []func(*Clock){func(c *Clock) { c.Restore(Reading{2, 80}) }}, Reading{3, 50}, 50},
		{"only heartbeats", []func(*Clock){heard(1, 70)}, Reading{1, 0}, 70},
		{"this member led", []func(*Clock){func(c *Clock) { c.Lead(1, Reading{0, 50}, 0, 0); c.Follow(1, false, 20) }}, Reading{1, 50}, 70},
		{"this member led, then another one", []func(*Clock){func(c *Clock) { c.Lead(1, Reading{0, 50}, 0, 0); c.Follow(2, true, 20) }}, Reading{2, 55}, 55},
	}
	for _, tt := range tests {
		var c Clock
		for _, f := range tt.was {
			f(&c)
		}
		c.Lead(9, tt.last, 1000, 500)
		if got := c.Now(500); got != tt.want {
			t.Errorf("%s: leads from %d, want %d", tt.name, got, tt.want)
		}
		if got := c.Now(530); got != tt.want+30 {
			t.Errorf("%s: 30 later it is %d, want %d", tt.name, got, tt.want+30)
		}
	}
}

// Without a leader the clock stands still; the offset places deadlines on the wall
// clock, equally on leader and follower, and follows a wall clock that was set.
func TestFollow(t *testing.T) {
	var leader, follower Clock
	leader.Lead(1, Reading{0, 100 * second}, 500*second, 0)
	tell := func(wall, mono int64) {
		t.Helper()
		follower.Heartbeat(1, leader.Payload(wall, mono), 1, mono+7*second) // another monotonic clock
	}
	if payload := follower.Payload(0, 0); payload != nil {
		t.Errorf("payload of a follower = %x, want none", payload)
	}
	follower.Heartbeat(9, []byte("short"), 9, 0)
	tell(501*second, second)
	if a, b := leader.Offset(0, second), follower.Offset(0, 8*second); a != 400*second || b != a {
		t.Errorf("offsets %d and %d, want 400 s", a, b)
	}
	if got := follower.Now(9 * second); got != 102*second {
		t.Errorf("a second after the heartbeat it is %d, want 102 s", got)
	}
	tell(502*second+offsetDriftMax/2, 2*second) // ordinary drift
	if got := follower.Offset(0, 9*second); got != 400*second {
		t.Errorf("offset %d moved by a drift", got)
	}
	tell(603*second, 3*second) // the wall clock was set forward by 100 s
	if got := follower.Offset(0, 9*second); got != 500*second {
		t.Errorf("offset %d, want 500 s", got)
	}
	follower.Follow(1, false, 12*second)
	if a, b := follower.Now(12*second), follower.Now(99*second); a != b {
		t.Errorf("without a leader the clock goes from %d to %d", a, b)
	}
	follower.Follow(2, true, 100*second)
	if got, want := follower.Offset(900*second, 100*second), 900*second-follower.Now(100*second); got != want {
		t.Errorf("before the new leader has told its offset %d, want the own estimate %d", got, want)
	}
	follower.Applied(Reading{2, 60 * second}, 100*second)
	if got := follower.Now(100 * second); got != 60*second {
		t.Errorf("after the first entry of the new leader, of 60 s, it is %d", got)
	}
	follower.Applied(Reading{2, 300 * second}, 100*second)
	if got := follower.Now(100 * second); got != 300*second {
		t.Errorf("after an entry of 300 s it is %d", got)
	}
}

func TestNote(t *testing.T) {
	var c Clock
	if r, ok := c.Note(0, 0); ok {
		t.Errorf("a clock that was shown nothing notes %+v", r)
	}
	shown(&c, Reading{3, 70}, 0, 2, 0)
	if r, ok := c.Note(2, 0); ok {
		t.Errorf("a reading of term 3 is noted for a log of term 2: %+v", r)
	}
	if r, ok := c.Note(3, 50); !ok || r != (Reading{3, 70}) {
		t.Errorf("Note = %+v, %v, want what was heard", r, ok)
	}
	c.Lead(4, Reading{3, 60}, 0, 100)
	if r, ok := c.Note(4, 110); !ok || r != (Reading{4, 80}) {
		t.Errorf("a leader notes %+v, %v, want its time", r, ok)
	}
	if _, ok := c.UntilExpiry(100, 3, 120); ok {
		t.Error("a leader expires before it has applied an entry of its term")
	}
	if wait, ok := c.UntilExpiry(100, 4, 115); !ok || wait != 15 {
		t.Errorf("UntilExpiry = %d, %v, want 15", wait, ok)
	}
	c.Follow(5, true, 120)
	if _, ok := c.UntilExpiry(100, 4, 130); ok {
		t.Error("a follower expires")
	}
}

// Readings in any order never let a clock continue from another leader's time.
func TestReadingsAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var c Clock
		latest := map[uint64]int64{} // of each leader
		for range rng.IntN(12) {
			r := Reading{uint64(1 + rng.IntN(4)), int64(1 + rng.IntN(100))}
			latest[r.Term] = max(latest[r.Term], r.Time)
			shown(&c, r, 0, uint64(rng.IntN(5)), 0)
		}
		last := Reading{uint64(rng.IntN(5)), int64(1 + rng.IntN(100))}
		c.Lead(9, last, 0, 0)
		if got := c.Now(0); got < last.Time || got > max(last.Time, latest[last.Term]) {
			t.Fatalf("leads from %d behind a log of %+v; the leaders have shown %v", got, last, latest)
		}
	}
}

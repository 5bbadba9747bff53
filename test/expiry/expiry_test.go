package expiry

import (
	"testing"
	"time"
)

// story is a set of times in milliseconds since the test began.
type story struct{ began time.Time }

func (s story) at(ms int) time.Time { return s.began.Add(time.Duration(ms) * time.Millisecond) }

// write is a write with a TTL of one second that was answered after 10 ms.
func (s story) write(key string, index uint64, call int) Write {
	return Write{Key: key, TTL: time.Second, Call: s.at(call), End: s.at(call + 10), Index: index}
}

// TestJudge keeps the judge honest: it must see a key that ends early, late, never, or
// without a write.
func TestJudge(t *testing.T) {
	s := story{time.Now().Add(-time.Minute)}
	limits := Limits{Early: 20 * time.Millisecond, Late: 300 * time.Millisecond, Shown: 300 * time.Millisecond}
	unanswered := s.write("/k", 0, 500)
	promised := s.write("/k", 7, 0)
	promised.Expiration = s.at(1000)
	wrong := promised
	wrong.Expiration = s.at(2000)
	posted := Write{Key: "/queue", InOrder: true, TTL: time.Second, Call: s.at(0)}
	tests := []struct {
		name   string
		writes []Write
		seen   []Expired
		fault  [2]int // from the fault to the next acknowledged write
		ok     bool
	}{
		{name: "in time", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(1020)}}, ok: true},
		{name: "a little early", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(985)}}, ok: true},
		{name: "early", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(975)}}},
		{name: "late", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(1400)}}},
		{name: "late by an outage", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(1400)}}, fault: [2]int{500, 700}, ok: true},
		{name: "later than the outage", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(1600)}}, fault: [2]int{500, 700}},
		{name: "an outage before", writes: []Write{s.write("/k", 7, 800)}, seen: []Expired{{"/k", 9, 7, s.at(2200)}}, fault: [2]int{500, 700}},
		{name: "an outage makes nothing early", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(900)}}, fault: [2]int{500, 700}},
		{name: "never", writes: []Write{s.write("/k", 7, 0)}},
		{name: "earliest arrival", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/k", 9, 7, s.at(1900)}, {"/k", 9, 7, s.at(1020)}}, ok: true},
		{name: "members disagree", writes: []Write{s.write("/k", 7, 0), s.write("/k", 8, 1)}, seen: []Expired{{"/k", 9, 8, s.at(1020)}, {"/k", 9, 7, s.at(1020)}}},
		{name: "replaced", writes: []Write{s.write("/k", 7, 0), s.write("/k", 8, 500)}, seen: []Expired{{"/k", 9, 8, s.at(1520)}}, ok: true},
		{name: "old deadline of a replaced one", writes: []Write{s.write("/k", 7, 0), s.write("/k", 8, 500)}, seen: []Expired{{"/k", 9, 8, s.at(1020)}}},
		{name: "nobody wrote it", seen: []Expired{{"/k", 9, 7, s.at(1020)}}},
		{name: "another key", writes: []Write{s.write("/k", 7, 0)}, seen: []Expired{{"/l", 9, 7, s.at(1020)}}},
		{name: "replaced without an answer", writes: []Write{s.write("/k", 7, 0), unanswered}, seen: []Expired{{"/k", 9, 8, s.at(1520)}}, ok: true},
		{name: "early after no answer", writes: []Write{s.write("/k", 7, 0), unanswered}, seen: []Expired{{"/k", 9, 8, s.at(1400)}}},
		{name: "post without an answer", writes: []Write{posted}, seen: []Expired{{"/queue/00000000000000000007", 9, 7, s.at(1010)}}, ok: true},
		{name: "expiration shown", writes: []Write{promised}, seen: []Expired{{"/k", 9, 7, s.at(1100)}}, ok: true},
		{name: "another expiration shown", writes: []Write{wrong}, seen: []Expired{{"/k", 9, 7, s.at(1100)}}},
	}
	for _, tt := range tests {
		var line Timeline
		if tt.fault[1] > 0 {
			line.Fault(s.at(tt.fault[0]), s.at(tt.fault[0]))
			line.Acknowledged(s.at(tt.fault[0]-5), s.at(tt.fault[0]+5)) // sent before
			line.Acknowledged(s.at(tt.fault[0]+5), s.at(tt.fault[1]))
		}
		if r := Judge(tt.writes, [][]Expired{tt.seen}, &line, limits); (len(r.Violations) == 0) != tt.ok {
			t.Errorf("%s: violations %q, want acceptance: %v", tt.name, r.Violations, tt.ok)
		}
	}
}

func TestLeaderless(t *testing.T) {
	s := story{time.Now().Add(-time.Minute)}
	tests := []struct {
		name       string
		continuous bool
		acks       [][2]int
		faults     []int
		from, to   int
		want       int
	}{
		{name: "nothing known", from: 0, to: 1000},
		{name: "silence of an idle cluster", acks: [][2]int{{0, 10}, {900, 910}}, from: 0, to: 1000},
		{name: "silence under load", continuous: true, acks: [][2]int{{0, 10}, {900, 910}}, from: 0, to: 1000, want: 910},
		{name: "silence in part", continuous: true, acks: [][2]int{{0, 10}, {900, 910}}, from: 500, to: 800, want: 300},
		{name: "short silence", continuous: true, acks: [][2]int{{0, 10}, {200, 210}}, from: 0, to: 1000},
		{name: "fault", acks: [][2]int{{0, 10}, {400, 410}}, faults: []int{100}, from: 0, to: 1000, want: 310},
		{name: "fault without an end", acks: [][2]int{{0, 10}}, faults: []int{100}, from: 0, to: 1000, want: 900},
		{name: "write under way at a fault", acks: [][2]int{{90, 110}, {400, 410}}, faults: []int{100}, from: 0, to: 1000, want: 310},
		{name: "faults that overlap", acks: [][2]int{{0, 10}, {400, 410}}, faults: []int{100, 200}, from: 0, to: 1000, want: 310},
		{name: "fault in a silence", continuous: true, acks: [][2]int{{0, 10}, {400, 410}}, faults: []int{200}, from: 0, to: 1000, want: 410},
	}
	for _, tt := range tests {
		line := Timeline{Continuous: tt.continuous}
		for _, a := range tt.acks {
			line.Acknowledged(s.at(a[0]), s.at(a[1]))
		}
		for _, f := range tt.faults {
			line.Fault(s.at(f), s.at(f))
		}
		if got := line.Leaderless(s.at(tt.from), s.at(tt.to)); got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("%s: Leaderless = %v, want %dms", tt.name, got, tt.want)
		}
	}
}

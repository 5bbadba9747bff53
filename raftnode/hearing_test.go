package raftnode

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// roles remembers what a member was told of its role.
type roles struct {
	mu   sync.Mutex // guards told
	told []toldRole
}

// toldRole is a role with the data of the entries before it.
type toldRole struct {
	Role
	before []string
}

func (r *roles) add(now Role) {
	told := toldRole{Role: now}
	if now.Earlier != nil {
		for e := range now.Earlier {
			told.before = append(told.before, string(e.GetData()))
		}
		told.Earlier = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, told)
}

func (r *roles) last() toldRole {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) == 0 {
		return toldRole{}
	}
	return r.told[len(r.told)-1]
}

// A new leader is shown the log of the leaders before it, and heartbeats carry
// a payload of the state machine.
func TestLeaderSeesTheLogBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		told := map[uint64]*roles{}
		var heard [4]atomic.Pointer[string] // by member
		var all []*running
		for id := range uint64(3) {
			told[id+1] = &roles{}
			cfg := Config{ID: id + 1, OnRole: told[id+1].add}
			cfg.Payload = func() []byte { return []byte{byte(id + 1)} }
			cfg.OnPayload = func(term uint64, b []byte, lastTerm uint64) { heard[id+1].Store(new(fmt.Sprint(term, b, lastTerm))) }
			all = append(all, w.start(t, cfg, State{Conf: voters(1, 2, 3)}, &slowLog{}))
		}
		l := leader(t, all)
		if got := told[l.cfg.ID].last(); got.LastTerm != 0 || len(got.before) != 0 {
			t.Errorf("the first leader was told %+v, want an empty log", got)
		}
		for _, data := range []string{"one", "two"} {
			if err := l.Propose(t.Context(), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		first := l.Status().Term
		for _, r := range all {
			want := fmt.Sprint(first, []byte{byte(l.cfg.ID)}, first)
			if r == l {
				want = ""
			}
			got := ""
			if text := heard[r.cfg.ID].Load(); text != nil {
				got = *text
			}
			if got != want {
				t.Errorf("member %d heard %q, want %q: term, what was told, last term", r.cfg.ID, got, want)
			}
		}

		w.setCut(l.cfg.ID, true)
		time.Sleep(5 * time.Second)
		next := leader(t, slices.DeleteFunc(slices.Clone(all), func(r *running) bool { return r == l }))
		got := told[next.cfg.ID].last()
		if want := []string{"two", "one", ""}; !got.Leads || got.LastTerm != first || !slices.Equal(got.before, want) {
			t.Errorf("the next leader was told %+v, want last term %d and the entries %q", got, first, want)
		}
		if got := told[l.cfg.ID].last(); got.Leads || got.Leader != 0 {
			t.Errorf("cut off: told %+v, want no leader", got)
		}
		stopAll(t, all...)
	})
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		for _, r := range all {
			if age, known := r.Age(); known {
				t.Errorf("before there was a leader Age() = %v, want it unknown", age)
			}
		}
		l := leader(t, all)
		time.Sleep(time.Second)
		check := func(when string, r *running, min, max time.Duration) {
			t.Helper()
			if age, known := r.Age(); !known || age < min || age > max {
				t.Errorf("%s: Age() of member %d = %v, %v, want %v to %v", when, r.cfg.ID, age, known, min, max)
			}
		}
		const tick = 2 * 100 * time.Millisecond // there and back, with one heartbeat each
		for range 20 {
			time.Sleep(37 * time.Millisecond)
			for _, r := range all {
				check("idle", r, 0, tick)
			}
		}

		slow := all[l.cfg.ID%3]
		slow.disk.set(2*time.Second, nil) // hears, but cannot apply what it has not saved
		propose(t, l, "a")
		time.Sleep(1500 * time.Millisecond)
		check("slow disk", slow, 1400*time.Millisecond, 1500*time.Millisecond+tick)
		check("slow disk", l, 0, tick)
		time.Sleep(time.Second)
		check("disk caught up", slow, 0, tick)
		slow.disk.set(0, nil)

		w.setCut(slow.cfg.ID, true)
		time.Sleep(time.Minute)
		propose(t, l, "b")
		check("cut off", slow, time.Minute, time.Minute+tick)
		w.setCut(slow.cfg.ID, false)
		time.Sleep(2 * time.Second)
		check("back", slow, 0, tick)

		for _, r := range all {
			w.setCut(r.cfg.ID, true)
		}
		time.Sleep(10 * time.Second)
		check("alone", l, 10*time.Second, 10*time.Second+tick)
		stopAll(t, all...)
	})
}

// What comes late, as after a time in which the process was stopped, does not make a
// member believe that it is up to date.
func TestAgeByOldNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		first := leader(t, all)
		for _, stopped := range []*running{all[first.cfg.ID%3], first} {
			time.Sleep(time.Second)
			w.hoard(stopped.cfg.ID)
			time.Sleep(500 * time.Millisecond) // what has come until the connection was given up
			w.setCut(stopped.cfg.ID, true)
			time.Sleep(time.Minute)
			w.release()
			synctest.Wait()
			if age, known := stopped.Age(); !known || age < time.Minute {
				t.Errorf("Age() of member %d by news of a minute ago = %v, %v", stopped.cfg.ID, age, known)
			}
			w.setCut(stopped.cfg.ID, false)
			time.Sleep(3 * time.Second)
			if age, known := stopped.Age(); !known || age > time.Second {
				t.Errorf("Age() of member %d when it is back = %v, %v", stopped.cfg.ID, age, known)
			}
		}
		stopAll(t, all...)
	})
}

func TestMarksOfOtherRuns(t *testing.T) {
	h := newHearing(100 * time.Millisecond)
	now := h.begin.Add(time.Minute)
	for _, test := range []struct {
		mark uint64
		want time.Time
	}{
		{h.base, h.begin},
		{h.base + uint64(time.Second), h.begin.Add(time.Second)},
		{h.base + uint64(time.Minute), now},
		{h.base + uint64(time.Minute) + 1, time.Time{}}, // the future
		{h.base - 1, time.Time{}},
		{0, time.Time{}},
		{1<<64 - 1, time.Time{}},
	} {
		m := &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), RejectHint: new(test.mark)}
		if got := h.said(m, now); !got.Equal(test.want) {
			t.Errorf("said() by mark %d = %v, want %v", test.mark-h.base, got, test.want)
		}
	}
}

func TestAgeOfTheOnlyVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newNetwork().start(t, Config{ID: 1}, State{Conf: voters(1)}, &slowLog{})
		time.Sleep(time.Minute)
		if age, known := r.Age(); !known || age != 0 {
			t.Errorf("Age() = %v, %v, want 0", age, known)
		}
		stopAll(t, r)
	})
}

// A leader's heartbeat tells a member that misses entries what it misses.
func TestHeartbeatDoesNotMakeALaggingMemberComplete(t *testing.T) {
	g := newGroup(t, Config{}, 1, 2, 3)
	leader, behind := g.elect(1), g.member(3)
	g.tick(leader, 1)
	behind.down = true
	leader.propose(t, "a")
	g.settle()
	behind.down = false
	h := newHearing(100 * time.Millisecond)
	now := h.begin
	leader.Tick()
	w, _ := leader.Work()
	for _, m := range w.Send {
		if m.GetTo() == 3 && m.GetType() == raftpb.MsgHeartbeat {
			if err := behind.Step(m); err != nil {
				t.Fatal(err)
			}
			m.RejectHint = new(h.base) // what it has heard from here
			h.note(m, now)
		}
	}
	behind.Work()
	if at := h.settle(behind.Core, behind.Core.applied); !at.IsZero() {
		t.Errorf("applied %d of %d and heard: complete as of %v, want unknown", behind.Core.applied, leader.Commit(), at)
	}
	if at := h.settle(behind.Core, leader.Commit()); !at.Equal(now) {
		t.Errorf("all applied: complete as of %v, want %v", at, now)
	}
}

func TestSightings(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	h := newHearing(100 * time.Millisecond)
	for ms := 1; ms <= 1000; ms++ { // a busy leader, a slow applier
		h.see(sighting{at(ms), uint64(ms)}, 0)
	}
	if n := len(h.waiting); n != maxSightings {
		t.Errorf("%d sightings wait, want %d", n, maxSightings)
	}
	h.see(sighting{at(1001), 1001}, 1001)
	if !h.fresh.Equal(at(1001)) || len(h.waiting) != 0 {
		t.Errorf("all applied: fresh at %v with %d waiting, want 1001ms and none", h.fresh.Sub(begin), len(h.waiting))
	}
	h.see(sighting{at(900), 1001}, 1001)
	if !h.fresh.Equal(at(1001)) {
		t.Errorf("an old sighting: fresh at %v, want 1001ms", h.fresh.Sub(begin))
	}
}

func TestQuorumHeard(t *testing.T) {
	now := time.Now()
	ago := func(s int) *contact { return &contact{acked: now.Add(-time.Duration(s) * time.Second), ackTerm: 5} }
	old := ago(0)
	old.ackTerm = 4
	tests := []struct {
		name    string
		voters  []uint64
		members map[uint64]*contact
		want    int // seconds ago; -1 for never
	}{
		{"alone", []uint64{1}, nil, 0},
		{"the nearer of two others", []uint64{1, 2, 3}, map[uint64]*contact{2: ago(7), 3: ago(3)}, 3},
		{"the second of four others", []uint64{1, 2, 3, 4, 5}, map[uint64]*contact{2: ago(7), 3: ago(3), 4: ago(9), 5: ago(4)}, 4},
		{"two need both", []uint64{1, 2}, map[uint64]*contact{2: ago(6)}, 6},
		{"nobody yet", []uint64{1, 2, 3}, nil, -1},
		{"only in an earlier term", []uint64{1, 2, 3}, map[uint64]*contact{2: old}, -1},
		{"learners do not count", []uint64{1, 2, 3}, map[uint64]*contact{4: ago(1)}, -1},
	}
	for _, test := range tests {
		h := hearing{members: test.members}
		got := h.quorum(voters(test.voters...), 1, 5)
		if test.want < 0 {
			if !got.IsZero() {
				t.Errorf("%s: quorum() = %v ago, want never", test.name, now.Sub(got))
			}
		} else if ago := now.Sub(got).Round(time.Second); ago != time.Duration(test.want)*time.Second {
			t.Errorf("%s: quorum() = %v ago, want %ds", test.name, ago, test.want)
		}
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		all := w.startThree(t)
		l := leader(t, all)
		away := all[l.cfg.ID%3]
		time.Sleep(time.Second)
		w.setCut(away.cfg.ID, true)
		propose(t, l, "a")
		time.Sleep(10 * time.Second)
		got, err := l.Progress(t.Context())
		if err != nil || len(got) != 3 {
			t.Fatalf("Progress() = %v, %v, want three members", got, err)
		}
		for id, p := range got {
			silence := time.Since(p.Heard)
			if far := id == away.cfg.ID; far && (p.Match == l.Status().Commit || silence < 10*time.Second) ||
				!far && (p.Match != l.Status().Commit || silence > time.Second) {
				t.Errorf("Progress()[%d] = %+v, heard %v ago", id, p, silence)
			}
		}
		if _, err := away.Progress(t.Context()); err != ErrNotLeader {
			t.Errorf("Progress() at a follower = %v, want ErrNotLeader", err)
		}
		stopAll(t, all...)
	})
}

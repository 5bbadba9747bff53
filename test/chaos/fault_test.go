package chaos

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"etcd2/test/proc"
)

// fault is one thing that goes wrong and is mended again.
type fault struct {
	name   string
	weight int
	do     func(w *world, m *proc.Member, leads bool)
}

func faults() []fault {
	all := append(replaceFaults(), []fault{
		{"kill", 6, (*world).kill},
		{"restart", 4, (*world).restart},
		{"isolate", 2, (*world).isolate},
		{"cut one way", 2, (*world).cutOneWay},
		{"kill two", 1, (*world).killTwo},
	}...)
	if proc.CanPause {
		all = append(all, fault{"freeze", 2, (*world).freeze})
	}
	return all
}

// misfortune lets one thing after the other go wrong. Half of the time it is the
// leader that is hit.
func (w *world) misfortune(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		w.pass(calmest/2 + time.Duration(w.rng.Int64N(int64(calmest))))
		f := w.chooseFault()
		leader := proc.Leader(w.members...)
		victim := w.members[w.rng.IntN(size)]
		if leader != nil && w.rng.IntN(2) == 0 {
			victim = leader
		}
		w.faults[f.name]++
		f.do(w, victim, victim == leader)
	}
}

// chooseFault draws a fault by its weight.
func (w *world) chooseFault() fault {
	var bag []fault
	for _, f := range faults() {
		for range f.weight {
			bag = append(bag, f)
		}
	}
	return bag[w.rng.IntN(len(bag))]
}

// pass lets time pass: how long a fault lasts is what the test varies.
func (w *world) pass(d time.Duration) { <-time.After(d) }

// outage is how long something stays broken.
func (w *world) outage() time.Duration {
	return 200*time.Millisecond + time.Duration(w.rng.Int64N(int64(3*election)))
}

// strike carries out the beginning of a fault and returns when it began.
func (w *world) strike(do func()) time.Time {
	began := time.Now()
	do()
	w.line.Fault(began, time.Now())
	return began
}

func (w *world) kill(m *proc.Member, leads bool) {
	at := w.strike(m.Kill)
	if leads {
		w.leaderTo = append(w.leaderTo, w.recovery(at, m))
	}
	w.pass(w.outage())
	w.again(m)
}

func (w *world) killTwo(m *proc.Member, _ bool) {
	other := w.another(m)
	w.strike(func() { m.Kill(); other.Kill() })
	w.pass(w.outage())
	w.again(m)
	w.again(other)
}

// restart ends a member in the orderly way and starts it again.
func (w *world) restart(m *proc.Member, leads bool) {
	at := w.strike(func() { w.must(m.Signal(syscall.SIGTERM)) })
	if leads {
		w.handovers = append(w.handovers, w.recovery(at, m))
	}
	if _, err := m.Wait(timeout); err != nil {
		w.t.Fatalf("CHAOS_SEED=%d: %s after SIGTERM: %v", w.seed, m.Name, err)
	}
	w.again(m)
}

func (w *world) again(m *proc.Member) {
	if err := m.Restart(); err != nil {
		w.t.Fatalf("CHAOS_SEED=%d: %s does not start again: %v", w.seed, m.Name, err)
	}
}

func (w *world) isolate(m *proc.Member, _ bool) {
	w.strike(func() { w.net.Isolate(m.Name, w.members) })
	w.pass(w.outage())
	w.net.Mend()
}

// freeze stops a process where it is: it does not notice.
func (w *world) freeze(m *proc.Member, _ bool) {
	w.strike(func() { w.must(m.Pause()) })
	w.pass(w.outage())
	w.must(m.Resume())
}

// must ends the test after an error that no server is to blame for.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("CHAOS_SEED=%d: %v", w.seed, err)
	}
}

func (w *world) cutOneWay(m *proc.Member, _ bool) {
	other := w.another(m)
	if w.rng.IntN(2) == 0 {
		m, other = other, m
	}
	w.strike(func() { w.net.Cut(m.Name, other.Name) })
	w.pass(w.outage())
	w.net.Mend()
}

func (w *world) another(m *proc.Member) *proc.Member {
	for {
		if other := w.members[w.rng.IntN(size)]; other != m {
			return other
		}
	}
}

// recovery is the time from at until a write that was sent after at is
// acknowledged by one of the other members. A write is sent every few
// milliseconds, whatever became of those before.
func (w *world) recovery(at time.Time, lost *proc.Member) time.Duration {
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	done := make(chan time.Time, 1) // the first one counts
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	h := plainHTTP(timeout)
	for i := 0; ; i++ {
		m := w.members[i%size]
		if m == lost {
			m = w.members[(i+1)%size]
		}
		go func() {
			if put(ctx, h, m.URL(), "/chaos/pulse", fmt.Sprint(i)).index > 0 {
				select {
				case done <- time.Now():
				default:
				}
			}
		}()
		select {
		case t := <-done:
			return t.Sub(at)
		case <-ctx.Done():
			w.t.Fatalf("CHAOS_SEED=%d: no write for %v after the loss of the leader %s", w.seed, timeout, lost.Name)
		case <-tick.C:
		}
	}
}

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
	return append(systemFaults(), []fault{
		{"kill", 6, (*world).kill},
		{"restart", 4, (*world).restart},
		{"isolate", 2, (*world).isolate},
		{"cut one way", 2, (*world).cutOneWay},
		{"kill two", 1, (*world).killTwo},
	}...)
}

// misfortune lets one thing after the other go wrong. Half of the time it is the
// leader that is hit.
func (w *world) misfortune(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		w.pass(calmest/2 + time.Duration(w.rng.Int64N(int64(calmest))))
		f := w.chooseFault()
		leader := w.leader()
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

// leader returns the member that says it leads, or nil.
func (w *world) leader() *proc.Member {
	for _, m := range w.members {
		if ask(m).State == "StateLeader" {
			return m
		}
	}
	return nil
}

// pass lets time pass: how long a fault lasts is what the test varies.
func (w *world) pass(d time.Duration) { <-time.After(d) }

// outage is how long something stays broken.
func (w *world) outage() time.Duration {
	return 200*time.Millisecond + time.Duration(w.rng.Int64N(int64(3*election)))
}

func (w *world) kill(m *proc.Member, leads bool) {
	at := time.Now()
	m.Kill()
	if leads {
		w.leaderTo = append(w.leaderTo, w.recovery(at, m))
	}
	w.pass(w.outage())
	w.again(m)
}

func (w *world) killTwo(m *proc.Member, _ bool) {
	other := w.another(m)
	m.Kill()
	other.Kill()
	w.pass(w.outage())
	w.again(m)
	w.again(other)
}

// restart ends a member in the orderly way and starts it again.
func (w *world) restart(m *proc.Member, leads bool) {
	at := time.Now()
	if err := m.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	if leads {
		w.handovers = append(w.handovers, w.recovery(at, m))
	}
	if _, err := m.Wait(patience); err != nil {
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
	w.net.isolate(m.Name, w.members)
	w.pass(w.outage())
	w.net.mend()
}

func (w *world) cutOneWay(m *proc.Member, _ bool) {
	other := w.another(m)
	if w.rng.IntN(2) == 0 {
		m, other = other, m
	}
	w.net.cut(m.Name, other.Name)
	w.pass(w.outage())
	w.net.mend()
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
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	done := make(chan time.Time, 1) // the first one counts
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	h := plainHTTP(patience)
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
			w.t.Fatalf("CHAOS_SEED=%d: no write for %v after the loss of the leader %s", w.seed, patience, lost.Name)
		case <-tick.C:
		}
	}
}

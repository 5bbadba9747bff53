// Package crash kills the server while it is written to, and looks afterwards
// whether it kept its word.
//
// Each cycle starts the real binary on the same data directory, compares what it
// serves with what was acknowledged before, writes for a random moment from
// several connections, and ends the process with SIGKILL, sometimes before it has
// finished starting. Checkpoints are frequent, so that kills fall into all parts of
// one. The seed is printed; it fixes the choices, not the scheduling.
package crash

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"etcd2/test/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// Shape of the test.
const (
	defaultCycles = 25
	writers       = 4
	keysPerWriter = 12
	longestLife   = 120 * time.Millisecond // of a server that is written to
	longestStart  = 40 * time.Millisecond  // of a server that is killed while starting
	startKills    = 5                      // one cycle in so many is also killed while starting
)

func TestKillLosesNothing(t *testing.T) {
	cycles := fromEnv(t, "CRASHES", defaultCycles)
	seed := uint64(fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()>>10&0xffffff)))
	t.Logf("CRASH_SEED=%d CRASHES=%d", seed, cycles)
	r := rand.New(rand.NewPCG(seed, 0))

	m := proc.New(t, proc.Options{Flags: []string{"--snapshot-count", "50"}})
	crew := make([]*writer, writers)
	for i := range crew {
		crew[i] = newWriter(i, rand.New(rand.NewPCG(seed, uint64(i)+1)))
	}
	audit := auditor{member: m}
	began := time.Now()
	for cycle := range cycles {
		if r.IntN(startKills) == 0 {
			if err := m.Begin(); err != nil {
				t.Fatal(err)
			}
			lifetime(r, longestStart)
			m.Kill()
		}
		if err := m.Restart(); err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		if err := audit.check(crew); err != nil {
			t.Fatalf("cycle %d, CRASH_SEED=%d: %v", cycle, seed, err)
		}
		var wg sync.WaitGroup
		for _, w := range crew {
			wg.Go(func() { w.write(m.URL()) })
		}
		lifetime(r, longestLife)
		m.Kill()
		wg.Wait()
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := audit.check(crew); err != nil {
		t.Fatalf("at the end, CRASH_SEED=%d: %v", seed, err)
	}
	acked := 0
	for _, w := range crew {
		acked += w.acked
		for _, err := range w.refused {
			t.Errorf("a write was refused: %v", err)
		}
	}
	if acked < cycles {
		t.Errorf("%d writes were acknowledged in %d cycles; the test proves nothing", acked, cycles)
	}
	t.Logf("%d kills, %d acknowledged writes, %v", cycles, acked, time.Since(began).Round(time.Millisecond))
}

// TestKillWhileBootstrapping kills fresh members in the first moments of their
// lives: whatever is on disk by then, the next start makes a member of it.
func TestKillWhileBootstrapping(t *testing.T) {
	members := max(fromEnv(t, "CRASHES", defaultCycles)/2, 1)
	seed := uint64(fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()>>10&0xffffff)))
	t.Logf("CRASH_SEED=%d members=%d", seed, members)
	r := rand.New(rand.NewPCG(seed, 1000))
	for i := range members {
		m := proc.New(t, proc.Options{})
		for range 1 + r.IntN(3) {
			if err := m.Begin(); err != nil {
				t.Fatal(err)
			}
			lifetime(r, 2*longestStart)
			m.Kill()
		}
		if err := m.Restart(); err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		// Before the first key come the member, its names and the cluster version; a
		// start that was cut off may have written its names already.
		if got := put(t, m); got < 4 {
			t.Errorf("member %d: the first key has index %d, want at least 4", i, got)
		}
		m.Kill()
	}
}

func put(t *testing.T, m *proc.Member) uint64 {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, m.URL()+"/v2/keys/first?value=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	status, node, err := send(client, req)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("PUT /first = %d, %v, want 201", status, err)
	}
	return node.Modified
}

// lifetime lets a random part of the longest time pass: the moment of the kill is
// what the test varies.
func lifetime(r *rand.Rand, longest time.Duration) {
	<-time.After(time.Duration(r.Int64N(int64(longest))))
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

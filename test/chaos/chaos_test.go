// Package chaos runs a cluster of three server processes under load while things
// go wrong, and looks afterwards whether it kept its word.
//
// The members reach each other through gates of this test, which can hold back
// what one sends to another. Members are killed, paused, cut off in one direction or in
// both, and restarted by SIGTERM, the leader more often than the others. Members lose
// their data directory, get an older copy of it, or are forced to be a cluster of their
// own; then they must not work with the others until they are replaced.
//
// Clients write, compare and read all the time; what they saw must be linearizable for
// every key. Watchers follow all keys; what they saw must be the same for all, without a
// gap and with every acknowledged write in it. Keys with a TTL must not expire early,
// and late only by the time without a leader.
//
// CHAOS is how long, CHAOS_SEED the choices; the scheduling is the machine's.
package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"etcd2/test/expiry"
	"etcd2/test/network"
	"etcd2/test/proc"
	"etcd2/test/wire"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// Shape of the test.
const (
	size         = 3
	clients      = 8
	defaultChaos = 15 * time.Second
	calmest      = time.Second             // between two faults
	election     = 1000 * time.Millisecond // the servers' default
	timeout      = 60 * time.Second        // nothing waits for it in a good run
)

func TestClusterKeepsItsWord(t *testing.T) {
	length, seed := proc.FaultRun(t, defaultChaos)
	t.Logf("CHAOS=%v CHAOS_SEED=%d", length, seed)
	w := newWorld(t, seed)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var load, following, watching sync.WaitGroup
	defer watching.Wait()
	watchCtx, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	followers := make([]*follower, size)
	for i := range followers {
		followers[i] = newFollower(w, i) // all of them before the first write
		following.Go(func() { followers[i].run(t.Context()) })
	}
	w.watchTTLs(watchCtx, &watching)
	crew := make([]*client, clients)
	for i := range crew {
		crew[i] = newClient(w, i)
		load.Go(func() { crew[i].run(ctx) })
	}
	w.misfortune(length)
	stop()
	load.Wait()

	w.settle()
	w.drainTTLs()
	last := w.marker()
	for _, f := range followers {
		f.until(last)
	}
	following.Wait()
	checkHistory(t, crew)
	checkFollowers(t, crew, followers)
	w.checkTTLs(crew)
	w.report()
}

// world is the cluster and what surrounds it. The test's goroutine owns the
// processes; the rest is shared.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	members []*proc.Member
	net     *network.Network
	seed    uint64
	began   time.Time

	replaced map[*proc.Member]bool

	line     *expiry.Timeline
	watchers []*expiry.Watcher

	faults    map[string]int
	leaderTo  []time.Duration // from the kill of a leader to the next acknowledged write
	handovers []time.Duration // from SIGTERM of a leader to the next acknowledged write
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, began: time.Now(), rng: rand.New(rand.NewPCG(seed, 0)), net: network.New(t),
		line: &expiry.Timeline{Continuous: true}, faults: map[string]int{}, replaced: map[*proc.Member]bool{},
	}
	w.members = proc.StartCluster(t, size, proc.Options{Advertise: w.net.Gate, Flags: []string{"--snapshot-count", "2000"}})
	w.net.Name(w.members...)
	return w
}

// settle mends everything and waits until all members show the same tree.
func (w *world) settle() {
	w.t.Helper()
	w.net.Mend()
	proc.Eventually(w.t, timeout, fmt.Sprintf("the members agree after the last fault of CHAOS_SEED=%d", w.seed), func() bool {
		trees := make([][]byte, size)
		for i, m := range w.members {
			if x, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/chaos?recursive=true&sorted=true"}); err == nil && x.Status == 200 {
				trees[i] = body
			}
		}
		return trees[0] != nil && !slices.ContainsFunc(trees, func(b []byte) bool { return !bytes.Equal(b, trees[0]) })
	})
}

// marker writes the last event of the run and returns its index.
func (w *world) marker() uint64 {
	w.t.Helper()
	var end answer
	proc.Eventually(w.t, timeout, fmt.Sprintf("a write goes through after the last fault of CHAOS_SEED=%d", w.seed), func() bool {
		end = put(w.t.Context(), plainHTTP(5*time.Second), w.members[0].URL(), "/chaos/end", "end")
		return end.index > 0
	})
	return end.index
}

// report prints what happened. The times are for people; none of them fails.
func (w *world) report() {
	w.t.Logf("faults: %v", w.faults)
	w.t.Logf("leader killed → next acknowledged write: %s", summary(w.leaderTo))
	w.t.Logf("leader ended by SIGTERM → next acknowledged write: %s", summary(w.handovers))
}

func summary(ds []time.Duration) string {
	if len(ds) == 0 {
		return "never happened"
	}
	slices.Sort(ds)
	show := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	return "p50 " + show(ds[len(ds)/2]) + ", max " + show(ds[len(ds)-1]) + ", " + strconv.Itoa(len(ds)) + " times"
}

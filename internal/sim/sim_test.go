package sim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"etcd2/internal/sim"
)

// TestSim lets clusters live through bad days, 300 seeds, or 20 with -short: a
// run has one goroutine, so the race detector finds nothing in it and makes it
// slow. SIM_SEEDS asks for more, SIM_SEED for one alone.
func TestSim(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 20
	}
	total := tally{}
	if shards := runtime.GOMAXPROCS(0); shards > 1 && os.Getenv("SIM_SEED") == "" && os.Getenv("SIM_SHARD") == "" {
		share(t, shards, total)
	} else {
		for seed := range sim.Seeds(t, seeds) {
			total.count(live(t, seed))
		}
	}
	if file := os.Getenv("SIM_TALLY"); file != "" {
		if err := os.WriteFile(file, []byte(total.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Log(total)
	total.demand(t)
}

// share divides the seeds among processes: a run takes over the randomness of its
// process, so that there cannot be two in one.
func share(t *testing.T, shards int, total tally) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var limit time.Duration // none
	if end, ok := t.Deadline(); ok {
		limit = time.Until(end) * 9 / 10 // so that no process outlives this one
	}
	args := []string{"-test.run=^TestSim$", fmt.Sprintf("-test.short=%v", testing.Short()), "-test.timeout=" + limit.String()}
	var mu sync.Mutex // guards total
	var all sync.WaitGroup
	for k := range shards {
		file := filepath.Join(t.TempDir(), "tally")
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("SIM_SHARD=%d/%d", k+1, shards), "SIM_TALLY="+file, "GOMAXPROCS=1", "GOGC=400")
		all.Go(func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(readTally(t, file))
		})
	}
	all.Wait()
}

func readTally(t *testing.T, file string) tally {
	var part tally
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &part)
	}
	if err != nil {
		t.Error(err)
	}
	return part
}

// live runs a cluster through the bad days that belong to its seed.
func live(t *testing.T, seed uint64) *cluster {
	t.Helper()
	c := newCluster(t, seed)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%v: %v", c, p)
			panic(p)
		}
	}()
	c.run(2000+2000*len(c.founders), badDay(seed))
	c.settle()
	if seed%8 == 0 {
		c.shrink()
	}
	c.history.end()
	return c
}

// TestSeedIsTheWholeStory runs seeds twice and compares all that happened.
func TestSeedIsTheWholeStory(t *testing.T) {
	for seed := range uint64(10) {
		first := live(t, seed).hash.Sum64()
		second := live(t, seed).hash.Sum64()
		if first != second {
			t.Errorf("seed %d gave %x and then %x", seed, first, second)
		}
		if other := live(t, seed+1000).hash.Sum64(); other == first {
			t.Errorf("seeds %d and %d gave the same run", seed, seed+1000)
		}
	}
}

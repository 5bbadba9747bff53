package sim

import (
	"iter"
	"os"
	"strconv"
	"testing"
)

// Seeds yields the seeds a simulation runs with: 1 to n. SIM_SEEDS=count in the
// environment changes n, and SIM_SEED=number replays one seed alone. A seed is
// all that a failed run needs to happen again.
func Seeds(t testing.TB, n int) iter.Seq[uint64] {
	t.Helper()
	if one, ok := number(t, "SIM_SEED"); ok {
		return func(yield func(uint64) bool) { yield(one) }
	}
	count := uint64(n)
	if many, ok := number(t, "SIM_SEEDS"); ok {
		count = many
	}
	return func(yield func(uint64) bool) {
		for seed := uint64(1); seed <= count; seed++ {
			if !yield(seed) {
				return
			}
		}
	}
}

func number(t testing.TB, name string) (uint64, bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: not a number", name, text)
	}
	return n, true
}

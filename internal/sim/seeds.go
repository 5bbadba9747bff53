package sim

import (
	"fmt"
	"iter"
	"os"
	"strconv"
	"testing"
)

// Seeds yields the seeds a simulation runs with: 1 to n. SIM_SEEDS=count in the
// environment changes n, SIM_SHARD=k/m leaves every m-th of them, beginning with
// the k-th, and SIM_SEED=number replays one seed alone. A seed is all that a
// failed run needs to happen again.
func Seeds(t testing.TB, n int) iter.Seq[uint64] {
	t.Helper()
	if one, ok := number(t, "SIM_SEED"); ok {
		return func(yield func(uint64) bool) { yield(one) }
	}
	count := uint64(n)
	if many, ok := number(t, "SIM_SEEDS"); ok {
		count = many
	}
	first, stride := uint64(1), uint64(1)
	if text := os.Getenv("SIM_SHARD"); text != "" {
		if n, err := fmt.Sscanf(text, "%d/%d", &first, &stride); n != 2 || first == 0 || stride < first {
			t.Fatalf("SIM_SHARD=%s: not a shard such as 1/2: %v", text, err)
		}
	}
	return func(yield func(uint64) bool) {
		for seed := first; seed <= count; seed += stride {
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

package proc

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// FaultRun returns how long a run of random faults lasts, which CHAOS says, and the seed
// of its choices, which CHAOS_SEED says.
func FaultRun(t testing.TB, length time.Duration) (time.Duration, uint64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano() >> 10 & 0xffffff)
	var err error
	if text := os.Getenv("CHAOS"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS=%q is no duration such as 5m", text)
		}
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED=%q is not a number", text)
		}
	}
	return length, seed
}

//go:build unix

package openfiles

import (
	"os"
	"testing"
)

func TestCountFollowsOpenFiles(t *testing.T) {
	before := Count()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := Count(); before == 0 || got != before+1 {
		t.Errorf("Count() = %d with one more file open, %d before", got, before)
	}
	if limit, ok := Limit(); !ok || limit < uint64(before) {
		t.Errorf("Limit() = %d, %v with %d files open", limit, ok, before)
	}
}

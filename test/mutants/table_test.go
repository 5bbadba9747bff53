package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Code moves on, and a mutant that fits nowhere proves nothing.
func TestEveryMutantFits(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if n := strings.Count(string(b), m.old); n != 1 || m.old == m.new {
			t.Errorf("%s: %s has %d places like %q, want 1", m.name, m.file, n, m.old)
		}
		if names[m.name] || len(m.test) == 0 {
			t.Errorf("%s: the name is taken, or there is no test", m.name)
		}
		names[m.name] = true
	}
	list, err := os.ReadFile(filepath.Join(root, "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !strings.Contains(string(list), "| "+name+" |") {
			t.Errorf("docs/testing.md does not list %q", name)
		}
	}
}

func TestFinder(t *testing.T) {
	tests := []struct{ out, want string }{
		{"--- FAIL: TestSim (1s)\n  x: SIM_SEED=17 go test: step 3: bad", "SIM_SEED=17"},
		{"--- FAIL: TestFlip (1s)\n  x", "TestFlip"},
		{"panic: index goes back\n\ngoroutine 1", "panic: index goes back"},
		{"exit status 1", "a failure"},
	}
	for _, tt := range tests {
		if got := finderOf(tt.out); got != tt.want {
			t.Errorf("finderOf(%q) = %q, want %q", tt.out, got, tt.want)
		}
	}
}

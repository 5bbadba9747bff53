package snap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"etcd2/store"
)

// Whatever an interrupted install leaves behind, the old checkpoint is used and
// the leftover goes; from the renaming on it is the new one.
func TestCrashDuringInstall(t *testing.T) {
	from, st := reopen(t, t.TempDir())
	defer from.Close()
	if _, err := st.Apply(store.Op{Action: store.Set, Path: "/1/new", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	commit(t, from, st, 9)
	var stream bytes.Buffer
	if _, _, err := from.Stream(&stream); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := small(t, dir, nil)
	part := filepath.Join(dir, partName)
	for cut := 0; cut <= stream.Len(); cut += 1777 {
		if err := os.WriteFile(part, stream.Bytes()[:cut], fileMode); err != nil {
			t.Fatal(err)
		}
		s, old := reopen(t, dir)
		if dumpOf(t, old) != want {
			t.Fatalf("a part file of %d bytes changed what is loaded", cut)
		}
		if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("a part file of %d bytes is still there", cut)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	s, _ := reopen(t, dir)
	if _, err := s.Receive(&stream, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // received, not installed: gone
		t.Fatal(err)
	}
	s, old := reopen(t, dir)
	defer s.Close()
	if dumpOf(t, old) != want {
		t.Error("a received checkpoint took effect without Install")
	}
}

const crashDir = "SNAP_TEST_CRASH_DIR" // set in the process to be killed

// TestCommitsUntilKilled is the process that TestKill kills: it commits for
// ever and prints each index when its commit has returned.
func TestCommitsUntilKilled(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("runs as a process of its own, started by TestKill")
	}
	s, st := reopen(t, dir)
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for i := st.Index(); ; i = st.Index() {
		for range 1 + rng.IntN(200) {
			op := store.Op{Action: store.Set, Path: fmt.Sprintf("/1/%03d", rng.IntN(500)), Value: strings.Repeat("v", rng.IntN(300))}
			if _, err := st.Apply(op); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, st, i+1)
		fmt.Printf("committed %d\n", st.Index())
	}
}

// A process that commits is killed again and again at any moment. Its
// checkpoint always loads and holds at least what was reported as committed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCommitsUntilKilled$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(time.Duration(30+rng.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		committed := uint64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "committed "); ok {
				if committed, err = strconv.ParseUint(text, 10, 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		killer.Stop()
		if err := cmd.Wait(); err == nil {
			t.Fatalf("round %d: the process ended by itself", round)
		}
		s, err := Open(dir, Config{})
		if err != nil {
			t.Fatalf("round %d: Open() = %v", round, err)
		}
		st, m, err := s.Load(smallHistory)
		if err != nil {
			t.Fatalf("round %d: Load() = %v", round, err)
		}
		if m.StoreIndex < committed || m.StoreIndex != st.Index() {
			t.Fatalf("round %d: the checkpoint is at %d, %d was committed", round, m.StoreIndex, committed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

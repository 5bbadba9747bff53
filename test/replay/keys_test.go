package replay

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

func TestMain(m *testing.M) {
	// The files wait more than they compute (expiry, silence), so more of them run
	// side by side than there are processors, unless the caller chose a number.
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", "8")
	}
	os.Exit(proc.Main(m))
}

// recordings returns the files to replay: those of testdata/keys and those of the
// directory that REPLAY_DIR names.
func recordings(t *testing.T, sub string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", sub, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("REPLAY_DIR"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, sub, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	if len(files) == 0 {
		t.Fatal("no recordings found")
	}
	return files
}

// nameOf is the name of a recording in the table of differences.
func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".json") }

// TestKeys replays every recording over both ways a request can take: as an
// everyday one, which the server's own front answers, and with a header that makes
// the front leave it to net/http. The answers are the same.
func TestKeys(t *testing.T) {
	ways := []struct {
		name  string
		extra []wire.Field
	}{
		{"front", nil},
		{"net-http", []wire.Field{{Name: "Upgrade", Value: "etcd2-test"}}},
	}
	for _, file := range recordings(t, "keys") {
		for _, way := range ways {
			if proc.Foreign() && way.extra != nil {
				continue
			}
			t.Run(nameOf(file)+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				rec, err := Load(file)
				if err != nil {
					t.Fatal(err)
				}
				replay(t, nameOf(file), rec, way.extra)
			})
		}
	}
}

// replay runs a recording against a fresh member and reports every step that is
// answered otherwise.
func replay(t *testing.T, name string, rec Recording, extra []wire.Field) {
	m := proc.Start(t, proc.Options{Flags: rec.Flags(), Own: []string{"--history-events", "1000"}})
	r, err := NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Sorted, r.Extra = !proc.Foreign(), extra
	passed := 0
	for i, recorded := range rec {
		steps := []Step{recorded}
		if d, ok := find(name, recorded.Name); ok && !proc.Foreign() {
			if steps, err = d.Instead(recorded); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		for _, s := range steps {
			if err := r.Run(s); err != nil {
				t.Errorf("step %d %q, %v: %v", i, s.Name, s, err)
			} else if s.Judged() {
				passed++
			}
		}
	}
	t.Logf("%d steps passed", passed)
}

func find(file, step string) (Difference, bool) {
	for _, d := range Differences() {
		if d.File == file && d.Step == step {
			return d, true
		}
	}
	return Difference{}, false
}

// TestDifferencesNameRecordedSteps keeps the table honest: every entry names
// exactly one step of the recordings, gives a reason and changes the step.
func TestDifferencesNameRecordedSteps(t *testing.T) {
	for _, d := range Differences() {
		rec, err := Load(filepath.Join("testdata", "keys", d.File+".json"))
		if err != nil {
			t.Errorf("%s: %v", d.Step, err)
			continue
		}
		found := 0
		for _, s := range rec {
			if s.Name != d.Step {
				continue
			}
			found++
			if _, err := d.Instead(s); err != nil {
				t.Errorf("%s: %v", d.File, err)
			}
		}
		if found != 1 {
			t.Errorf("%s: %d steps are called %q, want 1", d.File, found, d.Step)
		}
		if d.Why == "" {
			t.Errorf("%s, %q: no reason", d.File, d.Step)
		}
	}
}

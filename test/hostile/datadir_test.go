package hostile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// files returns the content sums of a tree, to see whether anything was changed.
func files(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sums[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// refuses starts a member that must not come up, and returns its log. It must end
// with status 1.
func refuses(t *testing.T, m *proc.Member) string {
	t.Helper()
	before := len(m.Log())
	if err := m.Begin(); err != nil {
		t.Fatal(err)
	}
	state, err := m.Wait(20 * time.Second)
	log := m.Log()[before:]
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if state.ExitCode() != 1 {
		t.Errorf("the server ended with %v, want status 1\n%s", state, log)
	}
	if strings.Contains(log, "goroutine ") {
		t.Errorf("the server crashed instead of explaining itself:\n%s", log)
	}
	return log
}

// only returns the one file of the data directory that matches.
func only(t *testing.T, m *proc.Member, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(m.Dir, "member", pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("files matching %s: %v, %v, want one", pattern, found, err)
	}
	return found[0]
}

// killed returns a member that was killed after it had acknowledged n writes.
func killed(t *testing.T, n int, flags ...string) *proc.Member {
	t.Helper()
	m := proc.Start(t, proc.Options{Flags: flags})
	for i := range n {
		put(t, m, fmt.Sprintf("/k%02d", i), fmt.Sprintf("needle-%02d", i))
	}
	m.Kill()
	return m
}

// TestTornWriteIsDiscarded leaves of the last write what a crash in the middle of it
// may leave: its first bytes, and zeros behind them. The writes before it are served,
// and the log goes on.
func TestTornWriteIsDiscarded(t *testing.T) {
	const n = 20
	for _, share := range []float64{0.01, 0.3, 0.6, 0.99} {
		t.Run(fmt.Sprintf("%.0f%%", 100*share), func(t *testing.T) {
			t.Parallel()
			m := proc.Start(t, proc.Options{})
			for i := range n {
				put(t, m, fmt.Sprintf("/k%02d", i), fmt.Sprintf("needle-%02d", i))
			}
			log := only(t, m, "wal/*.wal")
			from := written(t, log)
			put(t, m, "/torn", "never-acknowledged")
			to := written(t, log)
			m.Kill()
			cut := from + max(1, int64(share*float64(to-from)))
			if err := errors.Join(os.Truncate(log, cut), os.Truncate(log, to+4096)); err != nil {
				t.Fatal(err)
			}
			before := len(m.Log())
			restart(t, m)
			if _, ok := lineWith(m.Log()[before:], "W |", "discarded an incomplete write", log, fmt.Sprintf("offset=%d", from)); !ok {
				t.Errorf("no warning names %s and byte %d:\n%s", log, from, m.Log()[before:])
			}
			for i := range n {
				holds(t, m, fmt.Sprintf("/k%02d", i), fmt.Sprintf("needle-%02d", i))
			}
			if x, _, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/torn"}); err != nil || x.Status != 404 {
				t.Errorf("the torn write was served: %v, %v", x, err)
			}
			put(t, m, "/after", "1")
			m.Kill()
			restart(t, m)
			holds(t, m, "/after", "1")
		})
	}
}

// TestCutLogIsRefused cuts the log of a killed member to a part of what is used. All of
// its writes were acknowledged, so the member must not start with some of them.
func TestCutLogIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		keep  func(used int64) int64
		flags []string
	}{
		{"to 3/4", func(used int64) int64 { return used * 3 / 4 }, nil},
		{"to 1/2", func(used int64) int64 { return used / 2 }, nil},
		{"by a byte", func(used int64) int64 { return used - 1 }, nil},
		{"by the room behind it", func(used int64) int64 { return used }, nil},
		{"to 100 bytes", func(int64) int64 { return 100 }, nil},
		{"to nothing", func(int64) int64 { return 0 }, nil},
		{"to 3/4 with a checkpoint", func(used int64) int64 { return used * 3 / 4 }, []string{"--snapshot-count", "7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := killed(t, 40, tt.flags...)
			log := only(t, m, "wal/*.wal")
			if err := os.Truncate(log, tt.keep(written(t, log))); err != nil {
				t.Fatal(err)
			}
			before := files(t, m.Dir)
			said := refuses(t, m)
			if _, ok := lineWith(said, log, "at byte", "restore the member from a backup"); !ok {
				t.Errorf("no line names %s and the damage:\n%s", log, said)
			}
			for name, sum := range files(t, m.Dir) {
				if before[name] != sum {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}

// written returns where the zeros begin that preallocation left at the end of a
// log.
func written(t *testing.T, file string) int64 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(bytes.TrimRight(b, "\x00")))
}

func TestFlippedBitIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		file  string
		flags []string
	}{
		{"in the log", "wal/*.wal", nil},
		{"in the checkpoint", "snap/checkpoint.db", []string{"--snapshot-count", "5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := killed(t, 40, tt.flags...)
			file := only(t, m, tt.file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Every copy of one value that is long acknowledged and followed by others.
			needle, hits := []byte("needle-10"), 0
			for at := bytes.Index(b, needle); at >= 0; at = bytes.Index(b, needle) {
				b[at+3] ^= 0x10
				hits++
			}
			if hits == 0 {
				t.Fatalf("%s does not hold %s", file, needle)
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			before := files(t, m.Dir)
			log := refuses(t, m)
			if _, ok := lineWith(log, file); !ok {
				t.Errorf("no line names %s:\n%s", file, log)
			}
			after := files(t, m.Dir)
			for name, sum := range before {
				if after[name] != sum {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}

func TestLockedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	put(t, m, "/a", "1")
	second := proc.New(t, proc.Options{Dir: m.Dir})
	log := refuses(t, second)
	if _, ok := lineWith(log, m.Dir, "lock"); !ok {
		t.Errorf("no line says that %s is locked:\n%s", m.Dir, log)
	}
	put(t, m, "/a", "2") // the first one goes on
	holds(t, m, "/a", "2")
}

func TestFileInThePlaceOfTheDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := refuses(t, proc.New(t, proc.Options{Dir: file}))
	if _, ok := lineWith(log, file); !ok {
		t.Errorf("no line names %s:\n%s", file, log)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	foreign := map[string]string{"notes.txt": "mine", "conf": `{"old":true}`}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := proc.Start(t, proc.Options{Dir: dir})
	put(t, m, "/a", "1")
	for name, text := range foreign {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != text {
			t.Errorf("%s is now %q, %v", name, b, err)
		}
	}
	if _, ok := lineWith(m.Log(), "W |", "notes.txt"); !ok {
		t.Errorf("no warning names notes.txt:\n%s", m.Log())
	}
}

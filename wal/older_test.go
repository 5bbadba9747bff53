package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/wal"
)

// older reads a log of testdata/older. The last release without reserved room in its
// segments has written them, with segments of 1 KiB.
func older(t *testing.T, name string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "older", name, "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no log %s: %v", name, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[dir+"/"+filepath.Base(path)] = b
	}
	return files
}

func olderConfig(d *sim.Disk) wal.Config { return wal.Config{Dir: dir, FS: d, SegmentBytes: 1024} }

// A log that an older server has left opens, goes on in a segment with reserved room,
// and cannot be cut without notice from then on.
func TestOlderLog(t *testing.T) {
	four := fmt.Sprintf(`metadata "member 1 of cluster 2", hard 1/7/2, after 0/0: 1/1/1:6a6f696e 2/1/0:%x 3/1/0:%x 4/1/0:666f7572`,
		bytes.Repeat([]byte("v"), 700), bytes.Repeat([]byte("3"), 150))
	tests := []struct {
		name string
		want string
		warn string
	}{
		{"empty", `metadata "member 1 of cluster 2", hard 0/0/0, after 0/0:`, ""},
		{"killed", four, ""},
		{"torn", four, "discarded an incomplete write"},
		{"mended", four, "ends without reserved room"}, // a torn group was truncated, then the process killed
		{"restarted", `metadata "member 1 of cluster 2", hard 3/0/20, after 20/3:`, ""},
	}
	for _, tt := range tests {
		d := copyDisk(older(t, tt.name))
		cfg := olderConfig(d)
		var log bytes.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, st := mustOpen(t, cfg)
		if got := describe(st); got != tt.want {
			t.Fatalf("%s: opened as\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		if got := log.String(); !strings.Contains(got, tt.warn) || (got == "") != (tt.warn == "") {
			t.Errorf("%s: logged %q, want %q", tt.name, got, tt.warn)
		}
		d.Kill() // before the first write
		l, st := mustOpen(t, cfg)
		e := entry(st.PrevIndex+uint64(len(st.Entries))+1, 9, raftpb.EntryNormal, []byte("new"))
		if err := l.Save(nil, []*raftpb.Entry{e}); err != nil {
			t.Fatal(err)
		}
		d.Crash()
		files := d.Files()
		_, again := mustOpen(t, cfg)
		st.Entries = append(st.Entries, e)
		if got, want := describe(again), describe(st); got != want {
			t.Fatalf("%s: after another group reopened as\n%s\nwant\n%s", tt.name, got, want)
		}
		checkCuts(t, tt.name, files, olderConfig(nil), describe(st))
	}
}

// In a segment of an older server a cut right behind the header or a group looks like
// what that server leaves after a torn write or on a full disk. Every other cut is
// refused.
func TestCutOlderLog(t *testing.T) {
	files := older(t, "killed")
	names := segments(files)
	name := names[len(names)-1]
	b := files[name]
	var whole []int
	for size := range used(b) + 1 {
		cfg := olderConfig(nil)
		cfg.FS = frozen(with(files, name, b[:size]))
		_, _, err := wal.Open(cfg)
		switch {
		case errors.Is(err, errFrozen):
			whole = append(whole, size)
		case !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), name+" at byte "):
			t.Errorf("cut to %d bytes: Open error = %v, want ErrCorrupt with file and byte", size, err)
		}
	}
	if len(whole) != 3 || whole[0] != 109 || whole[2] != used(b) {
		t.Errorf("opens when cut to %v, want behind the header (109) and behind each of two groups (up to %d)", whole, used(b))
	}
}

// On a full disk an older segment takes groups as long as they fit.
func TestOlderLogOnFullDisk(t *testing.T) {
	d := copyDisk(older(t, "killed"))
	cfg := olderConfig(d)
	l, st := mustOpen(t, cfg)
	d.SetFull(0)
	if err := l.Save(hard(5, 1, 2), nil); err != nil {
		t.Fatalf("Save in the room of an older segment: %v", err)
	}
	big := []*raftpb.Entry{entry(5, 5, raftpb.EntryNormal, make([]byte, 2000))}
	if err := l.Save(nil, big); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("Save of more than the room: error = %v, want ErrFull", err)
	}
	d.SetFull(-1)
	if err := l.Save(nil, big); err != nil {
		t.Fatal(err)
	}
	d.Crash()
	_, again := mustOpen(t, cfg)
	if again.Hard.GetTerm() != 5 || len(again.Entries) != len(st.Entries)+1 {
		t.Errorf("reopened as %s, want term 5 and entry 5", describe(again))
	}
}

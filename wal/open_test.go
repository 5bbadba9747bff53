package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/disk"
	"etcd2/wal"
)

func TestNoLog(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	for _, prepare := range []func(){
		func() {},
		func() {
			if err := d.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		prepare()
		if _, _, err := wal.Open(cfg); !errors.Is(err, wal.ErrNoLog) {
			t.Errorf("Open error = %v, want ErrNoLog", err)
		}
		if ok, err := wal.Exists(cfg); ok || err != nil {
			t.Errorf("Exists = %v, %v, want false", ok, err)
		}
	}
	if files := d.Files(); len(files) > 0 {
		t.Errorf("looking left files behind: %v", files)
	}
	mustCreate(t, cfg)
	if ok, err := wal.Exists(cfg); !ok || err != nil {
		t.Errorf("Exists = %v, %v after Create, want true", ok, err)
	}
}

func TestCreateOverLog(t *testing.T) {
	cfg := smallConfig(newDisk())
	if err := mustCreate(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := wal.Create(cfg, nil); !errors.Is(err, wal.ErrExists) {
		t.Errorf("Create over a log: error = %v, want ErrExists", err)
	}
	mustOpen(t, cfg)
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "member", "wal")}
	l := mustCreate(t, cfg)
	for name, want := range map[string]os.FileMode{
		"": os.ModeDir | 0o700, "0000000000000000-0000000000000001.wal": 0o600, "lock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %q is %v, want %v", name, info.Mode(), want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseWhileSaving(t *testing.T) {
	cfg := smallConfig(newDisk())
	l := mustCreate(t, cfg)
	const last = 200
	saved := make(chan uint64, last) // room for all: the saver never waits
	done := make(chan error, 1)
	go func() {
		for i := range saved {
			if err := l.Release(i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := uint64(1); i <= last; i++ {
		if err := l.Save(nil, []*raftpb.Entry{entry(i, 1, raftpb.EntryNormal, make([]byte, 300))}); err != nil {
			t.Fatal(err)
		}
		saved <- i
	}
	close(saved)
	if err := <-done; err != nil {
		t.Fatalf("Release: %v", err)
	}
	if n := l.Segments(); n != 1 {
		t.Errorf("%d segments when all entries are released, want 1", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, st := mustOpen(t, cfg); st.PrevIndex+uint64(len(st.Entries)) != last {
		t.Errorf("log ends at %d, want %d", st.PrevIndex+uint64(len(st.Entries)), last)
	}
}

func TestLocked(t *testing.T) {
	cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "wal")}
	l := mustCreate(t, cfg)
	_, _, err := wal.Open(cfg)
	if !errors.Is(err, disk.ErrLocked) || !strings.Contains(err.Error(), "file already locked") {
		t.Errorf("Open of a log in use: error = %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, _ = mustOpen(t, cfg)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMissingSegment(t *testing.T) {
	steps := smallLog(t)
	files := steps[len(steps)-1].files
	names := segments(files)
	for i, name := range names[1:] {
		rest := maps.Clone(files)
		delete(rest, name)
		_, err := reopen(rest, smallConfig(nil))
		number := filepath.Base(name)[:16]
		if !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), number) {
			t.Errorf("segment %d of %d missing: Open error = %v, want ErrCorrupt naming %s", i+2, len(names), err, number)
		}
	}
}

func TestForeignFiles(t *testing.T) {
	steps := smallLog(t)
	last := steps[len(steps)-1]
	tests := []struct {
		name    string
		refused bool
	}{
		{name: "README"},
		{name: "0000000000000000-0000000000000001.wal.broken"},
		{name: "0000000000000009-0000000000000009.snap"},
		{name: "1.wal", refused: true},
		{name: "0000000000000000-000000000000000Z.wal", refused: true},
		{name: "00000000000000AA-0000000000000001.wal", refused: true},
		{name: "0000000000000001-00000000000000ff.wal", refused: true}, // a number twice
	}
	for _, test := range tests {
		files := with(last.files, dir+"/"+test.name, []byte("whatever"))
		d := copyDisk(files)
		var log bytes.Buffer
		cfg := smallConfig(d)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, st, err := wal.Open(cfg)
		switch {
		case test.refused:
			if !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), test.name) {
				t.Errorf("%s: Open error = %v, want ErrCorrupt naming it", test.name, err)
			}
		case err != nil:
			t.Errorf("%s: Open: %v", test.name, err)
		case describe(st) != last.state:
			t.Errorf("%s: opened as\n%s\nwant\n%s", test.name, describe(st), last.state)
		case !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), test.name):
			t.Errorf("%s: logged %q, want a warning that names it", test.name, log.String())
		}
		if got, err := d.ReadFile(dir + "/" + test.name); string(got) != "whatever" {
			t.Errorf("%s: the file is now %q, %v", test.name, got, err)
		}
	}
}

// The log of another etcd has segments of the same names. Not even a lock is left
// beside them.
func TestLogOfAnotherEtcd(t *testing.T) {
	name := dir + "/0000000000000000-0000000000000000.wal"
	d := copyDisk(map[string][]byte{name: append([]byte{4, 0, 0, 0, 0, 0, 0, 0x84}, make([]byte, 100)...)})
	if _, _, err := wal.Open(smallConfig(d)); !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "another etcd") {
		t.Errorf("Open error = %v, want ErrCorrupt that names %s and another etcd", err, name)
	}
	if files := d.Files(); len(files) != 1 {
		t.Errorf("Open left %d files where there was one", len(files))
	}
}

func TestSegmentOfAnotherLog(t *testing.T) {
	one, two := smallLog(t), smallLog(t)
	files := one[len(one)-1].files
	for _, name := range segments(files) {
		other := two[len(two)-1].files[name]
		if _, err := reopen(with(files, name, other), smallConfig(nil)); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("%s from a log with the same content: Open error = %v, want ErrCorrupt", name, err)
		}
	}
	data := []byte("0123456789abcdef")
	if _, err := reopen(with(files, segments(files)[0], data), smallConfig(nil)); !errors.Is(err, wal.ErrCorrupt) {
		t.Errorf("segment of another kind: Open error = %v, want ErrCorrupt", err)
	}
}

func TestFutureVersion(t *testing.T) {
	steps := smallLog(t)
	files := steps[0].files
	name := segments(files)[0]
	b := bytes.Clone(files[name])
	binary.LittleEndian.PutUint32(b[8:], 2)
	n := binary.LittleEndian.Uint32(b[12:])
	binary.LittleEndian.PutUint32(b[n-4:], crc32.Checksum(b[:n-4], crc32.MakeTable(crc32.Castagnoli)))
	_, err := reopen(with(files, name, b), smallConfig(nil))
	if !errors.Is(err, wal.ErrVersion) || !strings.Contains(err.Error(), filepath.Base(name)) {
		t.Errorf("Open of a newer format: error = %v, want ErrVersion naming the file", err)
	}
}

func TestTornTailIsLogged(t *testing.T) {
	steps := smallLog(t)
	s := steps[1]
	name := segments(s.files)[0]
	start, end := written(steps[0].files[name], s.files[name])
	b := bytes.Clone(s.files[name])
	b[end-1] = 0
	var log bytes.Buffer
	cfg := smallConfig(nil)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := reopen(with(s.files, name, b), cfg); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`level=WARN msg="discarded an incomplete write at the end of the log" file=%s offset=%d bytes=%d`,
		name, start, len(bytes.TrimRight(b, "\x00"))-start)
	if got := log.String(); !strings.Contains(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}

func TestUnusableDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		// Modes do not stop root; a file in the directory's place does.
		t.Log("running as root: only the file in the way is tried")
	}
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := wal.Create(wal.Config{Dir: file}, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Create in a file: error = %v, want one that names it", err)
	}
	if _, _, err := wal.Open(wal.Config{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open of a file: error = %v, want one that names it", err)
	}
	if os.Geteuid() == 0 {
		return
	}
	cfg := wal.Config{Dir: filepath.Join(parent, "wal")}
	if err := mustCreate(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Dir, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := wal.Open(cfg); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("Open of an unreadable directory: error = %v, want ErrPermission naming it", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestGapsAreRefused(t *testing.T) {
	l := mustCreate(t, smallConfig(newDisk()))
	save := func(indexes ...uint64) error {
		var es []*raftpb.Entry
		for _, i := range indexes {
			es = append(es, entry(i, 1, raftpb.EntryNormal, nil))
		}
		return l.Save(nil, es)
	}
	for _, bad := range [][]uint64{{0}, {2}, {1, 3}, {1, 1}} {
		if err := save(bad...); err == nil {
			t.Errorf("Save of entries %v in an empty log gave no error", bad)
		}
	}
	if err := save(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	if err := l.Restart(10, 1); err != nil {
		t.Fatal(err)
	}
	if err := save(10); err == nil {
		t.Error("Save of an entry that a snapshot has superseded gave no error")
	}
	if err := l.Restart(9, 1); err == nil {
		t.Error("Restart before the snapshot gave no error")
	}
	if err := save(11); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseAndRestart(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	l := mustCreate(t, cfg)
	for i := uint64(1); i <= 40; i++ {
		if err := l.Save(hard(1, 1, i), []*raftpb.Entry{entry(i, 1, raftpb.EntryNormal, make([]byte, 400))}); err != nil {
			t.Fatal(err)
		}
	}
	all, size := l.Segments(), l.Bytes()
	if all < 8 || size < 40*400 {
		t.Fatalf("%d segments of %d bytes, want 8 or more", all, size)
	}
	if err := l.Release(20); err != nil {
		t.Fatal(err)
	}
	if n := l.Segments(); n >= all || n < all/2-1 || l.Bytes() >= size {
		t.Errorf("%d segments and %d bytes after releasing half of %d", n, l.Bytes(), all)
	}
	d.Crash()
	l, st := mustOpen(t, cfg)
	if last := len(st.Entries); st.PrevIndex == 0 || st.PrevIndex > 20 || st.PrevIndex+uint64(last) != 40 {
		t.Errorf("log has %d entries after %d, want those up to 40 after 20 or less", last, st.PrevIndex)
	}
	if err := l.Restart(100, 7); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(100); err != nil {
		t.Fatal(err)
	}
	if n := l.Segments(); n != 1 {
		t.Errorf("%d segments after a restart and its release, want 1", n)
	}
	d.Crash()
	_, st = mustOpen(t, cfg)
	if got, want := describe(st), `metadata "member 1 of cluster 2", hard 7/0/100, after 100/7:`; got != want {
		t.Errorf("after a restart the log is\n%s\nwant\n%s", got, want)
	}
}

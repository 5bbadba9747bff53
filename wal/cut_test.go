package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/wal"
)

// used returns how many bytes of a segment are not preallocated zeros.
func used(b []byte) int {
	return max(int(binary.LittleEndian.Uint32(b[12:])), len(bytes.TrimRight(b, "\x00")))
}

// checkCut cuts the last segment of a log to a size. If bytes of the header or of a
// group are gone, or all of the room behind them, Open must refuse before it tries to
// change anything. Otherwise nothing is lost.
func checkCut(t *testing.T, what string, files map[string][]byte, cfg wal.Config, size int, want string) {
	t.Helper()
	names := segments(files)
	name := names[len(names)-1]
	cut := with(files, name, files[name][:size])
	if size > used(files[name]) {
		if got, err := reopen(cut, cfg); err != nil || got != want {
			t.Fatalf("%s, %s cut to %d bytes of room: opened as\n%s, %v\nwant\n%s", what, name, size, got, err, want)
		}
		return
	}
	cfg.FS = frozen(cut)
	_, _, err := wal.Open(cfg)
	if !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), name+" at byte ") || !strings.Contains(err.Error(), "backup") {
		t.Fatalf("%s, %s cut to %d bytes of %d: Open error = %v, want ErrCorrupt with file, byte and advice", what, name, size, used(files[name]), err)
	}
}

// checkCuts cuts the last segment of a log to every size that loses something, and to
// some that do not.
func checkCuts(t *testing.T, what string, files map[string][]byte, cfg wal.Config, want string) {
	t.Helper()
	names := segments(files)
	b := files[names[len(names)-1]]
	for size := range min(len(b), used(b)+5) {
		checkCut(t, what, files, cfg, size, want)
	}
	checkCut(t, what, files, cfg, len(b), want)
}

// A last segment that is shorter than its preallocation is no torn write: what is
// missing may have been acknowledged. The log is taken after every Save, so each
// boundary between groups is a place of a cut, and that behind the header too.
func TestCutAtEveryByte(t *testing.T) {
	for i, s := range smallLog(t) {
		checkCuts(t, fmt.Sprintf("after %d saves", i), s.files, smallConfig(nil), s.state)
	}
}

// Groups larger than what is preallocated for them.
func TestCutBigGroups(t *testing.T) {
	d := newDisk()
	cfg := wal.Config{Dir: dir, FS: d}
	l := mustCreate(t, cfg)
	sizes := []int{0, 1, 1 << 20, 1<<20 + 1, 2 << 20, 4 << 20, 8 << 20}
	for i, n := range []int{700_000, 100, 700_000, 3 << 20, 5 << 20, 100} {
		e := entry(uint64(i)+1, 1, raftpb.EntryNormal, bytes.Repeat([]byte("x"), n))
		if err := l.Save(nil, []*raftpb.Entry{e}); err != nil {
			t.Fatal(err)
		}
		end := int(l.Bytes())
		sizes = append(sizes, end-n/2, end-1, end, end+1, end+23, end+25, end+30)
	}
	files := d.Files()
	want, err := reopen(files, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := files[segments(files)[0]]
	for _, size := range append(sizes, used(b)/2, used(b)*3/4) {
		if size <= len(b) {
			checkCut(t, "big groups", files, cfg, size, want)
		}
	}
}

// On a disk that is nearly full only as much is reserved as a group needs. That is
// no cut file, and it cannot be cut without notice.
func TestCutOnNearlyFullDisk(t *testing.T) {
	for _, free := range []int64{300, 1000, 3000} {
		d := newDisk()
		cfg := smallConfig(d)
		d.SetFull(free)
		l := mustCreate(t, cfg)
		for i := uint64(1); ; i++ {
			e := entry(i, 1, raftpb.EntryNormal, bytes.Repeat([]byte("x"), 60))
			err := l.Save(hard(1, 1, 0), []*raftpb.Entry{e})
			if errors.Is(err, wal.ErrFull) && i > 1 {
				break
			}
			if err != nil {
				t.Fatalf("%d bytes free, Save %d: %v", free, i, err)
			}
			files := d.Files()
			want, err := reopen(files, cfg)
			if err != nil {
				t.Fatalf("%d bytes free, after %d saves: %v", free, i, err)
			}
			checkCuts(t, fmt.Sprintf("%d bytes free, after %d saves", free, i), files, smallConfig(nil), want)
		}
	}
}

// The segment that Restart makes has no room reserved. The first group goes to one
// that has.
func TestCutAfterRestart(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	l := mustCreate(t, cfg)
	if err := l.Save(hard(1, 1, 0), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Restart(10, 2); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(4) {
		if i > 0 {
			if err := l.Save(nil, []*raftpb.Entry{entry(10+i, 2, raftpb.EntryNormal, []byte("x"))}); err != nil {
				t.Fatal(err)
			}
		}
		if i == 2 {
			if err := l.Release(10); err != nil {
				t.Fatal(err)
			}
		}
		files := d.Files()
		want, err := reopen(files, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			checkCuts(t, fmt.Sprintf("%d saves after a restart", i), files, cfg, want)
		}
	}
}

// Open erases a torn group without changing the size of the file. A machine that stops
// at any moment of this finds a torn group again, or none.
func TestCrashWhileTornGroupIsErased(t *testing.T) {
	steps := smallLog(t)
	for i, s := range steps[1:] {
		names := segments(s.files)
		name := names[len(names)-1]
		b, old := s.files[name], steps[i].files[name]
		if old == nil {
			continue
		}
		start, end := written(old, b)
		var torn [][]byte
		for _, at := range []int{start + 1, start + 20, start + 24, start + 26, (start + end) / 2, end - 1} {
			torn = append(torn, append(bytes.Clone(b[:at]), make([]byte, len(b)-at)...))
		}
		for sector := start / 512; sector <= (end-1)/512; sector++ {
			hole := bytes.Clone(b)
			clear(hole[max(start, sector*512):min(end, sector*512+512)])
			torn = append(torn, hole)
		}
		for _, b := range torn {
			checkErase(t, with(s.files, name, b), steps[i].state)
		}
	}
}

func checkErase(t *testing.T, files map[string][]byte, want string) {
	t.Helper()
	for stop := range 12 {
		for seed := range uint64(6) {
			d := seededDisk(seed)
			for name, b := range files {
				d.WriteFile(name, b)
			}
			cfg := smallConfig(d)
			d.StopAfter(stop)
			_, _, stopped := wal.Open(cfg)
			if stopped != nil && !errors.Is(stopped, sim.ErrDown) {
				t.Fatalf("Open: %v", stopped)
			}
			if seed%2 == 0 {
				d.Kill()
			} else {
				d.Crash()
			}
			_, st := mustOpen(t, cfg)
			if got := describe(st); got != want {
				t.Fatalf("stopped after %d calls, seed %d: reopened as\n%s\nwant\n%s", stop, seed, got, want)
			}
		}
	}
}

// A file that is cut within the first bytes is not taken for that of another program.
func TestCutInMagic(t *testing.T) {
	files := smallLog(t)[0].files
	name := segments(files)[0]
	for _, size := range []int{0, 1, 7, 8, 15} {
		_, err := reopen(with(files, name, files[name][:size]), smallConfig(nil))
		if want := fmt.Sprintf("%s at byte %d", filepath.ToSlash(name), size); !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("cut to %d bytes: Open error = %v, want ErrCorrupt with %q", size, err, want)
		}
	}
}

// After a failed sync of the reserved size the file may be longer in memory than on the
// disk. Open makes sure of the size that it goes on with.
func TestSizeOfFailedSyncIsWrittenAgain(t *testing.T) {
	for seed := range uint64(50) {
		d := seededDisk(seed)
		cfg := smallConfig(d)
		l := mustCreate(t, cfg)
		d.FailSync(1)
		if err := l.Save(nil, []*raftpb.Entry{entry(1, 1, raftpb.EntryNormal, make([]byte, 3000))}); err == nil {
			t.Fatal("Save with a failing sync gave no error")
		}
		d.Kill()
		l, _ = mustOpen(t, cfg)
		if err := l.Save(nil, []*raftpb.Entry{entry(1, 1, raftpb.EntryNormal, make([]byte, 2500))}); err != nil {
			t.Fatal(err)
		}
		d.Crash()
		if _, st, err := wal.Open(cfg); err != nil || len(st.Entries) != 1 {
			t.Fatalf("seed %d: Open = %s, %v, want one entry", seed, describe(st), err)
		}
	}
}

package wal_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/wal"
)

// segments returns the names of the segments among files, oldest first.
func segments(files map[string][]byte) []string {
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".wal") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// with is a copy of files in which one has other bytes.
func with(files map[string][]byte, name string, b []byte) map[string][]byte {
	files = maps.Clone(files)
	files[name] = b
	return files
}

// written returns where the last group of b begins and ends, when old is the
// same segment before that group.
func written(old, b []byte) (start, end int) {
	for start < len(old) && start < len(b) && old[start] == b[start] {
		start++
	}
	return start, len(bytes.TrimRight(b, "\x00"))
}

// checkTorn opens a log whose last group is torn. It must come back as before that
// group, take another group, and come back with that.
func checkTorn(t *testing.T, what string, files map[string][]byte, want string) {
	t.Helper()
	d := copyDisk(files)
	cfg := smallConfig(d)
	l, st, err := wal.Open(cfg)
	if err != nil {
		t.Fatalf("%s: Open: %v", what, err)
	}
	if got := describe(st); got != want {
		t.Fatalf("%s: reopened as\n%s\nwant\n%s", what, got, want)
	}
	next := st.PrevIndex + uint64(len(st.Entries)) + 1
	e := entry(next, 9, raftpb.EntryNormal, []byte("after the crash"))
	if err := l.Save(nil, []*raftpb.Entry{e}); err != nil {
		t.Fatalf("%s: Save: %v", what, err)
	}
	d.Crash() // all of it has been synced
	st.Entries = append(st.Entries, e)
	_, again := mustOpen(t, cfg)
	if got, want := describe(again), describe(st); got != want {
		t.Fatalf("%s: after another group reopened as\n%s\nwant\n%s", what, got, want)
	}
}

func TestTornAtEveryByte(t *testing.T) {
	steps := smallLog(t)
	for i, s := range steps[1:] {
		before := steps[i]
		names := segments(s.files)
		name := names[len(names)-1]
		b, old := s.files[name], before.files[name]
		if old == nil { // the group is the first of its segment: its header came before
			continue
		}
		start, end := written(old, b)
		for at := start; at < end; at++ {
			cut := append(slices.Clone(b[:at]), make([]byte, len(b)-at)...)
			checkTorn(t, "zeros from inside group", with(s.files, name, cut), before.state)
		}
	}
}

func TestTornInAnySectors(t *testing.T) {
	steps := smallLog(t)
	for i, s := range steps[1:] {
		before := steps[i]
		names := segments(s.files)
		name := names[len(names)-1]
		b, old := s.files[name], before.files[name]
		if old == nil {
			continue
		}
		start, end := written(old, b)
		first, last := start/512, (end-1)/512
		for lost := 1; lost < 1<<(last-first+1); lost++ {
			torn := slices.Clone(b)
			for sector := first; sector <= last; sector++ {
				if lost>>(sector-first)&1 == 1 {
					clear(torn[max(start, sector*512):min(end, sector*512+512)])
				}
			}
			checkTorn(t, "sectors lost", with(s.files, name, torn), before.state)
		}
	}
}

// A crash while one segment hands over to the next may leave the machine at any of
// the steps in between.
func TestTornDuringRotation(t *testing.T) {
	for calls := range 30 {
		for seed := range uint64(20) {
			d := seededDisk(seed)
			cfg := smallConfig(d)
			l := mustCreate(t, cfg)
			one := entry(1, 1, raftpb.EntryNormal, bytes.Repeat([]byte("x"), 1800))
			if err := l.Save(hard(1, 1, 0), []*raftpb.Entry{one}); err != nil {
				t.Fatal(err)
			}
			d.StopAfter(calls)
			two := entry(2, 1, raftpb.EntryNormal, bytes.Repeat([]byte("y"), 1000))
			saved := l.Save(nil, []*raftpb.Entry{two})
			if seed%2 == 0 {
				d.Kill()
				l, _ = mustOpen(t, cfg)
				if err := l.Save(hard(2, 1, 0), nil); err != nil {
					t.Fatal(err)
				}
			}
			d.Crash()
			_, st := mustOpen(t, cfg)
			if n := len(st.Entries); n == 0 || n == 1 && saved == nil {
				t.Fatalf("stopped after %d calls, seed %d: %d entries, Save said %v", calls, seed, n, saved)
			}
			if seed%2 == 0 && st.Hard.GetTerm() != 2 {
				t.Fatalf("stopped after %d calls, seed %d: term %d, want 2", calls, seed, st.Hard.GetTerm())
			}
		}
	}
}

// A segment that is not the last cannot be torn: its bytes were synced before the
// next one had any.
func TestCutInEarlierSegment(t *testing.T) {
	steps := smallLog(t)
	files := steps[len(steps)-1].files
	names := segments(files)
	if len(names) < 3 {
		t.Fatalf("log has %d segments, want 3 or more", len(names))
	}
	for _, name := range names[:len(names)-1] {
		b := files[name]
		for at := range len(b) {
			if _, err := reopen(with(files, name, b[:at]), smallConfig(nil)); !errors.Is(err, wal.ErrCorrupt) {
				t.Fatalf("%s cut at byte %d: Open error = %v, want ErrCorrupt", name, at, err)
			}
			zeroed := append(slices.Clone(b[:at]), make([]byte, len(b)-at)...)
			if bytes.Equal(zeroed, b) {
				continue
			}
			if _, err := reopen(with(files, name, zeroed), smallConfig(nil)); !errors.Is(err, wal.ErrCorrupt) {
				t.Fatalf("%s zeroed from byte %d: Open error = %v, want ErrCorrupt", name, at, err)
			}
		}
	}
}

// Zeros in a group that is not the last are no torn write either, though they may
// look like one: another group follows.
func TestHoleInEarlierGroup(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	l := mustCreate(t, cfg)
	var ends []int
	for i := range uint64(3) {
		e := entry(i+1, 1, raftpb.EntryNormal, bytes.Repeat([]byte("x"), 600))
		if err := l.Save(nil, []*raftpb.Entry{e}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(l.Bytes()))
	}
	files := d.Files()
	names := segments(files)
	if len(names) != 1 {
		t.Fatalf("log has %d segments, want 1", len(names))
	}
	b := files[names[0]]
	begin := ends[0] - (ends[1] - ends[0])
	for from := begin; from < ends[1]; from += 7 {
		for _, to := range []int{from + 7, from + 100, from/512*512 + 512, from/512*512 + 1024, ends[1]} {
			if to <= from || to > ends[1] {
				continue
			}
			holed := slices.Clone(b)
			clear(holed[from:to])
			if _, err := reopen(with(files, names[0], holed), cfg); !errors.Is(err, wal.ErrCorrupt) {
				t.Fatalf("zeros from byte %d to %d, last group at %d: Open error = %v, want ErrCorrupt", from, to, ends[1], err)
			}
		}
	}
}

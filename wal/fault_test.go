package wal_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/wal"
)

// A full disk is met before anything is written, so the log stays as it was and
// goes on when there is room again.
func TestFullDisk(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	l := mustCreate(t, cfg)
	if err := l.Save(hard(1, 1, 0), nil); err != nil {
		t.Fatal(err)
	}
	d.SetFull(1000)
	big := []*raftpb.Entry{entry(1, 1, raftpb.EntryNormal, make([]byte, 5000))}
	for range 2 {
		if err := l.Save(hard(1, 1, 1), big); !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Save on a full disk: error = %v, want ErrFull and ENOSPC", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	l, st := mustOpen(t, cfg)
	if st.Hard.GetTerm() != 1 || st.Hard.GetCommit() != 0 || len(st.Entries) != 0 {
		t.Errorf("reopened as %s, want term 1, commit 0 and no entries", describe(st))
	}
	if err := l.Save(hard(1, 1, 1), big); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("Save on a disk that is still full: error = %v, want ErrFull", err)
	}
	d.SetFull(-1)
	if err := l.Save(hard(1, 1, 1), big); err != nil {
		t.Errorf("Save with room again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if _, st = mustOpen(t, cfg); len(st.Entries) != 1 || st.Hard.GetCommit() != 1 {
		t.Errorf("reopened as %s, want one entry, committed", describe(st))
	}
}

// A disk too full for preallocation still takes what fits.
func TestNearlyFullDisk(t *testing.T) {
	d := newDisk()
	l := mustCreate(t, smallConfig(d))
	d.SetFull(500)
	if err := l.Save(hard(1, 1, 0), []*raftpb.Entry{entry(1, 1, raftpb.EntryNormal, make([]byte, 100))}); err != nil {
		t.Errorf("Save of 100 bytes with room for 500: %v", err)
	}
}

func TestFailedWriteOrSync(t *testing.T) {
	for what, fail := range map[string]func(*sim.Disk){
		"sync":  func(d *sim.Disk) { d.FailSync(1) },
		"write": func(d *sim.Disk) { d.FailWrite(1) },
	} {
		d := newDisk()
		l := mustCreate(t, smallConfig(d))
		fail(d)
		first := l.Save(hard(1, 1, 0), nil)
		if !errors.Is(first, syscall.EIO) || !strings.Contains(first.Error(), ".wal") {
			t.Errorf("Save with a failing %s: error = %v, want EIO naming the file", what, first)
		}
		if err := l.Save(hard(2, 1, 0), nil); err != first {
			t.Errorf("Save after a failed %s: error = %v, want %v", what, err, first)
		}
		if err := l.Restart(9, 9); err != first {
			t.Errorf("Restart after a failed %s: error = %v, want %v", what, err, first)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close after a failed %s: %v", what, err)
		}
	}
}

// After a failed sync the group may be in memory only, and syncing again does not
// write it. Once Open has served it, it must survive all the same.
func TestGroupOfFailedSyncIsWrittenAgain(t *testing.T) {
	for seed := range uint64(50) {
		d := seededDisk(seed)
		cfg := smallConfig(d)
		l := mustCreate(t, cfg)
		d.FailSync(1)
		if err := l.Save(hard(1, 1, 0), nil); err == nil {
			t.Fatal("Save with a failing sync gave no error")
		}
		d.Kill()
		_, served := mustOpen(t, cfg)
		d.Crash()
		_, st := mustOpen(t, cfg)
		if got, want := describe(st), describe(served); got != want {
			t.Fatalf("seed %d: served\n%s\nbut after a crash it is\n%s", seed, want, got)
		}
	}
}

func TestLazyCommit(t *testing.T) {
	d := newDisk()
	cfg := smallConfig(d)
	var syncs int
	var size int64
	cfg.OnSync = func(_ time.Duration, n int64) { syncs++; size += n }
	l := mustCreate(t, cfg)
	if err := l.Save(hard(1, 1, 0), []*raftpb.Entry{entry(1, 1, raftpb.EntryNormal, []byte("x"))}); err != nil {
		t.Fatal(err)
	}
	written := size
	if err := l.Save(hard(1, 1, 1), nil); err != nil {
		t.Fatal(err)
	}
	if syncs != 1 || written == 0 || size != written {
		t.Errorf("a commit index on its own: %d syncs of %d bytes, want the first only, of %d", syncs, size, written)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(nil, nil); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("Save after Close: error = %v, want ErrClosed", err)
	}
	if err := l.Release(1); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("Release after Close: error = %v, want ErrClosed", err)
	}
	if _, st := mustOpen(t, cfg); st.Hard.GetCommit() != 1 {
		t.Errorf("commit after Close and Open = %d, want 1", st.Hard.GetCommit())
	}
}

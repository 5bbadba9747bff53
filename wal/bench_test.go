package wal_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/disk"
	"etcd2/wal"
)

// group makes n entries of 200 bytes from an index on.
func group(first uint64, n int, data []byte) []*raftpb.Entry {
	es := make([]*raftpb.Entry, n)
	for i := range es {
		es[i] = entry(first+uint64(i), 1, raftpb.EntryNormal, data)
	}
	return es
}

// BenchmarkSave appends to a log on the real disk, and on one that forgets
// everything, which leaves the cost of the code.
func BenchmarkSave(b *testing.B) {
	data := make([]byte, 200)
	for i := range data {
		data[i] = byte(i)
	}
	for _, n := range []int{1, 64} {
		for name, fs := range map[string]disk.FS{"disk": disk.OS(), "code": noDisk{disk.OS()}} {
			b.Run(fmt.Sprintf("%s/entries=%d", name, n), func(b *testing.B) {
				l := mustCreate(b, wal.Config{Dir: filepath.Join(b.TempDir(), "wal"), FS: fs})
				es := group(1, n, data)
				b.SetBytes(int64(n * len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if err := l.Save(nil, es); err != nil {
						b.Fatal(err)
					}
					for _, e := range es {
						*e.Index += uint64(n)
					}
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// noDisk keeps names and drops bytes.
type noDisk struct{ disk.FS }

func (noDisk) OpenFile(string, int, os.FileMode) (disk.File, error) { return noFile{}, nil }
func (noDisk) Rename(string, string) error                          { return nil }
func (noDisk) SyncDir(string) error                                 { return nil }

type noFile struct{ disk.File }

func (noFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (noFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (noFile) Close() error                           { return nil }
func (noFile) Sync() error                            { return nil }
func (noFile) Truncate(int64) error                   { return nil }
func (noFile) Allocate(int64) error                   { return nil }
func (noFile) Size() (int64, error)                   { return 0, nil }

// BenchmarkOpen reads 64 MB of log: groups of one entry of 200 bytes, the worst
// case, and groups of 64.
func BenchmarkOpen(b *testing.B) {
	data := make([]byte, 200)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			cfg := wal.Config{Dir: filepath.Join(b.TempDir(), "wal"), FS: noSync{disk.OS()}}
			l := mustCreate(b, cfg)
			for first := uint64(1); l.Bytes() < 64<<20; first += uint64(n) {
				if err := l.Save(nil, group(first, n, data)); err != nil {
					b.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			cfg.FS = nil
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				l, st, err := wal.Open(cfg)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(st.Entries))/time.Since(start).Seconds(), "entries/s")
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// noSync writes files that need not outlive the test.
type noSync struct{ disk.FS }

func (s noSync) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	return unsynced{f}, err
}

type unsynced struct{ disk.File }

func (unsynced) Sync() error { return nil }

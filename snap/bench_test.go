package snap

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"etcd2/store"
)

const benchNodes = 1_000_000

// benchKey is key i of a million: a thousand directories of a thousand keys.
func benchKey(i int) string { return fmt.Sprintf("/1/dir%04d/key%06d", i/1000, i) }

// millionNodes commits a store of n nodes with 64-byte values and a full
// history, ten thousand operations at a time.
func millionNodes(b *testing.B, n int) (*Store, *store.Store) {
	b.Helper()
	s, err := Open(b.TempDir(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	st, _, err := s.Load(store.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		set(b, st, i, 0)
		if (i+1)%10_000 == 0 {
			commit(b, s, st, uint64(i))
		}
	}
	commit(b, s, st, uint64(n))
	return s, st
}

func set(b *testing.B, st *store.Store, i, round int) {
	value := fmt.Sprintf("%08d%s", round, strings.Repeat("v", 56))
	if _, err := st.Apply(store.Op{Action: store.Set, Path: benchKey(i), Value: value}); err != nil {
		b.Fatal(err)
	}
}

func commit(b testing.TB, s *Store, st *store.Store, index uint64) {
	b.Helper()
	if err := s.Commit(st.Cut(), Meta{Index: index}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLoad loads a million nodes with 64-byte values and 100 000 events.
func BenchmarkLoad(b *testing.B) {
	s, _ := millionNodes(b, benchNodes)
	b.ReportMetric(float64(s.Size())/(1<<20), "MiB/file")
	b.ReportAllocs()
	for b.Loop() {
		st, _, err := s.Load(store.Config{})
		if err != nil {
			b.Fatal(err)
		}
		st.Close()
	}
}

// BenchmarkCommit commits 10 000 changed nodes, and their events, among a million.
func BenchmarkCommit(b *testing.B) {
	s, st := millionNodes(b, benchNodes)
	rng := rand.New(rand.NewPCG(1, 1))
	index, round := uint64(benchNodes), 0
	for _, c := range []struct {
		name string
		key  func(i int) int
	}{
		{"sequential", func(i int) int { return 400_000 + i }},
		{"random", func(int) int { return rng.IntN(benchNodes) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				round++
				for i := range 10_000 {
					set(b, st, c.key(i), round)
				}
				index += 10_000
				d := st.Cut()
				b.StartTimer()
				if err := s.Commit(d, Meta{Index: index}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Size())/(1<<20), "MiB/file")
		})
	}
}

// BenchmarkCommitFull writes a million nodes in one transaction.
func BenchmarkCommitFull(b *testing.B) {
	s, st := millionNodes(b, benchNodes)
	index := uint64(benchNodes)
	for b.Loop() {
		index++
		if err := s.Commit(st.CutFull(), Meta{Index: index}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Size())/(1<<20), "MiB/file")
}

// BenchmarkStream streams a checkpoint of a million nodes to nowhere.
func BenchmarkStream(b *testing.B) {
	s, _ := millionNodes(b, benchNodes)
	for b.Loop() {
		_, n, err := s.Stream(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

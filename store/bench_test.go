package store

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
)

// benchSizes are the numbers of keys every benchmark of a point operation runs
// with: its cost must not follow them.
var benchSizes = [...]int{1e3, 1e5, 1e6}

// benchKey is key i of a tree with 1000 keys per directory.
func benchKey(i int) string { return fmt.Sprintf("/1/bench/%06d/%06d", i/1000, i%1000) }

// benchStore is a store of n keys with values of 64 bytes.
func benchStore(tb testing.TB, n int) (*Store, []string) {
	s := New(Config{})
	keys := make([]string, n)
	for i := range keys {
		keys[i] = benchKey(i)
		mustApply(tb, s, Op{Action: Set, Path: strings.Clone(keys[i]), Value: strings.Repeat("v", 64)})
		if i%10_000 == 0 {
			s.Cut()
		}
	}
	s.Cut()
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return s, keys
}

func mustApply(tb testing.TB, s *Store, op Op) Event {
	ev, err := s.Apply(op)
	if err != nil {
		tb.Fatalf("Apply(%v %q): %v", op.Action, op.Path, err)
	}
	return ev
}

func benchmark(b *testing.B, f func(b *testing.B, s *Store, keys []string)) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s, keys := benchStore(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			f(b, s, keys)
		})
	}
}

func BenchmarkSetExisting(b *testing.B) {
	value := strings.Repeat("w", 64)
	benchmark(b, func(b *testing.B, s *Store, keys []string) {
		for i := range b.N {
			mustApply(b, s, Op{Action: Set, Path: keys[i%len(keys)], Value: value})
			if i%10_000 == 0 {
				s.Cut()
			}
		}
	})
}

func BenchmarkCreate(b *testing.B) {
	value := strings.Repeat("w", 64)
	benchmark(b, func(b *testing.B, s *Store, keys []string) {
		fresh := make([]string, b.N)
		for i := range fresh {
			fresh[i] = fmt.Sprintf("%s-%d", keys[i%len(keys)], i)
		}
		b.ResetTimer()
		for i, key := range fresh {
			mustApply(b, s, Op{Action: Create, Path: key, Value: value})
			if i%10_000 == 0 {
				s.Cut()
			}
		}
	})
}

func BenchmarkSetTTL(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store, keys []string) {
		for i := range b.N {
			mustApply(b, s, Op{Action: Set, Path: keys[i%len(keys)], HasTTL: true, TTL: time.Minute, Now: int64(i) * 1e6})
			if i%10_000 == 0 {
				s.Cut()
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store, keys []string) {
		for i := range b.N {
			if _, err := s.Get(keys[i%len(keys)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSetBetweenListings sets a key after each snapshot, the worst case
// for the copying of pages.
func BenchmarkSetBetweenListings(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store, keys []string) {
		for i := range b.N {
			s.Snapshot()
			mustApply(b, s, Op{Action: Set, Path: keys[i%len(keys)], Value: "w"})
			if i%10_000 == 0 {
				s.Cut()
			}
		}
	})
}

func BenchmarkChildren(b *testing.B) {
	s, _ := benchStore(b, 1e5)
	for b.Loop() {
		v, err := s.Get("/1/bench/000042")
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for range v.Children("/1/bench/000042") {
			n++
		}
		if n != 1000 {
			b.Fatalf("%d children, want 1000", n)
		}
	}
}

func BenchmarkDescendants(b *testing.B) {
	s, _ := benchStore(b, 1e5)
	for b.Loop() {
		n := 0
		for range s.Snapshot().Descendants("/1") {
			n++
		}
		if n != 100_101 {
			b.Fatalf("%d descendants, want 100101", n)
		}
	}
}

func BenchmarkDeleteSubtree(b *testing.B) {
	for range b.N {
		b.StopTimer()
		s, _ := benchStore(b, 1e5)
		b.StartTimer()
		mustApply(b, s, Op{Action: Delete, Path: "/1/bench", Recursive: true})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, timed := range []int64{0, 1} {
		b.Run(fmt.Sprintf("keys=1000000/ttl=%d", timed), func(b *testing.B) {
			s, _ := benchStore(b, 1e6)
			var records [][]byte
			for n := range s.Snapshot().All("/") {
				c := *n
				if !c.Dir {
					c.Expires = timed * rand.Int64()
				}
				records = append(records, c.AppendBinary(nil))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				l := NewLoader(Config{})
				for _, r := range records {
					n, err := ParseNode(r)
					if err == nil {
						err = l.Node(n)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				if _, err := l.Finish(s.Index(), Stats{}, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDump(b *testing.B) {
	s, _ := benchStore(b, 1e5)
	for b.Loop() {
		if err := s.Dump(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseOp(b *testing.B) {
	rec := Op{Action: Set, Path: benchKey(1), Value: strings.Repeat("v", 64), Now: 1.8e18}.AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseOp(rec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendOp(b *testing.B) {
	op := Op{Action: Set, Path: benchKey(1), Value: strings.Repeat("v", 64), Now: 1.8e18}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = op.AppendBinary(buf[:0])
	}
}

// BenchmarkSetWatched sets a key that nobody watches while 10000 other keys of
// its directory are watched.
func BenchmarkSetWatched(b *testing.B) {
	s := New(Config{})
	for i := range 10_000 {
		if _, err := s.Watch(benchKey(i), WatchOptions{Stream: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		mustApply(b, s, Op{Action: Set, Path: "/1/bench/000000/other", Value: "v"})
	}
}

// BenchmarkFanOut hands one event to 10000 watchers of its key.
func BenchmarkFanOut(b *testing.B) {
	s := New(Config{WatchQueue: 1 << 30})
	for range 10_000 {
		if _, err := s.Watch("/1/k", WatchOptions{Stream: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for range b.N {
		mustApply(b, s, Op{Action: Set, Path: "/1/k", Value: "v"})
	}
}

// BenchmarkMemory reports the heap of a million keys with values of 64 bytes,
// as they come out of the log.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		before := heap()
		s := New(Config{})
		for i := range int(1e6) {
			op, err := ParseOp(Op{Action: Set, Path: benchKey(i), Value: strings.Repeat("v", 64)}.AppendBinary(nil))
			if err != nil {
				b.Fatal(err)
			}
			mustApply(b, s, op)
			if i%10_000 == 0 {
				s.Cut()
			}
		}
		s.Cut()
		b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
		before = heap()
		for i := range 10_000 {
			if _, err := s.Watch(benchKey(i), WatchOptions{Recursive: true}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/1e4, "B/watcher")
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

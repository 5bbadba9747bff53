package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestDigestTellsWhatDiffers changes one thing in one of two equal stores. The
// digests must differ, in the bucket of the changed key and no other.
func TestDigestTellsWhatDiffers(t *testing.T) {
	ops := []Op{
		set("/1/f"), set("/1/d/k"), set("/1/d/_h"), {Action: Set, Path: "/1/dir", Dir: true},
		{Action: Set, Path: "/1/ttl", Value: "x", HasTTL: true, TTL: time.Minute, Now: 1}, set("/0/m"), set("/2/u"),
	}
	tests := []struct {
		name    string
		replace int // the op that is another one
		with    Op
		path    string // the key that differs
	}{
		{"value", 0, Op{Action: Set, Path: "/1/f", Value: "y"}, "/1/f"},
		{"hidden key", 2, Op{Action: Set, Path: "/1/d/_h", Value: "y"}, "/1/d/_h"},
		{"deadline", 4, Op{Action: Set, Path: "/1/ttl", Value: "x", HasTTL: true, TTL: time.Minute, Now: 2}, "/1/ttl"},
		{"permanent", 4, Op{Action: Set, Path: "/1/ttl", Value: "x"}, "/1/ttl"},
		{"kind", 3, set("/1/dir"), "/1/dir"},
		{"membership", 5, Op{Action: Set, Path: "/0/m", Value: "y"}, "/0/m"},
		{"users", 6, Op{Action: Set, Path: "/2/u", Value: "y"}, "/2/u"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := append([]Op(nil), ops...)
			other[tt.replace] = tt.with
			a, b := after(t, ops...).Snapshot(), after(t, other...).Snapshot()
			da, db := a.Digest(), b.Digest()
			list := da.Differing(&db)
			if len(list) != 1 || list[0] != bucketOf(tt.path) {
				t.Fatalf("buckets %v differ, want %d", list, bucketOf(tt.path))
			}
			hashes := map[string]Hash{}
			for n, h := range a.Bucket(list[0]) {
				hashes[n.Path] = h
			}
			for n, h := range b.Bucket(list[0]) {
				if differs := hashes[n.Path] != h; differs != (n.Path == tt.path) {
					t.Errorf("hash of %s differs: %t", n.Path, differs)
				}
			}
		})
	}
	if a, b := after(t, ops...).Snapshot().Digest(), after(t, ops...).Snapshot().Digest(); a != b {
		t.Error("equal stores have other digests")
	}
	// An index apart, with equal nodes: the key was made and went.
	apart := after(t, append(ops, set("/1/x"), Op{Action: Delete, Path: "/1/x"})...).Snapshot().Digest()
	if equal := after(t, ops...).Snapshot().Digest(); apart == equal || len(apart.Differing(&equal)) != 0 {
		t.Error("stores of equal nodes and other indexes have the same digest, or other buckets")
	}
}

// TestDigestIsThatOfItsMoment goes on writing after the view was taken, and
// compares a store with one that was loaded.
func TestDigestIsThatOfItsMoment(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 5))
	s := New(Config{})
	for i := range 3000 {
		s.Apply(randomOp(rnd, s.Index(), int64(i)))
	}
	view, other := s.Snapshot(), reloaded(t, Config{}, s)
	want := view.Digest()
	for i := range 3000 {
		s.Apply(randomOp(rnd, s.Index(), int64(3000+i)))
	}
	if view.Digest() != want {
		t.Error("the digest of a view changed")
	}
	if other.Snapshot().Digest() != want {
		t.Error("a loaded store has another digest")
	}
	var sum [DigestBuckets]Hash
	nodes := uint64(0)
	for i := range sum {
		for _, h := range view.Bucket(i) {
			nodes++
			sum[i].add(h)
		}
	}
	if sum != want.Buckets || nodes != want.Nodes {
		t.Errorf("the buckets hold %d nodes, want %d, and their sums are equal: %t", nodes, want.Nodes, sum == want.Buckets)
	}
	parsed, err := ParseDigest(want.AppendBinary(nil))
	if err != nil || parsed != want {
		t.Errorf("ParseDigest gives another digest, error %v", err)
	}
	if _, err := ParseDigest(want.AppendBinary(nil)[1:]); !errors.Is(err, ErrFormat) {
		t.Errorf("ParseDigest of half a record: %v, want ErrFormat", err)
	}
}

// TestDigestBucketsAreEven guards the spread: a bucket that held most keys would
// locate nothing.
func TestDigestBucketsAreEven(t *testing.T) {
	var count [DigestBuckets]int
	for i := range 100 * DigestBuckets {
		count[bucketOf(fmt.Sprintf("/1/registry/pods/ns-%d/pod-%d", i%17, i))]++
	}
	for i, n := range count {
		if n < 50 || n > 200 {
			t.Errorf("bucket %d has %d of %d keys", i, n, 100*DigestBuckets)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	s := New(Config{})
	for i := range 1_000_000 {
		s.Apply(Op{Action: Set, Path: fmt.Sprintf("/1/d%d/key%d", i%1000, i), Value: "a value of some thirty bytes....."})
	}
	for b.Loop() {
		s.Snapshot().Digest()
	}
}

func FuzzParseDigest(f *testing.F) {
	d := after(f, set("/1/f")).Snapshot().Digest()
	f.Add(d.AppendBinary(nil))
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDigest(b)
		if err == nil && string(d.AppendBinary(nil)) != string(b) {
			t.Errorf("ParseDigest(%x) writes other bytes", b)
		}
	})
}

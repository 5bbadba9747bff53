package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/store"
)

// FuzzApply gives arbitrary and mutated entries of every kind to two replicas, of
// which one starts again from a checkpoint on the way. Applying never fails but for
// entries of a later release, and both end up equal.
func FuzzApply(f *testing.F) {
	seed := func(entries ...[]byte) {
		var b []byte
		for _, e := range entries {
			b = append(binary.AppendUvarint(b, uint64(len(e))), e...)
		}
		f.Add(b)
	}
	write := func(op store.Op) []byte { return append([]byte{0}, EncodeWrite(1, op)...) }
	change := func(c membership.Change) []byte {
		cc, err := EncodeChange(1, c)
		if err != nil {
			f.Fatal(err)
		}
		return append([]byte{1}, marshal(f, cc)...)
	}
	seed(write(store.Op{Action: store.Set, Path: "/1/a", Value: "v", HasTTL: true, TTL: 1e9}), write(store.Op{Action: store.Expire, Path: "/"}))
	seed(write(store.Op{Action: store.Set, Path: "/0/members/1/attributes", Value: `{"name":"x"}`}), write(store.Op{Action: store.Set, Path: "/0/version", Value: "2.3.0"}))
	for kind := membership.Add; kind <= membership.Promote; kind++ {
		seed(change(membership.Change{Kind: kind, Member: founder(5)}), change(membership.Change{Kind: kind, Member: founder(2)}),
			change(membership.Change{Kind: kind, Member: founder(0)}))
	}
	seed(append([]byte{0}, EncodeBarrier()...), []byte{0}, []byte{2, 1}, []byte{1})
	f.Fuzz(func(t *testing.T, input []byte) {
		a := newTape(t)
		b := &tape{t: t, Replica: a.reload(), entries: slices.Clone(a.entries)}
		for n := 0; len(input) > 0; n++ {
			size, used := binary.Uvarint(input)
			if used <= 0 {
				return
			}
			size = min(size, uint64(len(input)-used))
			part := input[used : used+int(size)]
			input = input[used+int(size):]
			if len(part) == 0 {
				continue
			}
			kind := raftpb.EntryType(part[0] % 3)
			ea, errA := a.feed(kind, part[1:])
			eb, errB := b.feed(kind, part[1:])
			if fmt.Sprint(errA) != fmt.Sprint(errB) || fmt.Sprint(ea.Refused) != fmt.Sprint(eb.Refused) || ea.Index != eb.Index {
				t.Fatalf("entry %x: %+v, %v and %+v, %v", part, ea, errA, eb, errB)
			}
			var format *FormatError
			var down *DowngradeError
			if errA != nil && !errors.As(errA, &format) && !errors.As(errA, &down) {
				t.Fatalf("entry %x: %v", part, errA)
			}
			if n == 2 {
				b.Replica = b.reload()
			}
		}
		if image(t, a.Replica) != image(t, b.Replica) {
			t.Fatalf("the replicas differ:\n%s\n%s", image(t, a.Replica), image(t, b.Replica))
		}
	})
}

// FuzzEntry gives the decoder arbitrary bytes: what it understands it writes the same
// way again.
func FuzzEntry(f *testing.F) {
	f.Add(EncodeWrite(7, store.Op{Action: store.Set, Path: "/1/foo", Value: "bar", HasTTL: true, TTL: 1e9}))
	f.Add(EncodeBarrier())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(data)
		if err != nil || e.kind != kindWrite {
			return
		}
		again := EncodeWrite(e.id, e.op)
		Stamp(again, e.op.Now)
		d, err := decodeEntry(again)
		if err != nil || d != e {
			t.Fatalf("%+v came back as %+v, %v", e, d, err)
		}
		if now, ok := StampOf(again); !ok || now != e.op.Now {
			t.Fatalf("StampOf = %d, %v, want %d", now, ok, e.op.Now)
		}
	})
}

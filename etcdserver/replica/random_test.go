package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// Entries of every kind, a part of them mutated, give equal replicas, of which one
// starts again from a checkpoint now and then. The configuration that a replica
// computes always has a voter.
func TestApplyMutatedEntries(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 0))
		a := newTape(t)
		b := &tape{t: t, Replica: a.reload(), entries: append([]*raftpb.Entry(nil), a.entries...)}
		refused, carried := 0, 0
		for range 400 {
			kind, data := randomEntry(t, rng)
			ea, errA := a.feed(kind, data)
			eb, errB := b.feed(kind, data)
			if fmt.Sprint(errA) != fmt.Sprint(errB) || fmt.Sprint(ea.Refused) != fmt.Sprint(eb.Refused) {
				t.Fatalf("seed %d, entry %x: %+v, %v and %+v, %v", seed, data, ea, errA, eb, errB)
			}
			var format *FormatError
			var down *DowngradeError
			if errA != nil && !errors.As(errA, &format) && !errors.As(errA, &down) {
				t.Fatalf("seed %d, entry %x: %v", seed, data, errA)
			}
			if ea.Refused != nil {
				refused++
			} else {
				carried++
			}
			if len(a.Conf().GetVoters()) == 0 {
				t.Fatalf("seed %d, entry %x: raft is left without a voter", seed, data)
			}
			if rng.IntN(50) == 0 {
				b.Replica = b.reload()
			}
		}
		if image(t, a.Replica) != image(t, b.Replica) || refused == 0 || carried == 0 {
			t.Fatalf("seed %d: %d entries refused and %d carried out, equal: %v", seed, refused, carried, image(t, a.Replica) == image(t, b.Replica))
		}
	}
}

// randomEntry is an entry of any kind, mutated in one case of three.
func randomEntry(t *testing.T, rng *rand.Rand) (raftpb.EntryType, []byte) {
	kind, data := raftpb.EntryNormal, randomWrite(rng)
	switch rng.IntN(4) {
	case 0:
		kind, data = raftpb.EntryConfChange, randomChange(t, rng)
	case 1:
		data = [][]byte{nil, EncodeBarrier()}[rng.IntN(2)]
	}
	if len(data) > 0 && rng.IntN(3) == 0 {
		data = append([]byte(nil), data...)
		for range 1 + rng.IntN(3) {
			data[rng.IntN(len(data))] = byte(rng.IntN(256))
		}
		data = data[:len(data)-rng.IntN(min(3, len(data)))]
	}
	return kind, data
}

func randomWrite(rng *rand.Rand) []byte {
	paths := []string{"/1/a", "/1/d/b", "/1/d", "/1", "/", "/0", "/0/members", "/0/version", "/0/removed_members", "/2",
		"/0/members/1/attributes", "/0/members/4/attributes", "/0/members/1/raftAttributes", "/0/members/0/attributes"}
	values := []string{"", "v", "{}", `{"name":"x","clientURLs":["http://a"]}`, "2.3.0", "2.9.9", "x.y"}
	op := store.Op{
		Action: store.Action(rng.IntN(int(store.Expire))) + store.Set, Path: paths[rng.IntN(len(paths))], Value: values[rng.IntN(len(values))],
		Dir: rng.IntN(5) == 0, Recursive: rng.IntN(3) == 0, Refresh: rng.IntN(6) == 0,
		HasTTL: rng.IntN(3) == 0, TTL: time.Duration(rng.Int64N(1e12)), PrevIndex: uint64(rng.IntN(3)),
	}
	data := EncodeWrite(rng.Uint64(), op)
	stamps := []int64{0, 1e18, rng.Int64N(1e15), -1, 1<<63 - 1}
	Stamp(data, stamps[min(rng.IntN(60), len(stamps)-1)])
	return data
}

func randomChange(t *testing.T, rng *rand.Rand) []byte {
	m := founder(membership.ID(rng.IntN(6)))
	if rng.IntN(4) == 0 {
		m.PeerURLs = []string{"", "::", "http://x"}[:rng.IntN(4)]
	}
	cc, err := encodeChange(raftpb.ConfChangeType(rng.IntN(6)), changeContext{rng.Uint64(), RecordOf(m)})
	if err != nil {
		t.Fatal(err)
	}
	if rng.IntN(8) == 0 {
		cc.NodeId = proto.Uint64(uint64(rng.IntN(6)))
	}
	return marshal(t, cc)
}

package wal

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Older servers did not sync the new size before they wrote a group into it. A power
// failure in between left the size before, and part of the group below it. This is
// the only size at which a group that goes beyond the end of the file is a torn write.
func TestPowerFailureWhileOlderLogGrew(t *testing.T) {
	for _, reserved := range []bool{false, true} {
		h := header{group: 1, reserved: reserved}
		b, sum := h.encode()
		at := position{off: h.bytes(), group: 1, sum: sum}
		for i := range uint64(2) {
			index := i + 1
			e := &raftpb.Entry{Index: &index, Term: new(uint64(1)), Type: new(raftpb.EntryNormal), Data: make([]byte, firstRoom*2/3)}
			b, at = appendGroup(b, appendEntry(nil, e), h.salt, at)
		}
		for _, size := range []int{firstRoom - 1, firstRoom, firstRoom + 1, len(b) - 1} {
			r := replay{limit: 64 << 20}
			err := r.segment(h.name(), b[:size])
			torn := size == firstRoom && !reserved
			if r.end.torn != torn || errors.Is(err, ErrCorrupt) == torn || len(r.entries) != 1 {
				t.Errorf("reserved %v, file of %d bytes: torn %v, error %v, %d entries; want torn %v and one entry",
					reserved, size, r.end.torn, err, len(r.entries), torn)
			}
		}
	}
}

// FuzzRecords puts arbitrary records in a group with a correct checksum. Replay
// may refuse them; it must not panic, and what it takes has no gaps.
func FuzzRecords(f *testing.F) {
	f.Add(appendHardState(nil, hardState{1, 2, 3}))
	f.Add(appendSeal(nil, 1))
	f.Add([]byte{recordEntry, 1, 1, 0, recordEntry, 1, 2, 1, 'x', recordEntryLast, 2, 1, 0})
	f.Add([]byte{recordEntry, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		h := header{group: 1}
		b, sum := h.encode()
		b, _ = appendGroup(b, payload, h.salt, position{off: h.bytes(), group: 1, sum: sum})
		var r replay
		if err := r.segment(h.name(), b); err != nil {
			return
		}
		for i, e := range r.entries {
			if want := r.prev + uint64(i) + 1; e.GetIndex() != want {
				t.Fatalf("entry %d has index %d, want %d", i, e.GetIndex(), want)
			}
		}
	})
}

// FuzzSegment reads arbitrary bytes as a segment.
func FuzzSegment(f *testing.F) {
	h := header{group: 1}
	b, sum := h.encode()
	f.Add(b)
	b, _ = appendGroup(b, []byte{recordHardState, 1, 2, 3}, h.salt, position{off: h.bytes(), group: 1, sum: sum})
	f.Add(b)
	f.Add(append(b, make([]byte, 100)...))
	f.Add(b[:len(b)-1])
	h.reserved = true
	b, sum = h.encode()
	b, _ = appendGroup(b, []byte{recordHardState, 1, 2, 3}, h.salt, position{off: h.bytes(), group: 1, sum: sum})
	f.Add(append(b, 0))
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		var r replay
		err := r.segment(h.name(), b)
		if err == nil && r.end.at.off > int64(len(b)) {
			t.Fatalf("segment of %d bytes ends at %d", len(b), r.end.at.off)
		}
	})
}

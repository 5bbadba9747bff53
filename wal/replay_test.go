package wal

import "testing"

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
	f.Fuzz(func(t *testing.T, b []byte) {
		var r replay
		err := r.segment(h.name(), b)
		if err == nil && r.end.at.off > int64(len(b)) {
			t.Fatalf("segment of %d bytes ends at %d", len(b), r.end.at.off)
		}
	})
}

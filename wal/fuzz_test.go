package wal_test

import (
	"errors"
	"slices"
	"testing"

	"etcd2/wal"
)

// FuzzDamage overwrites part of a log. Open must refuse, or serve what the log
// was after some Save; never anything else, and never less than what precedes
// the damage.
func FuzzDamage(f *testing.F) {
	steps := smallLog(f)
	last := steps[len(steps)-1]
	names := segments(last.files)
	f.Add(uint8(0), uint16(0), []byte("etcd2wal"))
	f.Add(uint8(len(names)-1), uint16(700), make([]byte, 512))
	f.Add(uint8(1), uint16(100), []byte("grp\xb7"))
	f.Fuzz(func(t *testing.T, segment uint8, at uint16, patch []byte) {
		name := names[int(segment)%len(names)]
		b := slices.Clone(last.files[name])
		from := int(at) % len(b)
		copy(b[from:], patch)
		state, err := reopen(with(last.files, name, b), smallConfig(nil))
		if err != nil {
			if !errors.Is(err, wal.ErrCorrupt) && !errors.Is(err, wal.ErrVersion) {
				t.Fatalf("Open error = %v, want ErrCorrupt", err)
			}
			return
		}
		known := slices.IndexFunc(steps, func(s step) bool { return s.state == state })
		if known < 0 {
			t.Fatalf("opened as what it never was:\n%s", state)
		}
		if known < len(steps)-1 && name != names[len(names)-1] {
			t.Fatalf("damage in %s cut the log to %d saves", name, known)
		}
	})
}

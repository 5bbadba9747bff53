package wal_test

import (
	"errors"
	"slices"
	"testing"

	"etcd2/wal"
)

// FuzzDamage overwrites part of a log and cuts bytes off one file. Open must refuse, or
// serve what the log was after some Save; never anything else, and never less than
// what precedes the damage. A cut alone never makes it serve less.
func FuzzDamage(f *testing.F) {
	steps := smallLog(f)
	last := steps[len(steps)-1]
	names := segments(last.files)
	f.Add(uint8(0), uint16(0), []byte("etcd2wal"), uint16(0))
	f.Add(uint8(len(names)-1), uint16(700), make([]byte, 512), uint16(0))
	f.Add(uint8(1), uint16(100), []byte("grp\xb7"), uint16(0))
	end := last.files[names[len(names)-1]]
	f.Add(uint8(len(names)-1), uint16(0), []byte{}, uint16(len(end)-used(end)))
	f.Add(uint8(len(names)-1), uint16(0), []byte{}, uint16(len(end)-used(end)/2))
	f.Fuzz(func(t *testing.T, segment uint8, at uint16, patch []byte, cut uint16) {
		name := names[int(segment)%len(names)]
		b := slices.Clone(last.files[name])
		from := int(at) % len(b)
		copy(b[from:], patch)
		b = b[:len(b)-int(cut)%(len(b)+1)]
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
		if known < len(steps)-1 && len(patch) == 0 {
			t.Fatalf("%s cut by %d bytes is served as it was after %d saves", name, cut, known)
		}
	})
}

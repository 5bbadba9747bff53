package wal_test

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"etcd2/wal"
)

// Every bit of a small log is flipped, one at a time. Either Open refuses, before
// it has tried to change anything, or the bit was in preallocated room and nothing is lost.
// The log is taken after every Save, so that each group is the last one once.
func TestEveryFlippedBit(t *testing.T) {
	steps := smallLog(t)
	harmless, refused := 0, 0
	for i, s := range steps {
		names := segments(s.files)
		last := names[len(names)-1]
		if i == len(steps)-1 { // the whole log
			for _, name := range names {
				count(t, s, name, 0, len(s.files[name]), &refused, &harmless)
			}
		} else if i > 0 { // the last group, and room behind it
			start, end := written(steps[i-1].files[last], s.files[last])
			count(t, s, last, start, min(end+100, len(s.files[last])), &refused, &harmless)
		}
	}
	t.Logf("%d refused, %d in preallocated room without effect", refused, harmless)
}

// count flips each bit of the bytes from..to of a file and counts the outcomes.
func count(t *testing.T, s step, name string, from, to int, refused, harmless *int) {
	t.Helper()
	used := len(bytes.TrimRight(s.files[name], "\x00"))
	cfg := smallConfig(nil)
	damaged := maps.Clone(s.files)
	b := bytes.Clone(s.files[name])
	damaged[name] = b
	for bit := 8 * from; bit < 8*to; bit++ {
		b[bit/8] ^= 1 << (bit % 8)
		cfg.FS = frozen(damaged)
		_, _, err := wal.Open(cfg)
		switch {
		case errors.Is(err, wal.ErrCorrupt):
			*refused++
		case !errors.Is(err, errFrozen):
			t.Fatalf("%s: bit %d of byte %d flipped: Open error = %v, want ErrCorrupt", name, bit%8, bit/8, err)
		case bit/8 < used:
			t.Fatalf("%s: bit %d of byte %d flipped: Open is about to serve it", name, bit%8, bit/8)
		default:
			if got, err := reopen(damaged, cfg); err != nil || got != s.state {
				t.Fatalf("%s: bit %d of byte %d flipped: opened as\n%s, %v\nwant\n%s", name, bit%8, bit/8, got, err, s.state)
			}
			*harmless++
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

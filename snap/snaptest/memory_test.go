package snaptest_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"etcd2/snap"
	"etcd2/snap/snaptest"
	"etcd2/store"
)

func TestMemory(t *testing.T) {
	snaptest.Run(t, func(*testing.T) snaptest.Place {
		var d snaptest.Disk
		return func() (snaptest.Checkpoints, error) { return d.Open(), nil }
	})
}

// A commit that fails is made good by the next one, and a crash cuts off
// whoever still writes.
func TestMemoryFailsAndCrashes(t *testing.T) {
	var d snaptest.Disk
	m := d.Open()
	full := true
	m.Fail = func() error {
		if full {
			return errors.New("disk full")
		}
		return nil
	}
	st, _, err := m.Load(store.Config{})
	if err != nil {
		t.Fatalf("Load() = %v", err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	snaptest.Write(st, rng, 100)
	if err := m.Commit(st.Cut(), snap.Meta{Index: 1}); err == nil {
		t.Fatal("Commit() to a full disk = nil")
	}
	full = false
	snaptest.Write(st, rng, 100)
	if err := m.Commit(st.Cut(), snap.Meta{Index: 2}); err != nil {
		t.Fatalf("Commit() = %v", err)
	}

	after := d.Open()
	if err := m.Commit(st.Cut(), snap.Meta{Index: 3}); err == nil {
		t.Error("Commit() after the crash = nil")
	}
	again, meta, err := after.Load(store.Config{})
	if err != nil || meta.Index != 2 || snaptest.Dump(t, again) != snaptest.Dump(t, st) {
		t.Errorf("Load() after the crash = index %d, %v; want the store of index 2", meta.Index, err)
	}
}

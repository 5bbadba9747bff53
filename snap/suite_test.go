package snap_test

import (
	"testing"

	"etcd2/snap"
	"etcd2/snap/snaptest"
)

func TestStore(t *testing.T) {
	snaptest.Run(t, func(t *testing.T) snaptest.Place {
		dir := t.TempDir()
		return func() (snaptest.Checkpoints, error) { return snap.Open(dir, snap.Config{}) }
	})
}

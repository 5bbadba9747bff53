package etcdserver

import (
	"errors"
	"testing"

	"etcd2/raftnode"
)

// Only a member that was never part of a working cluster gives way to another one.
func TestMismatch(t *testing.T) {
	for _, led := range []bool{false, true} {
		s := &Server{clusterID: 0xb, ended: make(chan error, 1), clock: newClock(), expiry: newExpiry()}
		if led {
			s.takeRole(raftnode.Role{Leader: 7})
		}
		s.Mismatch(7, 0xa)
		var got error
		select {
		case got = <-s.ended:
		default:
		}
		var conflict *ConflictError
		if errors.As(got, &conflict) == led {
			t.Errorf("a member that had a leader: %v; it ends with %v", led, got)
		}
		if want := "conflicting cluster ID to the target cluster (a != b). Exiting."; !led && got.Error() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package etcdserver

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

func TestTransferLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		third := g.members[3-l-f]
		start := time.Now()
		for _, at := range []*running{g.members[l], g.members[f], third} {
			if err := at.TransferLeader(t.Context(), third.id); err != nil || at.Status().Leader != third.id {
				t.Errorf("TransferLeader at %s = %v, leader %s, want %s", at.cfg.Name, err, at.Status().Leader, third.id)
			}
			if err := at.TransferLeader(t.Context(), g.members[l].id); err != nil {
				t.Errorf("TransferLeader back at %s = %v", at.cfg.Name, err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("six transfers took %v", took)
		}
		if got, ok := third.Leader(); !ok || got.ID != g.members[l].id {
			t.Errorf("Leader = %v, %v", got, ok)
		}
		n := g.add(l)
		g.settle() // the third member has heard of it
		if err := third.TransferLeader(t.Context(), g.beds[n].self.ID); !errors.Is(err, ErrLearner) {
			t.Errorf("TransferLeader to a learner = %v, want ErrLearner", err)
		}
		if err := third.TransferLeader(t.Context(), 77); !errors.Is(err, membership.ErrIDNotFound) {
			t.Errorf("TransferLeader to nobody = %v, want ErrIDNotFound", err)
		}
		g.crash(f)
		time.Sleep(2 * time.Second)
		var e *store.Error
		if err := third.TransferLeader(t.Context(), g.beds[f].self.ID); !errors.As(err, &e) || !strings.Contains(e.Cause, "not in contact") {
			t.Errorf("TransferLeader to a dead member = %v, want a word about contact", err)
		}
	})
}

// A leader that stops in good order leaves no gap.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		l, f := g.leader(), g.follower()
		start := time.Now()
		g.members[l].HandOver(t.Context())
		g.end(l)
		g.members[f].set("foo", "bar", 0)
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("a write after the hand-over took %v", took)
		}
		g.members[g.follower()].HandOver(t.Context()) // has nothing to give
	})
}

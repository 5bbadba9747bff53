package etcdserver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A newcomer that catches up by a checkpoint announces itself as soon as it has. It
// does not wait for the outcome of a write that came to it inside the checkpoint.
func TestNewcomerBehindACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, l, f := lag(t, 60)
		defer g.endAll()
		g.isolate(f, false)
		g.settle()
		n := g.add(l)
		received, start := g.wire.received(), time.Now()
		g.wire.linger = 2 * time.Second
		r := g.launch(n)
		time.Sleep(time.Second) // it knows who leads
		for i := range 20 {
			g.members[l].set(fmt.Sprintf("k%d", i), "v", 0)
			synctest.Wait() // lets a checkpoint happen
		}
		r.await()
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("it announced itself after %v", took)
		}
		if g.wire.received() == received {
			t.Error("no checkpoint was sent")
		}
	})
}

package ttl

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"etcd2/test/proc"
)

// TestExpirationIsTrue compares the expiration that members show with the wall time at
// which the key goes.
func TestExpirationIsTrue(t *testing.T) {
	t.Parallel()
	c := start(t, 3, proc.Options{})
	leader := c.awaitLeader(c.members...)
	first := c.set(leader, http.MethodPut, "/first", 2, nil)
	c.awaitOneExpiration(first) // until the first heartbeat each member shows its own estimate
	c.compareShown("early")
	if !proc.CanPause {
		return
	}
	before := c.set(leader, http.MethodPut, "/before", 5, nil)
	c.changeLeader(leader)
	c.checkShown(c.awaitOneExpiration(before), before)
	c.compareShown("later")
}

// compareShown sets keys, asks all members for them, and waits for their end.
func (c *cluster) compareShown(name string) {
	c.t.Helper()
	var keys []answer
	var shown []string
	for ttl := 1; ttl <= 4; ttl++ {
		keys = append(keys, c.set(c.member(ttl), http.MethodPut, fmt.Sprintf("/%s%d", name, ttl), ttl, nil))
	}
	for _, k := range keys {
		at := c.awaitOneExpiration(k)
		if own := k.Node.Expiration.Format(time.RFC3339Nano); own != at {
			c.t.Errorf("the write of %s was answered with expiration %s, reads show %s", k.Node.Key, own, at)
		}
		shown = append(shown, at)
	}
	for i, k := range keys {
		c.checkShown(shown[i], k)
	}
}

// awaitOneExpiration waits until all members show the same expiration of a key. A
// follower may be behind, and after an election it learns the leader's by a heartbeat.
func (c *cluster) awaitOneExpiration(a answer) (shown string) {
	c.t.Helper()
	proc.Eventually(c.t, 2*time.Second, "all members show "+a.Node.Key+" with one expiration", func() bool {
		shown = c.shown(a.Node.Key)
		return shown != ""
	})
	return shown
}

// shown returns the expiration that all members show; "" when they differ or lack it.
func (c *cluster) shown(key string) string {
	c.t.Helper()
	var first string
	for i, m := range c.members {
		a, err := c.ask(m, requestTimeout, http.MethodGet, key, nil)
		if err != nil || a.Code != 0 {
			return ""
		}
		if at := a.Node.Expiration.Format(time.RFC3339Nano); i == 0 {
			first = at
		} else if at != first {
			return ""
		}
	}
	return first
}

// checkShown waits for the end of a key and compares the expiration with it.
func (c *cluster) checkShown(shown string, a answer) {
	c.t.Helper()
	at := c.expired(a).At
	off := at.Sub(parse(c.t, shown))
	c.t.Logf("%s expired %v after the expiration shown", a.Node.Key, off.Round(time.Millisecond))
	if off.Abs() > limits.Shown {
		c.t.Errorf("%s showed expiration %s and expired at %s", a.Node.Key, shown, at.UTC().Format(time.RFC3339Nano))
	}
}

// TestExpirationMovesByDowntime kills a member that is alone. The time without it does
// not count, and the expiration says so.
func TestExpirationMovesByDowntime(t *testing.T) {
	t.Parallel()
	const down = 3 * time.Second
	c := start(t, 1, proc.Options{})
	before := c.set(c.members[0], http.MethodPut, "/alone", 4, nil)
	began := time.Now()
	c.killAll(down)
	after := c.shown(before.Node.Key)
	moved := parse(t, after).Sub(before.Node.Expiration)
	// From the kill to the first write, the member was down or had no leader. What was
	// between the write and the kill it has forgotten too.
	downtime := c.line.Leaderless(began.Add(-heartbeat), time.Now())
	if moved < down || moved > downtime+began.Sub(before.call) {
		t.Errorf("the expiration moved by %v after a downtime of %v to %v", moved, down, downtime)
	}
	c.checkShown(after, before)
	c.judge(limits)
}

// TestExpirationWithoutQuorum reads a key at a member that has lost the others, beyond
// the TTL of the key.
func TestExpirationWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := start(t, 3, proc.Options{})
	leader := c.awaitLeader(c.members...)
	survivors := map[string]*proc.Member{"leader": leader, "follower": c.members[0]}
	if leader == c.members[0] {
		survivors["follower"] = c.members[1]
	}
	for name, survivor := range survivors {
		key := c.set(survivor, http.MethodPut, "/"+name, 2, nil)
		c.fault(func() error {
			for _, m := range c.members {
				if m != survivor {
					m.Kill()
				}
			}
			return nil
		})
		reads := 0
		proc.Eventually(t, timeout, "the survivor was read beyond the TTL", func() bool {
			a, err := c.ask(survivor, requestTimeout, http.MethodGet, key.Node.Key, nil)
			if err != nil || a.Code != 0 {
				t.Fatalf("GET %s at the survivor = %+v, %v", key.Node.Key, a, err)
			}
			if a.Node.Expiration.Before(a.call) {
				t.Fatalf("the survivor shows that %s expired %v before the request", key.Node.Key, a.call.Sub(a.Node.Expiration))
			}
			reads++
			return a.call.After(key.end.Add(4 * time.Second))
		})
		t.Logf("%d reads at the %s", reads, name)
		for _, m := range c.members {
			if m != survivor {
				if err := m.Begin(); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.awaitLeader(c.members...)
	}
	c.judge(limits)
}

func parse(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatalf("the expiration %q is not a time: %v", text, err)
	}
	return at
}

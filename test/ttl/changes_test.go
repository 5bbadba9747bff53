package ttl

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"etcd2/test/expiry"
	"etcd2/test/proc"
)

// changes is how often the leader changes in a row.
const changes = 10

// TestLeaderChanges changes the leader again and again, with keys that were set before,
// and then kills all members right after a key was set.
func TestLeaderChanges(t *testing.T) {
	t.Parallel()
	if !proc.CanPause {
		t.Skip("this system cannot pause a process")
	}
	c := start(t, 3, proc.Options{})
	leader := c.awaitLeader(c.members...)
	for ttl := 1; ttl <= 8; ttl++ { // some end in between, some afterwards
		c.set(c.member(ttl), http.MethodPut, fmt.Sprintf("/plain%d", ttl), ttl, nil)
	}
	c.set(c.member(0), http.MethodPut, "/dir", 3, url.Values{"dir": {"true"}})
	c.set(c.member(0), http.MethodPut, "/dir/long", 1000, nil) // goes with its directory, without an event
	c.forget()
	c.set(c.member(1), http.MethodPut, "/swapped", 1, nil)
	c.set(c.member(1), http.MethodPut, "/swapped", 4, url.Values{"value": {"y"}, "prevValue": {"x"}})
	for ttl := range 3 {
		c.set(c.member(2), http.MethodPost, "/queue", 3+ttl, nil)
	}
	c.set(c.member(2), http.MethodPut, "/refreshed", 2, nil)
	for range changes {
		leader = c.changeLeader(leader)
		c.set(c.member(0), http.MethodPut, "/refreshed", 2, url.Values{"refresh": {"true"}, "prevExist": {"true"}})
	}
	c.set(leader, http.MethodPut, "/after", 8, nil)
	c.killAll(0)
	c.judge(limits)
}

// member returns one after the other.
func (c *cluster) member(i int) *proc.Member { return c.members[i%len(c.members)] }

// forget leaves the last write out of the judgement.
func (c *cluster) forget() { c.writes = c.writes[:len(c.writes)-1] }

// changeLeader pauses the leader until another member leads, and returns that one.
func (c *cluster) changeLeader(leader *proc.Member) *proc.Member {
	c.t.Helper()
	rest := slices.DeleteFunc(slices.Clone(c.members), func(m *proc.Member) bool { return m == leader })
	c.fault(leader.Pause)
	next := c.awaitLeader(rest...)
	if err := leader.Resume(); err != nil {
		c.t.Fatal(err)
	}
	proc.Eventually(c.t, timeout, "the paused leader follows", func() bool { return leader.Self().State == "StateFollower" })
	return next
}

// TestKillIdleCluster kills all members a while after the last write. They forget the
// time since they noted cluster time last.
func TestKillIdleCluster(t *testing.T) {
	t.Parallel()
	const (
		noteEvery = 10 * time.Second
		idle      = 12 * time.Second
	)
	c := start(t, 3, proc.Options{})
	c.set(c.awaitLeader(c.members...), http.MethodPut, "/idle", 14, nil)
	c.pass(idle)
	c.killAll(time.Second)
	c.judge(expiry.Limits{Early: limits.Early, Late: limits.Late + noteEvery, Shown: limits.Shown})
}

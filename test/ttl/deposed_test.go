package ttl

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"etcd2/test/network"
	"etcd2/test/proc"
)

// TestDeposedLeaderReturns lets a leader run on alone, and makes it the leader again
// before it has heard more than one heartbeat of its successor. Its own clock is ahead of
// cluster time then by the time without a leader, and must not count.
func TestDeposedLeaderReturns(t *testing.T) {
	t.Parallel()
	if !proc.CanPause {
		t.Skip("this system cannot pause a process")
	}
	links := network.New(t)
	// A slow heartbeat leaves time between the entries of the successor and its next one.
	c := start(t, 3, proc.Options{Advertise: links.Gate, Flags: []string{"--heartbeat-interval", "500", "--election-timeout", "2500"}})
	c.heartbeat = 500 * time.Millisecond
	links.Name(c.members...)
	deposed := c.awaitLeader(c.members...)
	rest := slices.DeleteFunc(slices.Clone(c.members), func(m *proc.Member) bool { return m == deposed })
	c.fault(func() error {
		links.Isolate(deposed.Name, c.members)
		return deposed.Pause()
	})
	leader := c.awaitLeader(rest...)
	third := rest[0]
	if third == leader {
		third = rest[1]
	}
	mark, err := c.ask(leader, requestTimeout, http.MethodPut, "/mark", url.Values{"value": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	links.Break(deposed.Name) // nothing of what the new leader sent so far arrives
	links.Mend()
	must(t, deposed.Resume())
	proc.Eventually(t, timeout, "the deposed leader has the entries of its successor", func() bool {
		a, err := c.ask(deposed, time.Second, http.MethodGet, "/mark", nil)
		return err == nil && a.Node.Modified == mark.Node.Modified
	})
	must(t, third.Pause()) // so that only the deposed leader can take over
	c.set(leader, http.MethodPut, "/kept", 6, nil)
	c.fault(func() error { return stop(leader) })
	must(t, third.Resume())
	if next := c.awaitLeader(deposed, third); next != deposed {
		t.Logf("%s leads and not %s: the run shows little", next.Name, deposed.Name)
	}
	must(t, leader.Restart())
	c.judge(limits)
}

// stop ends a member by SIGTERM, with a transfer of its leadership.
func stop(m *proc.Member) error {
	_, err := m.Stop(timeout)
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

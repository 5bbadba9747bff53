package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// TestTheirProxyBeforeOurs: a proxy of etcd 3.4 in front of our members.
func TestTheirProxyBeforeOurs(t *testing.T) {
	t.Parallel()
	debian := installed(t)
	members := proc.StartCluster(t, 3, proc.Options{})
	debian.Name, debian.Cluster = "front", proc.InitialCluster(members)
	front := proc.Start(t, with(debian, "--proxy", "on"))
	endpoints := get(t, front, "/v2/config/local/proxy")
	for _, m := range members {
		if !strings.Contains(endpoints, m.URL()) {
			t.Errorf("the endpoints are %s, want %s among them", endpoints, m.URL())
		}
	}
	work(t, append(members, front)...)

	// Their proxy keeps the head of a long poll until there is an event, so the member
	// has to tell that the watch has begun.
	poll := wait(t, front, "watched")
	at := watched(t, members, 1)
	put(t, front, "watched", "one")
	eventOf(t, poll, "one")
	index := level(t, members)

	at.Kill()
	rest := append(without(members, at), front)
	put(t, front, "watched", "two") // however long the others take to elect a leader
	work(t, rest...)
	eventOf(t, wait(t, front, fmt.Sprintf("watched?waitIndex=%d", index+1)), "two")
}

// TestOurProxyBeforeTheirs: our proxy in front of members of etcd 3.4. Equal polls
// cost one watch there, outlive the member at which they wait, and after a restart
// the proxy needs nobody to tell it where the members are.
func TestOurProxyBeforeTheirs(t *testing.T) {
	t.Parallel()
	const clients = 50
	members := proc.StartCluster(t, 3, installed(t))
	front := proc.Start(t, proc.Options{Name: "front", Cluster: proc.InitialCluster(members), Flags: []string{"--proxy", "on"}})
	work(t, append(members, front)...)
	level(t, members) // or a member that lags could not go on with a poll

	polls := make([]*wire.Exchange, clients)
	for i := range polls {
		polls[i] = wait(t, front, "watched")
		if err := polls[i].Head(patience); err != nil || polls[i].Status != 200 {
			t.Fatalf("poll %d: status %d, error %v", i, polls[i].Status, err)
		}
	}
	at := watched(t, members, 1)
	at.Kill()
	rest := without(members, at)
	watched(t, rest, 1)
	var last error
	proc.Eventually(t, patience, "a write while the others elect a leader", func() bool {
		last = write(front, "watched", "one") // etcd 3.4 may refuse it meanwhile
		return last == nil
	})
	for _, poll := range polls {
		eventOf(t, poll, "one")
	}
	work(t, append(rest, front)...)

	keepsFinding(t, front, members, rest)
}

// keepsFinding starts a proxy on the data of front, with nothing to go by but what
// front has kept.
func keepsFinding(t *testing.T, front *proc.Member, members, alive []*proc.Member) {
	t.Helper()
	if _, err := front.Stop(patience); err != nil {
		t.Fatal(err)
	}
	var kept struct{ PeerURLs []string }
	content, err := os.ReadFile(filepath.Join(front.Dir, "proxy", "cluster"))
	if err == nil {
		err = json.Unmarshal(content, &kept)
	}
	if err != nil || len(kept.PeerURLs) != len(members) {
		t.Fatalf("the proxy has kept %s, error %v, want %d peer URLs", content, err, len(members))
	}
	again := proc.Start(t, proc.Options{
		Name: "front", Dir: front.Dir, Cluster: "front=http://127.0.0.1:1", Flags: []string{"--proxy", "on"},
	})
	if !strings.Contains(again.Log(), "from cluster file") {
		t.Error("the proxy does not tell that it uses the peer URLs it has kept")
	}
	work(t, append(alive, again)...)
}

// wait begins a long poll at a key, which may have parameters.
func wait(t *testing.T, m *proc.Member, key string) *wire.Exchange {
	t.Helper()
	separator := "?"
	if strings.Contains(key, "?") {
		separator = "&"
	}
	x, err := wire.Send(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/" + key + separator + "wait=true"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// eventOf waits for the event of a poll, which is to have that value.
func eventOf(t *testing.T, x *wire.Exchange, value string) {
	t.Helper()
	if x.Status == 0 {
		if err := x.Head(patience); err != nil {
			t.Fatal(err)
		}
	}
	body, err := x.All(patience)
	if err != nil || x.Status != 200 || !strings.Contains(string(body), fmt.Sprintf(`"value":%q`, value)) {
		t.Errorf("a poll ended with %d %s, error %v, want value %q", x.Status, body, err, value)
	}
}

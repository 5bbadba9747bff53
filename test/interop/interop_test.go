// Package interop lets our server and an installed etcd 3.4 work together: members
// of one find each other through the other, and proxies of one stand in front of
// members of the other. Then it looks at our own proxy as a process, under the load
// for which it is made.
//
// The stories with etcd 3.4 need Debian's package etcd-server and are skipped
// without it.
package interop

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// theirs is where Debian's package etcd-server puts the server.
const theirs = "/usr/bin/etcd"

// patience is for what another process does on a busy machine.
const patience = 30 * time.Second

// installed returns the options of an installed server, which serves the v2 API
// only when told to. The test is skipped where there is none.
func installed(t *testing.T) proc.Options {
	t.Helper()
	if proc.Foreign() {
		t.Skip("another implementation is under test (TEST_ETCD); this test is about ours and etcd 3.4")
	}
	out, err := exec.Command(theirs, "--version").Output()
	if err != nil {
		t.Skipf("no etcd 3.4 to work with: %v (Debian's package is etcd-server)", err)
	}
	if !strings.HasPrefix(string(out), "etcd Version: 3.4.") {
		t.Skipf("%s is no etcd 3.4, the last that has discovery and proxies of the v2 API: %.40q", theirs, out)
	}
	return proc.Options{Bin: theirs, Flags: []string{"--enable-v2"}}
}

// with adds to the flags of o.
func with(o proc.Options, flags ...string) proc.Options {
	o.Flags = append(o.Flags[:len(o.Flags):len(o.Flags)], flags...)
	return o
}

// ask sends a request and returns the answer, whatever it says.
func ask(m *proc.Member, r wire.Request) (status int, body string, err error) {
	x, all, err := wire.Do(m.Client, r)
	if err != nil {
		return 0, "", fmt.Errorf("%s %s at %s: %w", r.Method, r.Target, m.Client, err)
	}
	return x.Status, string(all), nil
}

// get returns the body of what has to be there.
func get(t *testing.T, m *proc.Member, target string) string {
	t.Helper()
	status, body, err := ask(m, wire.Request{Method: "GET", Target: target})
	if err != nil || status != 200 {
		t.Fatalf("GET %s at %s = %d %s, error %v", target, m.Client, status, body, err)
	}
	return body
}

// write sets a key and returns what went wrong.
func write(m *proc.Member, key, value string) error {
	status, body, err := ask(m, wire.Form("PUT", "/v2/keys/"+key, url.Values{"value": {value}}.Encode()))
	if err == nil && status != 200 && status != 201 {
		err = fmt.Errorf("PUT %s at %s = %d %s", key, m.Client, status, body)
	}
	return err
}

// put sets a key.
func put(t *testing.T, m *proc.Member, key, value string) {
	t.Helper()
	if err := write(m, key, value); err != nil {
		t.Fatal(err)
	}
}

// holds compares a value, as the whole cluster knows it.
func holds(t *testing.T, m *proc.Member, key, value string) {
	t.Helper()
	if body := get(t, m, "/v2/keys/"+key+"?quorum=true"); !strings.Contains(body, fmt.Sprintf(`"value":%q`, value)) {
		t.Errorf("GET %s at %s = %s, want %q", key, m.Client, body, value)
	}
}

// work writes at each and reads at all.
func work(t *testing.T, servers ...*proc.Member) {
	t.Helper()
	for i, at := range servers {
		key := fmt.Sprintf("work/%d", i)
		put(t, at, key, at.Client)
		for _, m := range servers {
			holds(t, m, key, at.Client)
		}
	}
}

// watchers is how many watches wait at a member.
func watchers(t *testing.T, m *proc.Member) int {
	t.Helper()
	var stats struct{ Watchers int }
	if err := json.Unmarshal([]byte(get(t, m, "/v2/stats/store")), &stats); err != nil {
		t.Fatal(err)
	}
	return stats.Watchers
}

// watched waits until n watches wait at all members together, and returns the
// member that has the first of them.
func watched(t *testing.T, members []*proc.Member, n int) (at *proc.Member) {
	t.Helper()
	proc.Eventually(t, patience, fmt.Sprintf("%d watches at the members", n), func() bool {
		sum := 0
		at = nil
		for _, m := range members {
			k := watchers(t, m)
			if at == nil && k > 0 {
				at = m
			}
			sum += k
		}
		return sum == n
	})
	return at
}

// without returns the others.
func without(members []*proc.Member, gone *proc.Member) (rest []*proc.Member) {
	for _, m := range members {
		if m != gone {
			rest = append(rest, m)
		}
	}
	return rest
}

// level waits until all members have come as far as each other.
func level(t *testing.T, members []*proc.Member) (index uint64) {
	t.Helper()
	proc.Eventually(t, patience, "equal indexes at all members", func() bool {
		var err error
		if index, err = members[0].Index(); err != nil {
			t.Fatal(err)
		}
		for _, m := range members[1:] {
			if at, err := m.Index(); err != nil || at != index {
				return false
			}
		}
		return true
	})
	return index
}

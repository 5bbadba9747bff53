package hostile

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// impossible are changes of members that nobody can carry out.
func impossible() []wire.Request {
	var all []wire.Request
	for _, id := range []string{"0", "00", "0000000000000000"} {
		all = append(all,
			wire.Request{Method: "DELETE", Target: "/v2/members/" + id},
			wire.Request{Method: "PUT", Target: "/v2/members/" + id, Header: []wire.Field{{Name: "Content-Type", Value: "application/json"}},
				Body: []byte(`{"peerURLs":["http://127.0.0.1:9"]}`)})
	}
	return all
}

// A change of no member is refused at every member, and ends none.
func TestChangeOfNoMember(t *testing.T) {
	for _, n := range []int{1, 3} {
		members := proc.StartCluster(t, n, proc.Options{})
		put(t, members[0], "/k", "1")
		for _, m := range members {
			for _, r := range impossible() {
				x, body, err := wire.Do(m.Client, r)
				if err != nil || x.Status != 404 || !strings.Contains(string(body), "No such member: 0") {
					t.Errorf("%d members: %s %s at %s = %d %s, %v, want 404", n, r.Method, r.Target, m.Name, x.Status, body, err)
				}
			}
		}
		for i, m := range members {
			put(t, m, "/after", m.Name)
			m.Kill()
			restart(t, m)
			holds(t, members[(i+1)%n], "/k", "1")
		}
	}
}

// The strict check, which is on by default, keeps the only member.
func TestOnlyMemberStays(t *testing.T) {
	m := proc.StartCluster(t, 1, proc.Options{})[0]
	put(t, m, "/k", "1")
	_, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/members"})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	x, body, err := wire.Do(m.Client, wire.Request{Method: "DELETE", Target: "/v2/members/" + id})
	if err != nil || x.Status != 500 {
		t.Errorf("DELETE of the only member = %d %s, %v, want 500", x.Status, body, err)
	}
	put(t, m, "/k", "2")
	m.Kill()
	restart(t, m)
	holds(t, m, "/k", "2")
}

// A data directory in whose log an earlier release put a change of member 0, which it
// could not apply, starts again and has kept its data.
func TestLogWithAnImpossibleChange(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/change-of-member-0.tar.gz", dir)
	m := proc.New(t, proc.Options{Name: "a", Dir: filepath.Join(dir, "a.etcd")})
	if err := m.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(20 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, m.Log())
	}
	holds(t, m, "/k", "1")
	put(t, m, "/k", "2")
	m.Kill()
	restart(t, m)
	holds(t, m, "/k", "2")
	if _, ok := lineWith(m.Log(), "log entry ignored", "index=6"); !ok {
		t.Errorf("the log does not name the entry:\n%s", m.Log())
	}
}

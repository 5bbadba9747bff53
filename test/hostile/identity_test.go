package hostile

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// patience is for what takes seconds here, and longer on a busy machine.
const patience = 30 * time.Second

// body is what a member answers to a GET, "" when it cannot be asked.
func body(m *proc.Member, target string) string {
	_, b, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: target})
	if err != nil {
		return ""
	}
	return string(b)
}

// healthy reports whether a member says that it is.
func healthy(m *proc.Member) bool { return strings.Contains(body(m, "/health"), "true") }

// leads reports whether a member leads.
func leads(m *proc.Member) bool { return strings.Contains(body(m, "/v2/stats/self"), "StateLeader") }

// leader waits until one of the members leads, and returns it and the others.
func leader(t *testing.T, members ...*proc.Member) (l *proc.Member, others []*proc.Member) {
	t.Helper()
	proc.Eventually(t, patience, "leader", func() bool {
		i := slices.IndexFunc(members, leads)
		if i < 0 {
			return false
		}
		l, others = members[i], slices.Delete(slices.Clone(members), i, i+1)
		return healthy(l)
	})
	return l, others
}

// logs waits for a line in the log of a member.
func logs(t *testing.T, m *proc.Member, pieces ...string) string {
	t.Helper()
	var line string
	proc.Eventually(t, patience, fmt.Sprintf("line %q in the log of %s", pieces, m.Name), func() (ok bool) {
		line, ok = lineWith(m.Log(), pieces...)
		return ok
	})
	return line
}

// acknowledged reports whether a write succeeds.
func acknowledged(m *proc.Member, key string) bool {
	x, _, err := wire.Do(m.Client, wire.Form("PUT", "/v2/keys"+key, "value=v"))
	return err == nil && x.Status/100 == 2
}

// alive fails the test when the process of a member has ended.
func alive(t *testing.T, members ...*proc.Member) {
	t.Helper()
	for _, m := range members {
		if _, err := m.Wait(0); err == nil {
			t.Fatalf("%s has ended\n%s", m.Name, m.Log())
		}
	}
}

// again starts a member with other flags at its old place.
func again(t *testing.T, m *proc.Member, cluster string, flags ...string) *proc.Member {
	t.Helper()
	next := proc.New(t, proc.Options{Name: m.Name, Dir: m.Dir, Cluster: cluster, Flags: flags})
	next.Client, next.Peer = m.Client, m.Peer
	if err := next.Begin(); err != nil {
		t.Fatal(err)
	}
	return next
}

// A member whose disk was lost, or whose directory is an older copy, cannot make a
// quorum that loses what was acknowledged.
func TestMemberThatForgot(t *testing.T) {
	for name, forget := range map[string]func(t *testing.T, m *proc.Member, old string){
		"lost disk": func(t *testing.T, m *proc.Member, _ string) { remove(t, m.Dir) },
		"older copy": func(t *testing.T, m *proc.Member, old string) {
			remove(t, m.Dir)
			copyDir(t, m.Dir, old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members := proc.StartCluster(t, 3, proc.Options{Own: []string{"--agreement-check-interval", "1s"}})
			for i := range 10 {
				put(t, members[0], fmt.Sprintf("/early%d", i), "v")
			}
			old := filepath.Join(t.TempDir(), "old")
			_, others := leader(t, members...)
			a, b := others[0], others[1]
			a.Kill()
			copyDir(t, old, a.Dir)
			restart(t, a)
			proc.Eventually(t, patience, "health of the member that was restarted", func() bool { return healthy(a) })
			l := members[slices.IndexFunc(members, func(m *proc.Member) bool { return m != a && m != b })]
			b.Kill()
			proc.Eventually(t, patience, "leader of two", func() bool { return acknowledged(l, "/late") })
			for i := range 100 {
				put(t, l, fmt.Sprintf("/late%d", i), "v")
			}
			l.Kill()
			a.Kill()
			forget(t, a, old)
			for _, m := range []*proc.Member{a, b} {
				if err := m.Begin(); err != nil {
					t.Fatal(err)
				}
			}
			logs(t, b, "E |", "member "+a.Name, "is refused: ", "remove it from the cluster and add it again")
			logs(t, a, "E |", "member "+b.Name, "refuses this member: ")
			for _, m := range []*proc.Member{a, b} {
				if acknowledged(m, "/wrong") {
					t.Fatalf("%s acknowledges a write without the newest data", m.Name)
				}
			}
			if healthy(a) || healthy(b) {
				t.Error("a member is healthy without a quorum")
			}
			if err := l.Begin(); err != nil {
				t.Fatal(err)
			}
			proc.Eventually(t, patience, "health of the two that remember", func() bool { return healthy(l) && healthy(b) })
			holds(t, l, "/late99", "v")
			put(t, b, "/goes", "on")
			holds(t, l, "/late0", "v")
			if healthy(a) || strings.Contains(body(a, "/readyz"), "ok") {
				t.Errorf("the refused member is healthy or ready: %s %s", body(a, "/health"), body(a, "/readyz"))
			}
			proc.Eventually(t, patience, "refused member in /v2/stats/agreement", func() bool {
				return strings.Contains(body(l, "/v2/stats/agreement"), `"refused"`) && strings.Contains(body(l, "/v2/stats/agreement"), `"reasons"`)
			})
			l.Kill()
			if acknowledged(b, "/wrong") {
				t.Error("a write is acknowledged by a quorum with the refused member")
			}
			alive(t, a, b)
		})
	}
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Two processes on copies of one directory: both, and the other member, say so.
func TestTwoProcessesOnCopies(t *testing.T) {
	t.Parallel()
	members := proc.StartCluster(t, 3, proc.Options{})
	put(t, members[0], "/k", "v")
	_, others := leader(t, members...)
	a, b := others[0], others[1]
	a.Kill()
	old := filepath.Join(t.TempDir(), "copy")
	copyDir(t, old, a.Dir)
	restart(t, a)
	proc.Eventually(t, patience, "health", func() bool { return healthy(a) })
	b.Kill()
	second := proc.New(t, proc.Options{Name: a.Name, Dir: old, Cluster: proc.InitialCluster(members)})
	second.Client, second.Peer = b.Client, b.Peer // the copy at b's place
	if err := second.Begin(); err != nil {
		t.Fatal(err)
	}
	logs(t, second, "E |", "two processes present themselves as this member")
	logs(t, a, "E |", "two processes present themselves as this member")
	if healthy(second) {
		t.Error("the second process is healthy")
	}
	put(t, a, "/goes", "on")
	alive(t, members[0], a, second)
}

// An ordinary removal raises no alarm, and the member that was removed ends as one that
// knows it.
func TestRemovalIsQuiet(t *testing.T) {
	t.Parallel()
	members := proc.StartCluster(t, 5, proc.Options{})
	for len(members) > 3 {
		l, others := leader(t, members...)
		gone := others[0]
		ids, _ := identities(t, l)
		x, b, err := wire.Do(others[1].Client, wire.Request{Method: "DELETE", Target: fmt.Sprintf("/v2/members/%x", ids[gone.Name])})
		if err != nil || x.Status != 204 {
			t.Fatalf("DELETE = %v %s, %v", x, b, err)
		}
		state, err := gone.Wait(patience)
		if err != nil || state.ExitCode() != 0 {
			t.Errorf("the removed member: %v, %v, want status 0\n%s", state, err, gone.Log())
		}
		if line, ok := lineWith(gone.Log(), "E |", "says that this"); ok {
			t.Errorf("a false alarm: %s", line)
		}
		members = slices.DeleteFunc(members, func(m *proc.Member) bool { return m == gone })
	}
}

// A directory that was made before there was local.json gets one at its first start, and
// keeps it. It was recorded from a member that was killed after writing k1 to k25, with
// a checkpoint every 10 entries.
func TestDirectoryOfEarlierVersion(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	unpack(t, filepath.Join("testdata", "before-local-json.tar.gz"), dir)
	m := proc.Start(t, proc.Options{Dir: dir})
	holds(t, m, "/k25", "v25")
	incarnation := func() string {
		content, err := os.ReadFile(filepath.Join(dir, "member", "local.json"))
		if err != nil {
			t.Fatal(err)
		}
		var state struct{ Incarnation string }
		if err := json.Unmarshal(content, &state); err != nil || len(state.Incarnation) != 32 {
			t.Fatalf("local.json is %s, %v", content, err)
		}
		return state.Incarnation
	}
	first := incarnation()
	m.Kill()
	restart(t, m)
	holds(t, m, "/k1", "v1")
	if now := incarnation(); now != first {
		t.Errorf("the incarnation changed from %s to %s", first, now)
	}
	m.Kill()
	if err := os.WriteFile(filepath.Join(dir, "member", "local.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if log := refuses(t, m); !strings.Contains(log, "local.json") || !strings.Contains(log, "Nothing was changed") {
		t.Errorf("a damaged local.json is refused with:\n%s", log)
	}
	if !maps.Equal(before, files(t, dir)) {
		t.Error("the refused start changed the directory")
	}
}

// unpack extracts a recorded directory.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

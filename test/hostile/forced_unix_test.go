//go:build unix

package hostile

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/proc"
)

// One of three members is started with --force-new-cluster by mistake. The others go on,
// whatever happens to their leader.
func TestForcedByMistake(t *testing.T) {
	signal := func(s syscall.Signal) func(*testing.T, *proc.Member) {
		return func(t *testing.T, m *proc.Member) {
			if err := m.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, disturb := range map[string]func(t *testing.T, l, other *proc.Member){
		"kill": func(t *testing.T, l, _ *proc.Member) { l.Kill(); restart(t, l) },
		"stop and restart": func(t *testing.T, l, _ *proc.Member) {
			if _, err := l.Stop(patience); err != nil {
				t.Fatal(err)
			}
			restart(t, l)
		},
		"pause": func(t *testing.T, l, other *proc.Member) {
			signal(syscall.SIGSTOP)(t, l)
			until := time.Now().Add(6 * time.Second)
			proc.Eventually(t, patience, "end of the pause", func() bool { alive(t, other); return time.Now().After(until) })
			signal(syscall.SIGCONT)(t, l)
		},
		"rolling restart": func(t *testing.T, l, other *proc.Member) {
			for _, m := range []*proc.Member{l, other} {
				if _, err := m.Stop(patience); err != nil {
					t.Fatal(err)
				}
				restart(t, m)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members := proc.StartCluster(t, 3, proc.Options{})
			put(t, members[0], "/k", "v")
			n1, n2, n3 := members[0], members[1], members[2]
			if _, err := n1.Stop(patience); err != nil {
				t.Fatal(err)
			}
			ids, _ := identities(t, n2)
			forced := again(t, n1, proc.InitialCluster(members), "--force-new-cluster")
			line := logs(t, n2, "E |", "n1 (", "was made a cluster of its own with --force-new-cluster; this cluster goes on without it: remove it with DELETE /v2/members/")
			logs(t, forced, "E |", "does not belong to this cluster, which began again with --force-new-cluster")
			l, others := leader(t, n2, n3)
			disturb(t, l, others[0])
			alive(t, n2, n3, forced)
			proc.Eventually(t, patience, "health", func() bool { return healthy(n2) && healthy(n3) && healthy(forced) })
			put(t, n2, "/k", "two")
			put(t, forced, "/k", "one")
			holds(t, n3, "/k", "two")
			for _, m := range []*proc.Member{n2, n3} {
				if strings.Contains(m.Log(), "must be removed") || strings.Contains(m.Log(), "permanently removed") {
					t.Errorf("%s was told to give up its data:\n%s", m.Name, m.Log())
				}
			}
			if ids["n1"] == 0 || !strings.Contains(line, "DELETE /v2/members/") {
				t.Errorf("the line does not say what to do: %s", line)
			}
		})
	}
}

package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
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

// identities are the IDs of the members, by name, and of the cluster.
func identities(t *testing.T, m *proc.Member) (ids map[string]uint64, cluster string) {
	t.Helper()
	x, b, err := wire.Do(m.Peer, wire.Request{Method: "GET", Target: "/members"})
	if err != nil {
		t.Fatal(err)
	}
	cluster, _ = x.Value("X-Etcd-Cluster-Id")
	var list []struct {
		ID   uint64 `json:"id"`
		Name string `json:"name"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	ids = map[string]uint64{}
	for _, m := range list {
		ids[m.Name] = m.ID
	}
	return ids, cluster
}

// forged is a frame with a raft message of this kind, with the largest term.
func forged(kind byte, to, from uint64) []byte {
	p := binary.LittleEndian.AppendUint16(nil, 1|2|4|8|64)
	p = append(p, kind)
	p = binary.LittleEndian.AppendUint64(p, to)
	p = binary.LittleEndian.AppendUint64(p, from)
	p = binary.AppendUvarint(p, 1<<64-1)
	p = append(p, 0) // commit
	f := append(binary.LittleEndian.AppendUint32(nil, uint32(len(p))), 1)
	table := crc32.MakeTable(crc32.Castagnoli)
	f = binary.LittleEndian.AppendUint32(f, crc32.Update(crc32.Checksum(f, table), table, p))
	return append(f, p...)
}

// stranger opens a stream to a member as somebody else, sends frames and returns the
// status of the answer. It waits until the member has read them or has closed.
func stranger(t *testing.T, to *proc.Member, self uint64, cluster string, as uint64, frames []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", to.Peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /raft/stream/%x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: etcd2-raft/1\r\nX-Server-From: %x\r\nX-Server-Version: 2.3.8\r\n"+
		"X-Min-Cluster-Version: 2.3.0\r\nX-Etcd-Cluster-ID: %s\r\nX-Raft-To: %x\r\nX-PeerURLs: http://127.0.0.1:1\r\n\r\n", as, as, cluster, self)
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = conn.Write(frames)
	answer, _ := io.ReadAll(conn)
	line, _, _ := strings.Cut(string(answer), "\r\n")
	return line
}

// One who reaches a peer port and is no member changes nothing, whoever he says he is.
func TestStrangersFrames(t *testing.T) {
	const nobody = 0xabc
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d members", n), func(t *testing.T) {
			t.Parallel()
			members := proc.StartCluster(t, n, proc.Options{})
			put(t, members[0], "/k", "v")
			l, others := leader(t, members...)
			for _, m := range append(others, l) {
				ids, cluster := identities(t, m)
				self := ids[m.Name]
				senders := []uint64{nobody}
				for _, o := range members {
					if o != m {
						senders = append(senders, ids[o.Name])
					}
				}
				for _, as := range senders {
					for _, from := range append(senders, self) {
						var frames []byte
						for kind := range byte(24) {
							frames = append(forged(kind, self, from), frames...)
						}
						for _, f := range [][]byte{frames, forged(8, self, from), forged(17, self, from), forged(5, self, from)} {
							if line := stranger(t, m, self, cluster, as, f); as != nobody && strings.Contains(line, "101") {
								t.Errorf("a stranger may open the stream of the member %x: %s", as, line)
							}
						}
					}
				}
			}
			alive(t, members...)
			put(t, l, "/k", "w")
			for _, m := range members {
				m.Kill()
				if err := m.Begin(); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range members {
				proc.Eventually(t, patience, "health after a restart", func() bool { return healthy(m) })
				holds(t, m, "/k", "w")
			}
		})
	}
}

// A stranger's server at the URL of a member that is down says that the others were
// removed: nobody ends.
func TestStrangersNotice(t *testing.T) {
	t.Parallel()
	members := proc.StartCluster(t, 3, proc.Options{})
	_, cluster := identities(t, members[0])
	l, others := leader(t, members...)
	dead := others[0]
	dead.Kill()
	on, err := net.Listen("tcp", dead.Peer)
	if err != nil {
		t.Skip("the port is taken:", err)
	}
	said := make(chan struct{}, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Etcd-Cluster-ID", cluster)
		http.Error(w, "removed member", http.StatusGone)
		select {
		case said <- struct{}{}:
		default:
		}
	})}
	go server.Serve(on)
	defer server.Close()
	l.Kill() // the other one has no leader from now on
	left := others[1]
	for range 6 {
		<-said // and is told again and again, for some seconds
	}
	until := time.Now().Add(8 * time.Second) // eight election timeouts
	proc.Eventually(t, patience, "end of the time", func() bool {
		alive(t, left)
		return time.Now().After(until)
	})
	restart(t, l)
	proc.Eventually(t, patience, "health", func() bool { return healthy(l) && healthy(left) })
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

package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

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

// stranger opens a stream to a member under another ID, sends frames and returns the
// status line of the response. It waits until the member has read them or has closed.
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

// A process that reaches a peer port and is no member changes nothing, whatever ID it
// presents.
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
// removed: no member ends.
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

package peer

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
)

// A stranger learns nothing that lets it pose as this member, and cannot pose as one
// that was met.
func TestStrangers(t *testing.T) {
	withMembers(t, 3, func(t *testing.T, net *network, m []*node) {
		m[2].end() // a member that is down
		own := identified(1, 1).Incarnation
		for _, tt := range []struct {
			name, from, told string
			status           int
		}{
			{"unlisted", "9", "", 101},
			{"unlisted with an identity", "9", identified(9, 1).String(), 101},
			{"as the member that is down", "3", "", 503},
			{"as the member that is down, with an identity", "3", identified(9, 1).String(), 409},
			{"as the member that is up", "2", "", 503},
			{"as the member that is up, with an identity", "2", identified(9, 1).String(), 503},
			{"as this member", "1", identified(9, 1).String(), 409},
			{"as this member, without an identity", "1", "", 404},
		} {
			answer, conn := open(t, net, m[0], tt.from, tt.told)
			if answer.StatusCode != tt.status {
				t.Errorf("%s: %d, want %d", tt.name, answer.StatusCode, tt.status)
			}
			for name, values := range answer.Header {
				if strings.Contains(strings.Join(values, " "), own) {
					t.Errorf("%s: the header %s tells the incarnation: %v", tt.name, name, values)
				}
			}
			_ = conn.Close()
			time.Sleep(time.Second)
		}
		answer, conn := open(t, net, m[0], "3", identified(3, 2).String())
		if answer.StatusCode != 101 || !strings.Contains(answer.Header.Get(identity.Header), own) {
			t.Errorf("a member that was met gets %d, %v, want this member's identity", answer.StatusCode, answer.Header)
		}
		_ = conn.Close()
		m[2] = another(net, 3, identified(3, 3), m[2].fake.members)
		time.Sleep(10 * time.Second)
	})
}

// A stranger cannot pose as a member that was not met yet: its identity is believed only
// when the process at the member's peer URL has the same session.
func TestFirstMeetingIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newNetwork()
		members := []membership.Member{memberOf(1), memberOf(2)}
		first := another(lan, 1, identified(1, 1), members)
		time.Sleep(time.Second)
		for range 3 {
			answer, conn := open(t, lan, first, "2", identified(9, 1).String())
			if answer.StatusCode != 503 || first.fake.Seen(2).Known() {
				t.Errorf("the member is not up yet: %d and %+v, want 503 and nothing recorded", answer.StatusCode, first.fake.Seen(2))
			}
			_ = conn.Close()
		}
		second := another(lan, 2, identified(2, 1), members)
		time.Sleep(2 * time.Second)
		if got := first.fake.Seen(2); got.Incarnation != identified(2, 1).Incarnation {
			t.Errorf("the real member is recorded as %+v", got)
		}
		second.Send([]*raftpb.Message{beat(2, 1, 7)})
		synctest.Wait()
		equal(t, "messages", first.indexes(), []uint64{7})
		first.end()
		second.end()
		lan.cut()
		time.Sleep(time.Minute)
	})
}

// open opens a stream by hand.
func open(t *testing.T, lan *network, to *node, from, told string) (*http.Response, net.Conn) {
	t.Helper()
	conn, err := lan.dial(t.Context(), "tcp", address1(to.id))
	if err != nil {
		t.Fatal(err)
	}
	request := "GET /raft/stream/" + from + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n" +
		"X-Etcd-Cluster-ID: c\r\nX-Server-From: " + from + "\r\nX-Server-Version: 2.3.8\r\nX-PeerURLs: http://10.0.0.9:2380\r\n"
	if told != "" {
		request += identity.Header + ": " + told + "\r\n"
	}
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer, conn
}

// Messages of an unlisted peer count once a listed member knows it, and not before.
func TestVouching(t *testing.T) {
	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprintf("the listed member is of an earlier version: %v", earlier), func(t *testing.T) {
			withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
				if earlier {
					m[1].end()
					time.Sleep(time.Second) // what was under way has been recorded
					m[0].fake.mu.Lock()
					delete(m[0].seen, 2)
					m[0].fake.mu.Unlock()
					old := http.NewServeMux()
					old.HandleFunc("/raft/ask/member", func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set(headerCluster, cluster.String())
						http.Error(w, `etcdserver: "member" is not a question this version knows`, statusAnswered)
					})
					m[1] = build(net, 2, Config{})
					m[1].fake.members = m[0].fake.members
					m[1].Set(m[0].fake.members)
					m[1].startWith(net, func(h http.Handler) http.Handler { old.Handle("/", h); return old })
				}
				all := []membership.Member{memberOf(1), memberOf(2), memberOf(7)}
				seventh := another(net, 7, identified(7, 1), all)
				defer seventh.end()
				time.Sleep(5 * time.Second)
				seventh.Send([]*raftpb.Message{beat(7, 1, 1)})
				seventh.Forward(1, [][]byte{[]byte("w")})
				synctest.Wait()
				equal(t, "messages of a stranger", m[0].indexes(), nil)
				equal(t, "writes of a stranger", see(m[0].fake, &m[0].forwarded), nil)
				equal(t, "writes that came back", see(seventh.fake, &seventh.refused), []string{"w"})
				if _, err := seventh.Ask(t.Context(), 1, "change", nil); err == nil {
					t.Error("a stranger's question is answered")
				}
				if got := m[0].fake.Seen(7); got.Known() {
					t.Errorf("a stranger is recorded: %+v", got)
				}
				m[1].fake.mu.Lock()
				m[1].fake.members = all
				m[1].fake.mu.Unlock()
				time.Sleep(30 * time.Second)
				seventh.Send([]*raftpb.Message{beat(7, 1, 2)})
				seventh.Forward(1, [][]byte{[]byte("x")})
				synctest.Wait()
				equal(t, "messages of a member", m[0].indexes(), []uint64{2})
				equal(t, "writes of a member", see(m[0].fake, &m[0].forwarded), []string{"7:x"})
				if got := m[0].fake.Seen(7); got.Known() {
					t.Errorf("an unlisted peer is recorded as a member: %+v", got)
				}
				m[0].Set(all) // the log has told
				time.Sleep(2 * time.Second)
				seventh.Send([]*raftpb.Message{beat(7, 1, 3)})
				m[0].Send([]*raftpb.Message{beat(1, 7, 4)})
				synctest.Wait()
				equal(t, "messages of a listed member", m[0].indexes(), []uint64{2, 3})
				equal(t, "messages to it", seventh.indexes(), []uint64{4})
			})
		})
	}
}

// A stranger at the URL of a listed member that is down cannot vouch for another one.
func TestStrangerCannotVouch(t *testing.T) {
	withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
		m[1].end()
		yes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(headerCluster, cluster.String())
			fmt.Fprint(w, vouchYes)
		})
		server := &http.Server{Handler: yes}
		go server.Serve(net.listen(address1(2)))
		seventh := another(net, 7, identified(7, 1), []membership.Member{memberOf(1), memberOf(7)})
		time.Sleep(10 * time.Second)
		seventh.Send([]*raftpb.Message{beat(7, 1, 1)})
		synctest.Wait()
		equal(t, "messages of a stranger", m[0].indexes(), nil)
		seventh.end()
		_ = server.Close()
		m[1] = another(net, 2, identified(2, 2), m[1].fake.members)
	})
}

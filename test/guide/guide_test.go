// Package guide runs the pages that people learn etcd from as they are printed:
// the clustering guide, static, with a discovery URL and with SRV records, and the
// article that grows a cluster from one node to five and then loses two.
//
// A page runs on hosts of its own with the printed addresses, which are network
// namespaces joined by a bridge and need Linux and the right to make them. One that
// needs no names runs on loopback too, with free ports in place of the printed ones.
// Members are added with curl.
package guide

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
)

func TestMain(m *testing.M) {
	if records := os.Getenv(zoneEnv); records != "" {
		os.Exit(serveNames(strings.Split(records, "\n")))
	}
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run()) // the one outside has built the server
	}
	os.Exit(proc.Main(m))
}

// patience bounds what a good run never waits for.
const patience = 30 * time.Second

// onEveryStage runs a page on hosts of its own and on loopback.
func onEveryStage(t *testing.T, page func(t *testing.T, on stage)) {
	if os.Getenv(insideEnv) != "" {
		page(t, newLab(t))
		return
	}
	t.Run("loopback", func(t *testing.T) { page(t, newLoopback(t)) })
	t.Run("hosts", isolated)
}

// guideFlags are the flags of the guide's static example for one host.
func guideFlags(name, ip string) string {
	return fmt.Sprintf(`etcd --name %[1]s --initial-advertise-peer-urls http://%[2]s:2380 \
  --listen-peer-urls http://%[2]s:2380 \
  --listen-client-urls http://%[2]s:2379,http://127.0.0.1:2379 \
  --advertise-client-urls http://%[2]s:2379 \
  --initial-cluster-token etcd-cluster-1 `, name, ip)
}

const (
	guideCluster = "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://10.0.1.12:2380"
	guideStatic  = "--initial-cluster " + guideCluster + " \\\n  --initial-cluster-state new"
)

var guideIDs = map[string]string{
	"infra0": "140fedbeeb74765d", "infra1": "d5dc5f8d75d04e29", "infra2": "8a0a11c6194fc77",
}

// The guide's static cluster, with flags and then with variables, and restarted
// without what was only for the beginning.
func TestStaticGuide(t *testing.T) {
	onEveryStage(t, func(t *testing.T, on stage) {
		variables := `ETCD_INITIAL_CLUSTER="` + guideCluster + `" ETCD_INITIAL_CLUSTER_STATE=new `
		for round, command := range []func(name, ip string) string{
			func(name, ip string) string { return guideFlags(name, ip) + guideStatic },
			func(name, ip string) string { return variables + guideFlags(name, ip) },
		} {
			key := fmt.Sprintf("round%d", round)
			hosts := map[string]string{"infra0": "10.0.1.10", "infra1": "10.0.1.11", "infra2": "10.0.1.12"}
			running := map[string]*process{}
			for name, ip := range hosts {
				running[name] = on.start(t, ip, command(name, ip)+fmt.Sprintf(" --data-dir %s.%d.etcd", name, round))
			}
			for name, p := range running {
				p.await(t, "published {Name:"+name)
				if on.printed() {
					p.await(t, "starting member "+guideIDs[name]+" in cluster acccc8912db0cd57")
				}
			}
			on.curl(t, "10.0.1.10", 201, `-X PUT http://10.0.1.10:2379/v2/keys/`+key+` -d value=one`)
			on.curl(t, "10.0.1.12", 200, `http://10.0.1.12:2379/v2/keys/`+key+`?quorum=true`)
			if got := members(t, on, "10.0.1.11"); len(got) != 3 {
				t.Errorf("members are %+v, want three", got)
			}
			running["infra1"].kill()
			again := on.start(t, "10.0.1.11", strings.Split(guideFlags("infra1", "10.0.1.11"), "--initial-cluster-token")[0]+
				fmt.Sprintf(" --data-dir infra1.%d.etcd", round))
			again.await(t, "published {Name:infra1")
			on.curl(t, "10.0.1.11", 200, `http://127.0.0.1:2379/v2/keys/`+key+`?quorum=true`)
			again.kill()
			running["infra0"].kill()
			running["infra2"].kill()
		}
	})
}

// member is one entry of /v2/members.
type member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func members(t *testing.T, on stage, ip string) []member {
	t.Helper()
	var list struct{ Members []member }
	body := on.curl(t, ip, 200, "http://"+ip+":2379/v2/members")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return list.Members
}

// awaitVoters waits until a host knows so many members that have a vote.
func awaitVoters(t *testing.T, on stage, ip string, n int) {
	t.Helper()
	want := fmt.Sprintf("\netcd_server_voters %d\n", n)
	proc.Eventually(t, patience, fmt.Sprintf("%d voters", n), func() bool {
		return strings.Contains(on.curl(t, ip, 200, "http://"+ip+":2379/metrics"), want)
	})
}

// article is the command of one node of the article.
func article(node string, ip string) string {
	return fmt.Sprintf(`etcd --name %[1]s --data-dir %[1]s.etcd \
  --initial-advertise-peer-urls http://%[2]s:2380 --listen-peer-urls http://0.0.0.0:2380 \
  --advertise-client-urls http://%[2]s:2379 --listen-client-urls http://0.0.0.0:2379 `, node, ip)
}

// The article's cluster: one node, four more added while it runs, two destroyed.
func TestFromOneNodeToFive(t *testing.T) {
	onEveryStage(t, func(t *testing.T, on stage) {
		nodes := []string{"node-a", "node-b", "node-c", "node-d", "node-e"}
		ip := func(i int) string { return fmt.Sprintf("10.10.10.1%d", i+1) }
		running := []*process{on.start(t, ip(0), article("node-a", ip(0))+"--initial-cluster node-a=http://10.10.10.11:2380")}
		running[0].await(t, "published {Name:node-a")
		if on.printed() {
			running[0].await(t, "starting member ffcf00e267752181 in cluster 2f47b7801f733964")
		}
		on.curl(t, ip(0), 201, `-X PUT http://10.10.10.11:2379/v2/keys/one -d value=uno`)
		if missing := on.curl(t, ip(0), 404, `http://10.10.10.11:2379/v2/keys/two`); !strings.Contains(missing, `"index":4`) {
			t.Errorf("the missing key is %s, want index 4", missing)
		}
		on.curl(t, ip(0), 201, `-X PUT http://10.10.10.11:2379/v2/keys/two -d value=dos`)

		cluster := "node-a=http://10.10.10.11:2380"
		for i := 1; i < len(nodes); i++ {
			on.curl(t, ip(0), 201, fmt.Sprintf(`http://10.10.10.11:2379/v2/members -H 'Content-Type: application/json' -d '{"peerURLs":["http://%s:2380"]}'`, ip(i)))
			// The cluster goes on while the new member is not there yet.
			on.curl(t, ip(0), 200, `http://10.10.10.11:2379/health`)
			cluster += fmt.Sprintf(",%s=http://%s:2380", nodes[i], ip(i))
			p := on.start(t, ip(i), fmt.Sprintf("ETCD_NAME=%q ETCD_INITIAL_CLUSTER=%q ETCD_INITIAL_CLUSTER_STATE=\"existing\" ", nodes[i], cluster)+
				strings.Replace(article(nodes[i], ip(i)), "--name "+nodes[i], "", 1))
			p.await(t, "published {Name:"+nodes[i])
			running = append(running, p)
			on.curl(t, ip(i), 200, fmt.Sprintf(`http://%s:2379/v2/keys/one?quorum=true`, ip(i)))
		}
		awaitVoters(t, on, ip(0), len(nodes))
		list := members(t, on, ip(4))
		for _, name := range nodes {
			if !slices.ContainsFunc(list, func(m member) bool { return m.Name == name && len(m.ClientURLs) == 1 }) {
				t.Errorf("no %s with a client URL among %+v", name, list)
			}
		}

		// The leader and one more are destroyed.
		var leader member
		if err := json.Unmarshal([]byte(on.curl(t, ip(0), 200, `http://10.10.10.11:2379/v2/members/leader`)), &leader); err != nil {
			t.Fatal(err)
		}
		first := slices.Index(nodes, leader.Name)
		second := (first + 1) % len(nodes)
		left := (first + 2) % len(nodes)
		running[first].kill()
		running[second].kill()
		on.curl(t, ip(left), 201, fmt.Sprintf(`-X PUT http://%s:2379/v2/keys/three -d value=tres`, ip(left)))
		on.curl(t, ip(left), 200, fmt.Sprintf(`http://%s:2379/v2/keys/one?quorum=true`, ip(left)))
	})
}

package guide

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"etcd2/test/zone"
)

// guideHosts are the addresses in the guide's domain. The SRV records come with the
// page.
var guideHosts = zone.Records{"infra0.example.com. A 10.0.1.10", "infra1.example.com. A 10.0.1.11", "infra2.example.com. A 10.0.1.12"}

// plainServers and secureServers are the guide's SRV records.
func plainServers() zone.Records  { return servers("_etcd-server") }
func secureServers() zone.Records { return servers("_etcd-server-ssl") }

func servers(service string) zone.Records {
	var records zone.Records
	for i := range 3 {
		records = append(records, fmt.Sprintf("%s._tcp.example.com. SRV 0 0 2380 infra%d.example.com.", service, i))
	}
	return records
}

// withNames makes a lab whose hosts ask a name server for the guide's domain.
func withNames(t *testing.T, records zone.Records) *lab {
	t.Helper()
	l := newLab(t).(*lab)
	l.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	text := "nameserver " + nameServer + "\noptions timeout:1 attempts:2\n"
	if err := os.WriteFile(l.resolv, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := append(l.enter(t, nameServer), os.Args[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), zoneEnv+"="+strings.Join(slices.Concat(guideHosts, records), "\n"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	awaitReady(t, cmd)
	return l
}

// byName is the guide's command of a member that finds the others by SRV records,
// with the host as it advertises itself.
func byName(name, ip, host string) string {
	return fmt.Sprintf(`etcd --name %[1]s --discovery-srv example.com \
  --initial-advertise-peer-urls http://%[3]s:2380 \
  --initial-cluster-token etcd-cluster-1 --initial-cluster-state new \
  --advertise-client-urls http://%[3]s:2379 \
  --listen-client-urls http://%[2]s:2379 \
  --listen-peer-urls http://%[2]s:2380 --data-dir %[1]s.etcd`, name, ip, host)
}

// onHosts runs a page that needs names of its own.
func onHosts(t *testing.T, page func(t *testing.T)) {
	if os.Getenv(insideEnv) != "" {
		page(t)
		return
	}
	isolated(t)
}

// The guide's members behind SRV records, by host names, with a proxy that finds
// them the same way.
func TestSRVGuideHostNames(t *testing.T) {
	onHosts(t, func(t *testing.T) {
		on := withNames(t, plainServers())
		srvCluster(t, on, func(i int) string { return fmt.Sprintf("infra%d.example.com", i) }, "http")
		proxy := on.start(t, "10.0.1.14", `etcd --proxy on --discovery-srv example.com --listen-client-urls http://10.0.1.14:2379`)
		proxy.await(t, "listening for client requests on http://10.0.1.14:2379")
		on.curl(t, "10.0.1.14", 200, `http://10.0.1.14:2379/v2/keys/met`)
	})
}

// The same by addresses.
func TestSRVGuideAddresses(t *testing.T) {
	onHosts(t, func(t *testing.T) {
		on := withNames(t, plainServers())
		srvCluster(t, on, func(i int) string { return fmt.Sprintf("10.0.1.1%d", i) }, "http")
	})
}

// The same with the records that mean https.
func TestSRVGuideSecure(t *testing.T) {
	onHosts(t, func(t *testing.T) {
		on := withNames(t, secureServers())
		srvCluster(t, on, func(i int) string { return fmt.Sprintf("infra%d.example.com", i) }, "https")
	})
}

// srvCluster starts the guide's three members and writes through one of them.
func srvCluster(t *testing.T, on *lab, host func(i int) string, peerScheme string) {
	t.Helper()
	var running []*process
	for i := range 3 {
		ip := fmt.Sprintf("10.0.1.1%d", i)
		command := byName(fmt.Sprintf("infra%d", i), ip, host(i))
		if peerScheme == "https" {
			command = strings.NewReplacer("http://"+host(i)+":2380", "https://"+host(i)+":2380",
				"http://"+ip+":2380", "https://"+ip+":2380").Replace(command) + " --peer-auto-tls"
		}
		running = append(running, on.start(t, ip, command))
	}
	for i, p := range running {
		p.await(t, fmt.Sprintf("published {Name:infra%d", i))
	}
	// The IDs are those of the host names in the records, whatever a member says of itself.
	if peerScheme == "http" {
		running[0].await(t, "in cluster c8ba12a1c26d31b1")
	}
	on.curl(t, "10.0.1.10", 201, `-X PUT http://10.0.1.10:2379/v2/keys/met -d value=yes`)
	on.curl(t, "10.0.1.12", 200, `http://10.0.1.12:2379/v2/keys/met?quorum=true`)
}

package guide

import (
	"fmt"
	"strings"
	"testing"
)

const discoveryURL = "http://10.0.1.20:2379/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83"

// discovering is the guide's command of a member that finds the others at a URL.
func discovering(name, ip string) string {
	return fmt.Sprintf(`etcd --name %[1]s --initial-advertise-peer-urls http://%[2]s:2380 \
  --listen-peer-urls http://%[2]s:2380 \
  --listen-client-urls http://%[2]s:2379,http://127.0.0.1:2379 \
  --advertise-client-urls http://%[2]s:2379 \
  --discovery %[3]s `, name, ip, discoveryURL)
}

// The guide's custom discovery service, which is a server of ours: three members
// meet there, the fourth becomes a proxy, or ends when it is told to.
func TestDiscoveryGuide(t *testing.T) {
	onEveryStage(t, func(t *testing.T, on stage) {
		service := on.start(t, "10.0.1.20", `etcd --name service --initial-advertise-peer-urls http://10.0.1.20:2380 \
  --listen-peer-urls http://10.0.1.20:2380 --listen-client-urls http://10.0.1.20:2379 \
  --advertise-client-urls http://10.0.1.20:2379 --initial-cluster service=http://10.0.1.20:2380`)
		service.await(t, "published {Name:service")
		on.curl(t, "10.0.1.20", 201, `-X PUT `+discoveryURL+`/_config/size -d value=3`)

		var running []*process
		for i, name := range []string{"infra0", "infra1", "infra2"} {
			ip := fmt.Sprintf("10.0.1.1%d", i)
			running = append(running, on.start(t, ip, discovering(name, ip)))
		}
		for i, p := range running {
			p.await(t, fmt.Sprintf("published {Name:infra%d", i))
		}
		on.curl(t, "10.0.1.10", 201, `-X PUT http://10.0.1.10:2379/v2/keys/met -d value=yes`)
		if got := members(t, on, "10.0.1.12"); len(got) != 3 {
			t.Errorf("members are %+v, want three", got)
		}

		surplus := on.start(t, "10.0.1.13", discovering("infra3", "10.0.1.13"))
		surplus.await(t, "discovery cluster full, falling back to proxy")
		on.curl(t, "10.0.1.13", 200, `http://10.0.1.13:2379/v2/keys/met`)
		if body := on.curl(t, "10.0.1.13", 200, `http://10.0.1.13:2379/v2/config/local/proxy`); !strings.Contains(body, "endpoints") {
			t.Errorf("the proxy shows %q", body)
		}
		surplus.kill()

		told := on.start(t, "10.0.1.13", discovering("infra3", "10.0.1.13")+"--discovery-fallback exit --data-dir other.etcd")
		told.await(t, "etcd: discovery: cluster is full")
		if code := told.exit(t); code != 1 {
			t.Errorf("exit %d, want 1", code)
		}
	})
}

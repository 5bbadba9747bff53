package proc

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// StartCluster runs n members, n1 and so on, that found a cluster together, and
// waits until all of them serve clients. A data directory in o is not used: every
// member gets a new one.
func StartCluster(t testing.TB, n int, o Options) []*Member {
	t.Helper()
	members := make([]*Member, n)
	for i := range members {
		o.Name, o.Dir = fmt.Sprintf("n%d", i+1), ""
		members[i] = New(t, o)
	}
	choosePorts(t, members...) // each for itself they could get one port twice
	for try := 1; ; try++ {
		err := found(members)
		if err == nil {
			return members
		}
		if try == startTries || !slices.ContainsFunc(members, (*Member).portTaken) {
			t.Fatalf("%v\n%s", err, logs(members))
		}
		for _, m := range members {
			m.Kill()
			m.Dir = filepath.Join(t.TempDir(), "data")
		}
		choosePorts(t, members...)
	}
}

// found starts the members of a new cluster.
func found(members []*Member) error {
	founders, discovery := InitialCluster(members), ""
	if mint := members[0].opts.Discovery; mint != nil {
		var err error
		if discovery, err = mint(); err != nil {
			return err
		}
	}
	for _, m := range members {
		m.opts.Cluster, m.discovery = founders, discovery
		if err := m.Begin(); err != nil {
			return err
		}
	}
	for _, m := range members {
		if err := m.WaitReady(startPatience); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// InitialCluster is the value of --initial-cluster for these members.
func InitialCluster(members []*Member) string {
	var items []string
	for _, m := range members {
		items = append(items, m.Name+"="+m.PeerURL())
	}
	return strings.Join(items, ",")
}

func logs(members []*Member) string {
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, "log of %s on %s:\n%s\n", m.Name, m.Client, m.Log())
	}
	return b.String()
}

package etcdserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/identity"
	"etcd2/localstate"
)

// story runs a cluster of three machines in a bubble.
func story(t *testing.T, tell func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.endAll()
		c.launch(0, 1, 2)
		tell(t, c)
	})
}

// writes puts keys at one machine.
func (c *cluster) writes(at int, prefix string, n int) {
	c.t.Helper()
	for i := range n {
		c.at[at].r.set(fmt.Sprintf("%s%d", prefix, i), prefix, 0)
	}
}

const (
	lostData = "the member came back without its data"
	older    = "the member runs on an older copy of its data directory"
	twice    = "two processes present themselves as this member"
	shorter  = "the member's data is older than what it had before"
)

// A member comes back with an empty disk while the one that holds the newest entries is
// down: the remaining one makes no quorum with it, so nothing that was acknowledged is
// lost, and the cluster goes on without it when the former leader is back.
func TestLostDisk(t *testing.T) {
	story(t, func(t *testing.T, c *cluster) {
		c.at[1].end()
		l := c.leader(0, 2)
		a := 2 - l
		c.writes(l, "acked", 20)
		c.at[l].kill()
		c.at[a].kill()
		c.at[a].wipe()
		c.at[a].launch()
		c.at[1].launch()
		time.Sleep(20 * time.Second) // while it dials rarely
		c.leaderless(time.Minute, a, 1)
		c.refused(a, lostData, 1)
		c.at[l].launch()
		c.leader(l, 1)
		c.at[l].r.await()
		for _, i := range []int{l, 1} {
			if got := c.at[i].r.value("acked19"); got != "acked" {
				t.Errorf("member %d reads %q, want what was acknowledged", i, got)
			}
		}
		c.writes(1, "later", 20)
		c.refused(a, lostData, 1, l)
		c.running(0, 1, 2)
		c.at[l].end()
		if err := c.at[1].r.try(t.Context(), "x", "y"); err == nil {
			t.Error("a write is acknowledged by a quorum with the member that was refused")
		}
	})
}

// A copy of a data directory takes the place of the directory.
func TestOlderCopy(t *testing.T) {
	tests := []struct {
		name string
		// copied is when the copy is made: while the member runs for the first time, or
		// after it was stopped.
		whileRunning bool
		starts       int // of the original after the copy
		// wait is how long the others run on, killed how they end.
		wait   time.Duration
		killed bool
		why    string
	}{
		{"of a stopped member, started once more", false, 1, 0, true, twice},
		{"of a stopped member, started often", false, 3, 0, true, older},
		{"of a running member, the others are killed", true, 0, 2 * flushPeriod, true, shorter},
		{"of a running member, the others are stopped", true, 0, 2 * time.Second, false, shorter},
		{"of a running member, started once more", true, 1, 0, true, twice},
		{"of a running member, started often", true, 3, 0, true, older},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			story(t, func(t *testing.T, c *cluster) {
				m := c.at[0]
				c.writes(1, "before", 5)
				if !tt.whileRunning {
					m.end()
				}
				old := m.copyOf()
				if tt.whileRunning {
					c.writes(1, "after", 5)
					time.Sleep(tt.wait)
					m.end()
				}
				for range tt.starts {
					m.launch()
					c.leader(0, 1, 2)
					time.Sleep(2 * time.Second)
					m.end()
				}
				for _, other := range c.at[1:] {
					if tt.killed {
						other.kill()
					} else {
						other.end()
					}
				}
				m.restore(old)
				m.launch()
				c.launch(1, 2)
				c.leader(1, 2)
				time.Sleep(20 * time.Second)
				c.refused(0, tt.why, 1, 2)
			})
		})
	}
}

// A member on the same directory stops, is killed or loses its power: it is never
// refused.
func TestOrdinaryRestarts(t *testing.T) {
	story(t, func(t *testing.T, c *cluster) {
		for round := range 12 {
			i := round % 3
			c.writes((i+1)%3, fmt.Sprint("k", round), 7)
			switch round / 3 {
			case 0:
				c.at[i].end()
			case 1:
				c.at[i].kill()
			case 2:
				c.at[i].kill()
				c.at[i].log.Crash()
			case 3:
				for j := range 3 {
					c.at[j].kill()
					c.at[j].log.Crash()
				}
				c.launch((i+1)%3, (i+2)%3)
			}
			c.at[i].launch()
			c.leader(0, 1, 2)
			c.at[i].r.await()
		}
		for i := range 3 {
			c.at[i].r.set("last", "v", 0)
			if n := c.at[i].out.count("ERROR", "refuse") - c.at[i].out.count("ERROR", "connection refused"); n > 0 {
				t.Errorf("member %d speaks of a refusal:\n%s", i, c.at[i].out.String())
			}
			state := c.at[i].r.local.State()
			if len(state.Seen) != 2 || state.Starts < 4 {
				t.Errorf("member %d keeps %+v, want 4 starts or more and 2 members", i, state)
			}
		}
	})
}

// A second process runs on a copy of a directory, at the address of a member that is
// down: it is refused and named, and the two good members go on.
func TestTwoProcessesOnCopies(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("copy of a running member: %v", running), func(t *testing.T) {
			story(t, func(t *testing.T, c *cluster) {
				c.writes(1, "k", 5)
				c.at[1].end()
				if !running {
					c.at[0].end()
				}
				b := c.at[0].copyOf()
				if !running {
					c.at[0].launch()
				}
				c.leader(0, 2)
				second := &machine{bed: b, lan: c.lan, addr: c.at[1].addr}
				second.launch()
				defer second.end()
				time.Sleep(20 * time.Second)
				c.at = append(c.at, second)
				c.running(0, 2, 3)
				c.leader(0, 2)
				c.at[0].r.set("goes", "on", 0)
				if n := c.at[2].out.count("ERROR", twice); n == 0 {
					t.Errorf("the other member does not name the two processes:\n%s", c.at[2].out.String())
				}
				if n := second.out.count("ERROR", twice) + second.out.count("ERROR", "another process runs as this member"); n == 0 {
					t.Errorf("the second process is not named to itself:\n%s", second.out.String())
				}
				if n := c.at[0].out.count("ERROR", twice); n == 0 {
					t.Errorf("the first process does not hear of the second:\n%s", c.at[0].out.String())
				}
				if err := second.r.Ready(); err == nil {
					t.Error("the second process is ready")
				}
			})
		})
	}
}

// One of three is started with ForceNewCluster by mistake. The others go on, also when
// their leader stops.
func TestForcedBesideTwo(t *testing.T) {
	tests := map[string]func(c *cluster, l int){
		"killed":         func(c *cluster, l int) { c.at[l].kill(); time.Sleep(20 * time.Second); c.at[l].launch() },
		"stopped":        func(c *cluster, l int) { c.at[l].end(); time.Sleep(20 * time.Second); c.at[l].launch() },
		"restarted":      func(c *cluster, l int) { c.at[l].end(); c.at[l].launch() },
		"one by one":     func(c *cluster, l int) { c.at[l].end(); c.at[l].launch(); c.at[3-l].end(); c.at[3-l].launch() },
		"both":           func(c *cluster, l int) { c.at[1].kill(); c.at[2].kill(); c.at[1].launch(); c.at[2].launch() },
		"handed over":    func(c *cluster, l int) { c.at[l].r.HandOver(c.t.Context()) },
		"after a minute": func(c *cluster, l int) { time.Sleep(time.Minute); c.at[l].kill(); c.at[l].launch() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, c *cluster) {
				c.writes(1, "k", 5)
				c.at[0].end()
				c.at[0].tune = func(cfg *Config) { cfg.ForceNewCluster = true }
				c.launch(0)
				c.at[0].tune = nil
				generation := c.at[0].r.Identity().Generation
				if !identity.ValidGeneration(generation) || generation == "" {
					t.Errorf("the generation of a forced cluster is %q", generation)
				}
				time.Sleep(5 * time.Second)
				change(c, c.leader(1, 2))
				time.Sleep(10 * time.Second)
				c.running(0, 1, 2)
				c.leader(1, 2)
				c.at[1].r.set("goes", "on", 0)
				c.at[2].r.set("goes", "on", 0)
				c.at[0].r.set("alone", "on", 0)
				for i := 1; i <= 2; i++ {
					if n := c.at[i].out.count("ERROR", "was made a cluster of its own with --force-new-cluster; this cluster goes on without it: remove it with DELETE /v2/members/"+c.at[0].self.ID.String()); n == 0 || n > 3 {
						t.Errorf("member %d names the forced one %d times:\n%s", i, n, c.at[i].out.String())
					}
				}
				if n := c.at[0].out.count("ERROR", "does not belong to this cluster, which began again"); n != 2 {
					t.Errorf("the forced member names the others %d times:\n%s", n, c.at[0].out.String())
				}
				c.at[0].end()
				c.launch(0)
				if got := c.at[0].r.Identity().Generation; got != generation {
					t.Errorf("after a restart the generation is %q, want %q", got, generation)
				}
			})
		})
	}
}

// Members that join a forced cluster adopt its generation, told in advance or not.
func TestJoiningAForcedCluster(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint(told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				defer c.endAll()
				c.at[0].tune = func(cfg *Config) { cfg.ForceNewCluster = true }
				c.launch(0)
				c.at[0].end()
				c.launch(0) // there are data now
				c.at[0].tune = nil
				generation := c.at[0].r.Identity().Generation
				if generation == "" {
					t.Fatal("the cluster has no generation")
				}
				m := numbered(1)
				added, err := c.at[0].r.AddMember(t.Context(), m.PeerURLs)
				if err != nil {
					t.Fatal(err)
				}
				added.Name = m.Name
				b := newBedOf(t, added, nil)
				remotes, id := c.at[0].r.Members(), c.at[0].r.ClusterID()
				b.tune = func(cfg *Config) {
					cfg.Join, cfg.Remotes, cfg.ClusterID = true, remotes, id
					if told {
						cfg.Generation = generation
					}
				}
				c.add(b)
				c.launch(1)
				c.at[1].r.set("foo", "bar", 0)
				if got := c.at[1].r.Identity().Generation; got != generation {
					t.Errorf("the generation of the new member is %q, want %q", got, generation)
				}
				c.at[1].end()
				c.launch(1)
				c.at[1].r.set("foo", "bar", 0)
			})
		})
	}
}

// A directory of an earlier version gets an identity at its first start, and no member
// refuses it. A directory with local state and without a log is not taken for a new one.
func TestLocalState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		r.set("foo", "bar", 0)
		r.end()
		file := localName(b)
		if err := b.log.Remove(file); err != nil { // as an earlier version leaves it
			t.Fatal(err)
		}
		r = b.start()
		first := r.Identity()
		if got := r.value("foo"); got != "bar" || first.Start != 1 || first.Generation != "" || first.Last < 4 || first.Committed != first.Last || first.Term == 0 {
			t.Errorf("foo = %s, identity %+v", got, first)
		}
		r.end()
		r = b.start()
		if next := r.Identity(); next.Incarnation != first.Incarnation || next.Start != 2 || next.Session == first.Session || next.Last < first.Last || next.Term < first.Term {
			t.Errorf("after a restart %+v, before %+v", next, first)
		}
		r.end()

		content, err := b.log.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.log.WriteFile(file, content[:len(content)/2])
		if _, err := b.open(); !errors.Is(err, ErrDataDir) || !errors.Is(err, localstate.ErrDamaged) || !strings.Contains(err.Error(), file) {
			t.Errorf("Open with a damaged file = %v, want ErrDataDir with its name", err)
		}
		for name := range b.log.Files() {
			if strings.Contains(name, "/wal/") {
				if err := b.log.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := b.open(); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), "whose log is not in") {
			t.Errorf("Open without the log = %v, want ErrDataDir", err)
		}
	})
}

func localName(b *bed) string {
	return Config{Dir: b.dir}.localConfig().Dir + "/" + localstate.FileName
}

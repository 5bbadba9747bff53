package etcdserver

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

func TestNextVersion(t *testing.T) {
	r := func(texts ...string) (list []version.Number) {
		for _, text := range texts {
			v, err := version.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, v)
		}
		return list
	}
	tests := []struct {
		name    string
		decided string
		said    []version.Number
		unknown int
		want    string
	}{
		{"alone", "", r("2.3.8"), 0, "2.3.0"},
		{"all the same", "", r("2.3.8", "2.3.1", "2.3.8"), 0, "2.3.0"},
		{"one is older", "", r("2.3.8", "2.2.5"), 0, "2.2.0"},
		{"one is much older", "", r("2.3.8", "2.0.0"), 0, "2.0.0"},
		{"one is silent", "", r("2.3.8", "2.3.8"), 1, "2.2.0"},
		{"all have come up", "2.2.0", r("2.3.8", "2.3.8", "2.3.8"), 0, "2.3.0"},
		{"one is still older", "2.2.0", r("2.3.8", "2.2.5"), 0, ""},
		{"one is silent again", "2.2.0", r("2.3.8"), 2, ""},
		{"decided", "2.3.0", r("2.3.8"), 0, ""},
		{"an older one joins", "2.3.0", r("2.3.8", "2.2.0"), 0, ""},
		{"a newer one joins", "2.3.0", r("2.3.8", "2.10.1"), 0, ""},
		{"two digits", "2.3.0", r("2.11.8", "2.10.1-alpha.1+git"), 0, "2.10.0"},
	}
	for _, tt := range tests {
		if got := nextVersion(tt.decided, tt.said, tt.unknown); got != tt.want {
			t.Errorf("%s: nextVersion = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// While one member is older, or does not answer, the cluster speaks what all can;
// it follows within four seconds of the last one, and never goes back.
func TestRollingUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		old := g.beds[1].self.ID
		g.wire.say(old, "2.2.5")
		g.launch(0)
		g.launch(1)
		g.members[0].await()
		if err := g.members[0].TransferLeader(t.Context(), g.beds[0].self.ID); err != nil {
			t.Fatal(err) // the old one must not lead: it is not really old
		}
		if got := g.members[0].ClusterVersion(); got != "2.2.0" {
			t.Errorf("with an old member and one that does not run: %q, want 2.2.0", got)
		}
		g.launch(2).await()
		time.Sleep(3 * versionPeriod)
		if got := g.members[2].ClusterVersion(); got != "2.2.0" {
			t.Errorf("with an old member: %q, want 2.2.0", got)
		}
		g.wire.say(old, "")
		time.Sleep(versionPeriod + time.Second)
		if got := g.members[2].ClusterVersion(); got != "2.3.0" {
			t.Errorf("after the upgrade: %q, want 2.3.0", got)
		}
		g.wire.say(g.beds[g.follower()].self.ID, "2.2.5")
		g.crash(g.leader())
		g.follower()
		time.Sleep(3 * versionPeriod)
		for _, r := range g.members {
			if r != nil && r.ClusterVersion() != "2.3.0" {
				t.Errorf("with an older member again: %q, want 2.3.0 still", r.ClusterVersion())
			}
		}
		g.settle()
	})
}

// say has a member claim to be of some version; "" is what it is.
func (w *wire) say(id membership.ID, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.versions == nil {
		w.versions = map[membership.ID]string{}
	}
	w.versions[id] = version
}

// A decided cluster writes nothing and, once a leader has looked, asks nobody.
func TestDecidedClusterIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.tune(func(c *Config) { c.AgreementInterval = -1 })
		g.startAll()
		g.settle()
		at := g.members[0].progress.position()
		time.Sleep(10 * time.Minute)
		if now := g.members[0].progress.position(); now != at {
			t.Errorf("ten idle minutes moved the log from %v to %v", at, now)
		}
	})
}

// A member that is older than what its cluster has agreed on ends, and does not
// start again.
func TestDowngradeIsRefused(t *testing.T) {
	const want = "cluster cannot be downgraded (current version: 2.3.8 is lower than determined cluster version: 2.9)."
	op := store.Op{Action: store.Set, Path: membership.VersionPath, Value: "2.9.0"}
	check := func(what string, err error) {
		t.Helper()
		if e := (*DowngradeError)(nil); !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%s = %v, want %s", what, err, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		r.set("foo", "bar", 0)
		go r.doInternal(t.Context(), op)
		check("Run", <-r.done)
		r.stop()
		s, err := b.open()
		if err != nil {
			t.Fatal(err)
		}
		check("Run after a restart", s.Run(t.Context()))
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.tune = func(c *Config) { c.CheckpointEntries = 1 }
		r := b.start()
		r.set("foo", "bar", 0)
		synctest.Wait()
		r.end()
		snaps := b.snaps.Open()
		tree, meta, err := snaps.Load(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Apply(op); err != nil {
			t.Fatal(err)
		}
		if err := snaps.Commit(tree.Cut(), meta); err != nil {
			t.Fatal(err)
		}
		_, err = b.open()
		check("Open", err)
	})
}

// Writes about a member that has left, and versions that would take something
// back, are dropped when their turn comes.
func TestLateWritesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.startAll()
		f, l := g.follower(), g.leader()
		gone := g.beds[f].self
		g.remove(l, f)
		r := g.members[l]
		index := r.store.Index()
		for _, op := range []store.Op{
			{Action: store.Set, Path: membership.AttributesPath(gone.ID), Value: membership.Attributes(gone)},
			{Action: store.Set, Path: membership.VersionPath, Value: "2.2.0"},
			{Action: store.Set, Path: membership.VersionPath, Value: "2.3.0"},
		} {
			if _, err := r.doInternal(t.Context(), op); err == nil {
				t.Errorf("%s = %s was applied", op.Path, op.Value)
			}
		}
		if got := r.store.Index(); got != index || r.ClusterVersion() != "2.3.0" {
			t.Errorf("index %d and version %s, want %d and 2.3.0", got, r.ClusterVersion(), index)
		}
		if err := g.gone(f); !errors.Is(err, ErrRemoved) {
			t.Errorf("Run = %v, want ErrRemoved", err)
		}
		g.settle()
	})
}

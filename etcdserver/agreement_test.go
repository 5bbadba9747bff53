package etcdserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

// checkEvery is the interval of the checks in these tests.
const checkEvery = 5 * time.Second

// newComparing makes a cluster of n members that compare their trees.
func newComparing(t *testing.T, n int) *group {
	g := newGroup(t, n)
	g.tune(func(c *Config) { c.AgreementInterval = checkEvery })
	return g
}

// plant changes a key of one member behind the back of the cluster.
func (r *running) plant(key, value string) {
	r.t.Helper()
	synctest.Wait() // the applier rests
	if _, err := r.store.Apply(store.Op{Action: store.Set, Path: "/1/" + key, Value: value}); err != nil {
		r.t.Fatal(err)
	}
}

// matches are the outcomes of the last check at a member, by name.
func (r *running) matches() map[string]Match {
	named := map[string]Match{}
	for id, m := range r.Agreement().Members {
		for _, member := range r.Members() {
			if member.ID == id {
				named[member.Name] = m
			}
		}
	}
	return named
}

// awaitCheck waits until the next check is over, if all members can be reached.
func (g *group) awaitCheck() {
	time.Sleep(checkEvery + 2*compareRetry)
	synctest.Wait()
}

func TestMembersAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		defer g.endAll()
		g.startAll()
		for i := range 100 {
			g.members[i%3].set(fmt.Sprintf("k%d", i), "v", time.Duration(i%2)*24*time.Hour)
		}
		g.awaitCheck()
		var at Agreement
		for i, r := range g.members {
			a := r.Agreement()
			if a.Checks != 1 || a.Divergences != 0 || a.Refused != "" || a.Index == 0 || a.Interval != checkEvery {
				t.Errorf("member %s: %+v, want one check without a difference", r.cfg.Name, a)
			}
			if got := r.matches(); len(got) != 2 || slices.ContainsFunc(slices.Collect(maps.Values(got)), func(m Match) bool { return m != Agrees }) {
				t.Errorf("member %s compared with %v, want that both others agree", r.cfg.Name, got)
			}
			if i > 0 && a.Index != at.Index {
				t.Errorf("member %s was compared at %d, the others at %d", r.cfg.Name, a.Index, at.Index)
			}
			at = a
		}
		position := g.members[0].progress.position()
		time.Sleep(10 * checkEvery)
		if now := g.members[0].progress.position(); now != position {
			t.Errorf("idle time moved the log from %v to %v", position, now)
		}
		g.members[0].set("foo", "bar", 0)
		g.awaitCheck()
		if a := g.members[2].Agreement(); a.Checks != 2 || a.Index <= at.Index {
			t.Errorf("after another write: %+v, want a second check", a)
		}
	})
}

func TestLoneMemberWritesNoMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 1)
		defer g.endAll()
		g.startAll()
		g.members[0].set("foo", "bar", 0)
		position := g.members[0].progress.position()
		time.Sleep(10 * checkEvery)
		if now := g.members[0].progress.position(); now != position {
			t.Errorf("idle time moved the log from %v to %v", position, now)
		}
	})
}

// A member that is down is told from one that differs, and one that comes to the
// mark late is waited for.
func TestCheckWithoutAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 3)
		defer g.endAll()
		g.startAll()
		down := g.follower()
		g.members[down].set("foo", "bar", 0)
		g.end(down)
		l := g.members[g.leader()]
		time.Sleep(checkEvery + compareTime + time.Second)
		if got := l.matches()[g.beds[down].self.Name]; got != Unreachable {
			t.Errorf("the member that is down %s, want unreachable", got)
		}
		if a := l.Agreement(); a.Checks != 1 || a.Divergences != 0 {
			t.Errorf("%+v, want one check without a difference", a)
		}
		g.launch(down).await()
		g.awaitCheck()
		if got := l.matches()[g.beds[down].self.Name]; got != Agrees {
			t.Errorf("the member that came back %s, want agrees: it has published itself", got)
		}
	})
}

// Of two members nobody can say who is right: both go on, and tell.
func TestNoQuorumAgrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newComparing(t, 2)
		defer g.endAll()
		g.startAll()
		g.members[0].set("foo", "bar", 0)
		g.settle()
		g.members[0].plant("foo", "wrong")
		g.members[1].plant("foo", "right")
		g.awaitCheck()
		for _, r := range g.members {
			a := r.Agreement()
			if a.Divergences == 0 || a.Refused != "" || !slices.Equal(a.Differing, []string{"/1/foo"}) {
				t.Errorf("member %s: %+v, want a difference at /1/foo and no refusal", r.cfg.Name, a)
			}
			if err := r.Ready(); err != nil {
				t.Errorf("member %s: Ready() = %v, want nil", r.cfg.Name, err)
			}
		}
		before := g.members[0].Agreement().Checks
		time.Sleep(3 * checkEvery)
		if now := g.members[0].Agreement().Checks; now <= before {
			t.Errorf("%d checks, want more than %d: what differed is compared again though nobody writes", now, before)
		}
	})
}

// TestLocate compares the answers about buckets with what differs.
func TestLocate(t *testing.T) {
	base := []string{"/1/a", "/1/b/c", "/1/b/d", "/1/e"}
	tree := func(change func(map[string]string)) store.View {
		keys := map[string]string{}
		for _, k := range base {
			keys[k] = "v"
		}
		for i := range 500 {
			keys[fmt.Sprintf("/1/many/%d", i)] = "v"
		}
		change(keys)
		s := store.New(store.Config{})
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			s.Apply(store.Op{Action: store.Create, Path: k, Value: keys[k]})
		}
		return s.Snapshot()
	}
	tests := []struct {
		name   string
		change func(map[string]string)
		want   string
	}{
		{"nothing", func(map[string]string) {}, ""},
		{"a value", func(k map[string]string) { k["/1/b/c"] = "w" }, "/1/b/c"},
		{"two values", func(k map[string]string) { k["/1/b/c"], k["/1/e"] = "w", "w" }, "/1/b/c /1/e"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := tree(func(map[string]string) {}), tree(tt.change)
			other := &Server{agreement: newAgreement(0)}
			digest := theirs.Digest()
			other.agreement.publish(mark{index: 7, view: theirs}, digest)
			s := &Server{peers: answerer{nobody{}, other}}
			c := &check{mark: mark{index: 7, view: ours}, own: ours.Digest(), digests: map[membership.ID]*store.Digest{2: &digest}}
			got := s.locate(t.Context(), c, 2)
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("located %v, want %s", got, tt.want)
			}
			other.agreement.release()
			if got := s.locate(t.Context(), c, 2); got != nil {
				t.Errorf("located %v when the other member has let its tree go", got)
			}
		})
	}
}

// answerer is a way to one member that answers about buckets.
type answerer struct {
	nobody
	other *Server
}

func (a answerer) Ask(_ context.Context, _ membership.ID, _ string, body []byte) ([]byte, error) {
	return a.other.answerBucket(body)
}

// TestDifferingPaths compares a bucket with lists that lack, add and change nodes.
func TestDifferingPaths(t *testing.T) {
	s := store.New(store.Config{})
	for i := range 2000 {
		s.Apply(store.Op{Action: store.Set, Path: fmt.Sprintf("/1/k%04d", i)})
	}
	view := s.Snapshot()
	const bucket = 3
	var all []record
	for n, h := range view.Bucket(bucket) {
		all = append(all, record{n.Path, h})
	}
	changed := func(f func([]record) []record) []record { return f(slices.Clone(all)) }
	tests := []struct {
		name   string
		theirs []record
		whole  bool
		limit  int
		want   []string
	}{
		{"equal", all, true, 5, nil},
		{"one missing", changed(func(r []record) []record { return r[1:] }), true, 5, []string{all[0].path}},
		{"last missing", all[:len(all)-1], true, 5, []string{all[len(all)-1].path}},
		{"cut off", all[:2], false, 5, nil},
		{"one more", changed(func(r []record) []record { return slices.Insert(r, 1, record{path: all[0].path + "x"}) }), true, 5, []string{all[0].path + "x"}},
		{"one more at the end", append(slices.Clone(all), record{path: "/1/z"}), true, 5, []string{"/1/z"}},
		{"one differs", changed(func(r []record) []record { r[2].hash.Lo++; return r }), true, 5, []string{all[2].path}},
		{"none there", nil, true, 2, []string{all[0].path, all[1].path}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := differingPaths(view, bucket, tt.theirs, tt.whole, tt.limit); !slices.Equal(got, tt.want) {
				t.Errorf("differingPaths = %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzParseBucket(f *testing.F) {
	f.Add([]byte("\x04/1/f0123456789abcdef"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseBucket(b)
		if err == nil && len(list) == 0 && len(b) > 0 {
			t.Errorf("parseBucket(%x) found nothing and no fault", b)
		}
	})
}

func FuzzDecodeDigestAnswer(f *testing.F) {
	d := store.New(store.Config{}).Snapshot().Digest()
	f.Add(d.AppendBinary([]byte{digestHere}))
	f.Add([]byte{digestLater})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, final := decodeDigestAnswer(b); d != nil && !final {
			t.Errorf("decodeDigestAnswer(%x) has a digest and waits for another", b)
		}
	})
}

// Package snaptest describes what a checkpoint does, as tests that any
// implementation has to pass, and offers one in memory for the tests and
// simulations of other packages.
package snaptest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"etcd2/snap"
	"etcd2/store"
)

// Checkpoints is what the suite tests; *snap.Store and *Memory are such.
type Checkpoints interface {
	Load(store.Config) (*store.Store, snap.Meta, error)
	Commit(store.Delta, snap.Meta) error
	Stream(io.Writer) (snap.Meta, int64, error)
	Receive(r io.Reader, member uint64) (snap.Meta, error)
	Install() (snap.Meta, error)
	Size() int64
	Close() error
}

// Place is somewhere checkpoints lie. Each call opens it again; what was opened
// before has been closed by then.
type Place func() (Checkpoints, error)

// Run tests an implementation; place makes a new empty Place.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(*testing.T, func(*testing.T) Place)
	}{
		{"a new place is empty", testFresh},
		{"what was committed is loaded", testCommit},
		{"load comes first", testLoadFirst},
		{"many small commits make what one big one makes", testIncremental},
		{"a full delta voids what was there", testFull},
		{"the history is trimmed", testHistory},
		{"any key and value", testOddKeys},
		{"a stream installs elsewhere", testInstall},
		{"a damaged stream is refused", testDamagedStream},
		{"nothing to install", testNothingReceived},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, place) })
	}
}

// history is small, so that the suite sees it trimmed.
var history = store.Config{HistoryEvents: 50}

func open(t *testing.T, p Place) Checkpoints {
	t.Helper()
	c, err := p()
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	return c
}

func shut(t *testing.T, c Checkpoints) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
}

func load(t *testing.T, c Checkpoints) (*store.Store, snap.Meta) {
	t.Helper()
	st, m, err := c.Load(history)
	if err != nil {
		t.Fatalf("Load() = %v", err)
	}
	return st, m
}

func commit(t *testing.T, c Checkpoints, d store.Delta, m snap.Meta) {
	t.Helper()
	if err := c.Commit(d, m); err != nil {
		t.Fatalf("Commit(%+v) = %v", m, err)
	}
}

// Dump is the canonical form of a store.
func Dump(t testing.TB, st *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := st.Dump(&b); err != nil {
		t.Fatalf("Dump() = %v", err)
	}
	return b.String()
}

func same(t *testing.T, got, want *store.Store) {
	t.Helper()
	if Dump(t, got) != Dump(t, want) {
		t.Fatalf("the loaded store (index %d) is not the committed one (index %d)", got.Index(), want.Index())
	}
	a, b := got.Stats(), want.Stats()
	a.Watchers, b.Watchers = 0, 0
	if a != b {
		t.Fatalf("the loaded counters are %+v, want %+v", a, b)
	}
}

// Write applies n random operations to st: sets, deletes, directories, TTLs,
// refreshes, compares and expiries over a small tree, most of which succeed.
func Write(st *store.Store, rng *rand.Rand, n int) {
	for range n {
		now := st.Clock() + int64(rng.IntN(1000))
		dir := fmt.Sprintf("/1/d%d", rng.IntN(4))
		op := store.Op{Action: store.Set, Path: fmt.Sprintf("%s/k%d", dir, rng.IntN(30)), Now: now}
		op.Value = string(bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(200)))
		op.HasTTL, op.TTL = rng.IntN(4) == 0, 3000
		switch rng.IntN(12) {
		case 0:
			op = store.Op{Action: store.Delete, Path: dir, Recursive: true, Dir: true, Now: now}
		case 1, 2:
			op = store.Op{Action: store.Delete, Path: op.Path, Now: now}
		case 3:
			op = store.Op{Action: store.CreateInOrder, Path: dir, Value: op.Value, Now: now}
		case 4:
			op = store.Op{Action: store.Expire, Now: now}
		case 5:
			op = store.Op{Action: store.Update, Path: op.Path, Refresh: true, HasTTL: true, TTL: 5000, Now: now}
		case 6:
			op = store.Op{Action: store.Set, Path: dir + "/sub", Dir: true, HasTTL: true, TTL: 2000, Now: now}
		case 7:
			op.Action, op.PrevValue = store.CompareAndSwap, op.Value
		}
		_, err := st.Apply(op)
		if refused := (*store.Error)(nil); err != nil && !errors.As(err, &refused) {
			panic(fmt.Sprintf("snaptest: Apply(%+v) = %v", op, err))
		}
	}
}

func testFresh(t *testing.T, place func(*testing.T) Place) {
	p := place(t)
	for range 2 { // the second time it exists and is empty
		c := open(t, p)
		st, m := load(t, c)
		if m.Sequence != 0 || m.Index != 0 || m.Conf != nil {
			t.Errorf("Load() of nothing = %+v, want a zero Meta", m)
		}
		same(t, st, store.New(history))
		shut(t, c)
	}
}

func testCommit(t *testing.T, place func(*testing.T) Place) {
	p := place(t)
	c := open(t, p)
	st, _ := load(t, c)
	Write(st, rand.New(rand.NewPCG(1, 1)), 500)
	want := snap.Meta{Index: 17, Term: 3, Conf: []byte("voters"), ClusterID: 0xabc, MemberID: 0xdef}
	commit(t, c, st.Cut(), want)
	if c.Size() == 0 {
		t.Error("Size() = 0 after a commit")
	}
	shut(t, c)

	c = open(t, p)
	defer shut(t, c)
	again, m := load(t, c)
	same(t, again, st)
	if m.Index != want.Index || m.Term != want.Term || string(m.Conf) != "voters" || m.ClusterID != want.ClusterID ||
		m.MemberID != want.MemberID || m.Sequence != 1 || m.StoreIndex != st.Index() || m.Nodes == 0 || m.Events != 50 {
		t.Errorf("Load() = %+v, want %+v, sequence 1, etcd index %d, 50 events", m, want, st.Index())
	}
}

func testLoadFirst(t *testing.T, place func(*testing.T) Place) {
	c := open(t, place(t))
	defer shut(t, c)
	if err := c.Commit(store.Delta{}, snap.Meta{}); !errors.Is(err, snap.ErrNotLoaded) {
		t.Errorf("Commit() before Load() = %v, want ErrNotLoaded", err)
	}
	if _, _, err := c.Stream(io.Discard); !errors.Is(err, snap.ErrNotLoaded) {
		t.Errorf("Stream() before Load() = %v, want ErrNotLoaded", err)
	}
}

func testIncremental(t *testing.T, place func(*testing.T) Place) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := place(t)
		c := open(t, p)
		st, _ := load(t, c)
		for i := range uint64(40) {
			Write(st, rng, rng.IntN(120))
			commit(t, c, st.Cut(), snap.Meta{Index: i + 1})
			if rng.IntN(6) > 0 {
				continue
			}
			shut(t, c)
			c = open(t, p)
			again, m := load(t, c)
			same(t, again, st)
			if m.Index != i+1 || m.Sequence != i+1 {
				t.Fatalf("seed %d: Load() = %+v, want index and sequence %d", seed, m, i+1)
			}
			st = again // the loaded store goes on where the other one was
		}
		whole := open(t, place(t))
		load(t, whole)
		commit(t, whole, st.CutFull(), snap.Meta{Index: 1})
		again, _ := load(t, whole)
		same(t, again, st)
		shut(t, whole)
		shut(t, c)
	}
}

func testFull(t *testing.T, place func(*testing.T) Place) {
	c := open(t, place(t))
	defer shut(t, c)
	st, _ := load(t, c)
	Write(st, rand.New(rand.NewPCG(3, 3)), 300)
	commit(t, c, st.Cut(), snap.Meta{Index: 1})
	other := store.New(history)
	Write(other, rand.New(rand.NewPCG(4, 4)), 100)
	commit(t, c, other.CutFull(), snap.Meta{Index: 2})
	again, _ := load(t, c)
	same(t, again, other)
}

func testHistory(t *testing.T, place func(*testing.T) Place) {
	c := open(t, place(t))
	defer shut(t, c)
	st, _ := load(t, c)
	for i := range uint64(4) {
		for range 40 {
			if _, err := st.Apply(store.Op{Action: store.Set, Path: "/1/a", Value: "v"}); err != nil {
				t.Fatalf("Apply() = %v", err)
			}
		}
		commit(t, c, st.Cut(), snap.Meta{Index: i + 1})
		again, m := load(t, c)
		same(t, again, st)
		st = again
		if want := min(40*(i+1), 50); m.Events != want {
			t.Errorf("after %d events the history holds %d, want %d", 40*(i+1), m.Events, want)
		}
	}
}

func testOddKeys(t *testing.T, place func(*testing.T) Place) {
	p := place(t)
	c := open(t, p)
	st, _ := load(t, c)
	long := string(bytes.Repeat([]byte("x"), 5000))
	paths := []string{
		"/1/a\x00b", "/1/a/b", "/1/a.b", "/1/a0", "/1/\xff\xfe", "/1/é", "/1/_hidden/k", "/1/ /!",
		"/1/" + long + "/b", "/1/" + long + "/a", "/1/" + long + long, "/1/z/" + long, "/1/z/" + long + "2", "/1/zz",
	}
	for _, path := range paths {
		if _, err := st.Apply(store.Op{Action: store.Set, Path: path, Value: "value of\x00 " + path[:4]}); err != nil {
			t.Fatalf("Apply(set %.20q) = %v", path, err)
		}
	}
	big := string(bytes.Repeat([]byte("0123456789"), 1<<18))
	for _, path := range []string{"/1/big", "/1/big2"} {
		if _, err := st.Apply(store.Op{Action: store.Set, Path: path, Value: big}); err != nil {
			t.Fatalf("Apply(set %s) = %v", path, err)
		}
	}
	commit(t, c, st.Cut(), snap.Meta{Index: 1})
	shut(t, c)
	c = open(t, p)
	defer shut(t, c)
	again, _ := load(t, c)
	same(t, again, st)
	for _, path := range []string{paths[8], paths[13], "/1/big"} {
		if _, err := again.Apply(store.Op{Action: store.Delete, Path: path}); err != nil {
			t.Fatalf("Apply(delete %.20q) = %v", path, err)
		}
	}
	commit(t, c, again.Cut(), snap.Meta{Index: 2})
	last, _ := load(t, c)
	same(t, last, again)
}

func testInstall(t *testing.T, place func(*testing.T) Place) {
	from := open(t, place(t))
	defer shut(t, from)
	p := place(t)
	to := open(t, p)
	st, _ := load(t, from)
	behind, _ := load(t, to)
	rng := rand.New(rand.NewPCG(5, 5))
	Write(behind, rng, 50)
	commit(t, to, behind.Cut(), snap.Meta{Index: 2, MemberID: 2})
	for i := range uint64(3) { // again and again: an installed file streams and installs like any other
		Write(st, rng, 400)
		commit(t, from, st.Cut(), snap.Meta{Index: 10 + i, Term: 4, Conf: []byte("conf"), ClusterID: 7, MemberID: 1})
		var b bytes.Buffer
		sent, n, err := from.Stream(&b)
		if err != nil || n != int64(b.Len()) || sent.Index != 10+i {
			t.Fatalf("Stream() = %+v, %d, %v; want index %d and %d bytes", sent, n, err, 10+i, b.Len())
		}
		got, err := to.Receive(&b, 2)
		if err != nil || got.MemberID != 2 || got.Index != 10+i || got.ClusterID != 7 || string(got.Conf) != "conf" {
			t.Fatalf("Receive() = %+v, %v; want index %d of member 2", got, err, 10+i)
		}
		if _, err := to.Install(); err != nil {
			t.Fatalf("Install() = %v", err)
		}
		if err := to.Commit(store.Delta{}, snap.Meta{}); !errors.Is(err, snap.ErrNotLoaded) {
			t.Fatalf("Commit() after Install() = %v, want ErrNotLoaded", err)
		}
		installed, m := load(t, to)
		same(t, installed, st)
		if m.MemberID != 2 || m.Index != 10+i || m.Installed != m.Index {
			t.Fatalf("Load() after Install() = %+v, want index %d of member 2, installed there", m, 10+i)
		}
		for range i + 1 { // an odd and an even number of commits
			Write(installed, rng, 20)
			commit(t, to, installed.Cut(), snap.Meta{Index: m.Index + 1, MemberID: 2})
		}
		shut(t, to)
		to = open(t, p)
		again, m := load(t, to)
		same(t, again, installed)
		if m.Installed != 0 {
			t.Fatalf("Load() after a commit = %+v, want it no longer installed", m)
		}
	}
	shut(t, to)
}

func testDamagedStream(t *testing.T, place func(*testing.T) Place) {
	from := open(t, place(t))
	defer shut(t, from)
	st, _ := load(t, from)
	Write(st, rand.New(rand.NewPCG(6, 6)), 100)
	commit(t, from, st.Cut(), snap.Meta{Index: 10})
	var b bytes.Buffer
	if _, _, err := from.Stream(&b); err != nil {
		t.Fatalf("Stream() = %v", err)
	}
	to := open(t, place(t))
	defer shut(t, to)
	load(t, to)
	refused := func(what string, stream []byte) {
		t.Helper()
		_, err := to.Receive(bytes.NewReader(stream), 1)
		if !errors.Is(err, snap.ErrStream) && !errors.Is(err, snap.ErrCorrupt) {
			t.Fatalf("Receive() of a stream %s = %v, want ErrStream or ErrCorrupt", what, err)
		}
		if _, err := to.Install(); !errors.Is(err, snap.ErrNothingReceived) {
			t.Fatalf("Install() of a stream %s = %v, want ErrNothingReceived", what, err)
		}
	}
	whole := b.Bytes()
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/100 {
		refused(fmt.Sprintf("cut at %d of %d", cut, len(whole)), whole[:cut])
		changed := bytes.Clone(whole)
		changed[cut] ^= 0x10
		refused(fmt.Sprintf("changed at %d of %d", cut, len(whole)), changed)
	}
	refused("with more behind it", append(bytes.Clone(whole), 0))
	broken := errors.New("connection reset")
	if _, err := to.Receive(io.MultiReader(bytes.NewReader(whole[:100]), failing{broken}), 1); !errors.Is(err, broken) {
		t.Errorf("Receive() from a broken connection = %v, want %v", err, broken)
	}
	fresh, _ := load(t, to) // nothing of all this has touched the checkpoint
	same(t, fresh, store.New(history))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testNothingReceived(t *testing.T, place func(*testing.T) Place) {
	c := open(t, place(t))
	defer shut(t, c)
	load(t, c)
	if _, err := c.Install(); !errors.Is(err, snap.ErrNothingReceived) {
		t.Errorf("Install() of nothing = %v, want ErrNothingReceived", err)
	}
}

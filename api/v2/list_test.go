package v2

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"etcd2/store"
)

// treeNode is a node as encoding/json would write it.
type treeNode struct {
	Key      string      `json:"key,omitempty"`
	Value    *string     `json:"value,omitempty"`
	Dir      bool        `json:"dir,omitempty"`
	Nodes    []*treeNode `json:"nodes,omitempty"`
	Modified uint64      `json:"modifiedIndex,omitempty"`
	Created  uint64      `json:"createdIndex,omitempty"`
}

// build makes the tree below n by asking for one level at a time.
func build(v store.View, n *store.Node, depth int) *treeNode {
	t := &treeNode{Key: strings.TrimPrefix(n.Path, "/1"), Dir: n.Dir, Modified: n.Modified, Created: n.Created}
	if !n.Dir {
		t.Value = &n.Value
		return t
	}
	if depth > 0 {
		for c := range v.Children(n.Path) {
			t.Nodes = append(t.Nodes, build(v, c, depth-1))
		}
	}
	return t
}

// wantGet is the answer to a get, made the slow way.
func wantGet(t *testing.T, v store.View, recursive bool) string {
	t.Helper()
	depth := 1
	if recursive {
		depth = 1000
	}
	b, err := json.Marshal(struct {
		Action string    `json:"action"`
		Node   *treeNode `json:"node"`
	}{"get", build(v, v.Node, depth)})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// stored returns a member that holds these files; a name that ends with a slash
// is a directory.
func stored(t testing.TB, names ...string) *member {
	t.Helper()
	m := newMember(t)
	for _, name := range names {
		op := store.Op{Action: store.Set, Path: storePath(name), Value: "v", Dir: strings.HasSuffix(name, "/")}
		if _, err := m.Do(t.Context(), op); err != nil {
			t.Fatalf("Do(set %s) = %v", name, err)
		}
	}
	return m
}

func viewOf(t testing.TB, m *member, key string) store.View {
	t.Helper()
	v, _, err := m.Get(storePath(key))
	if err != nil {
		t.Fatalf("Get(%s) = %v", key, err)
	}
	return v
}

// listAll gathers a listing, with the sizes of its chunks.
func listAll(v store.View, recursive bool) (text string, chunks []int) {
	var out chunkRecorder
	l := listing{out: &out}
	l.get(v, recursive)
	return out.String() + string(l.buf), append(out.sizes, len(l.buf))
}

type chunkRecorder struct {
	bytes.Buffer
	sizes []int
}

func (c *chunkRecorder) Write(b []byte) (int, error) {
	c.sizes = append(c.sizes, len(b))
	return c.Buffer.Write(b)
}

func TestListing(t *testing.T) {
	m := stored(t, "/s/10", "/s/9", "/s/B", "/s/a", "/s/a-", "/s/a.b", "/s/a1", "/s/z/y/x", "/s/z/a", "/s/z/empty/",
		"/_h", "/_hd/k", "/d/_h", "/d/v", "/only/_h", "/a_b_", "/1/1/1")
	for _, key := range []string{"", "/s", "/s/z", "/s/z/empty", "/s/z/y", "/_hd", "/d", "/only", "/1", "/1/1"} {
		for _, recursive := range []bool{false, true} {
			v := viewOf(t, m, key)
			got, _ := listAll(v, recursive)
			if want := wantGet(t, v, recursive); got != want {
				t.Errorf("get of %q, recursive %t =\n%swant\n%s", key, recursive, got, want)
			}
		}
	}
	// Literally, as recorded: no "nodes" where nothing can be seen.
	v := viewOf(t, m, "/only")
	if got, _ := listAll(v, true); got != fmt.Sprintf(`{"action":"get","node":{"key":"/only","dir":true,"modifiedIndex":%d,"createdIndex":%d}}`+"\n", v.Node.Modified, v.Node.Created) {
		t.Errorf("get of /only = %s", got)
	}
}

func TestListingOfRandomTrees(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var names []string
		for range 40 {
			name := ""
			for range 1 + rnd.IntN(5) {
				name += "/" + []string{"a", "b", "a-", "a.b", "_h", "ab", "1"}[rnd.IntN(7)]
			}
			names = append(names, name)
		}
		m := newMember(t)
		for _, name := range names {
			// A file in the way refuses some of them; the rest makes the tree.
			m.Do(t.Context(), store.Op{Action: store.Set, Path: storePath(name), Value: "v"})
		}
		v := viewOf(t, m, "")
		got, _ := listAll(v, true)
		if want := wantGet(t, v, true); got != want {
			t.Fatalf("seed %d: listing =\n%swant\n%s", seed, got, want)
		}
	}
}

func TestListingIsSentInChunks(t *testing.T) {
	m := newMember(t)
	for i := range 2000 {
		op := store.Op{Action: store.Set, Path: fmt.Sprintf("/1/d%d/k%d", i%10, i), Value: strings.Repeat("v", 64)}
		if _, err := m.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	v := viewOf(t, m, "")
	got, chunks := listAll(v, true)
	if want := wantGet(t, v, true); got != want {
		t.Error("a listing in chunks differs from one in a piece")
	}
	if len(chunks) < 3 {
		t.Errorf("listing of %d bytes came in %d chunks", len(got), len(chunks))
	}
	for _, n := range chunks {
		if n > chunkBytes+1024 {
			t.Errorf("chunk of %d bytes, want at most about %d", n, chunkBytes)
		}
	}
}

func TestListingStopsWhenTheClientHasGone(t *testing.T) {
	m := newMember(t)
	for i := range 10 {
		op := store.Op{Action: store.Set, Path: fmt.Sprintf("/1/k%d", i), Value: strings.Repeat("v", chunkBytes)}
		if _, err := m.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	r, w := io.Pipe()
	gone := errors.New("gone")
	r.CloseWithError(gone)
	l := listing{out: w}
	l.get(viewOf(t, m, ""), true)
	if l.err != gone || len(l.buf) != 0 {
		t.Errorf("err = %v with %d bytes left, want %v and none", l.err, len(l.buf), gone)
	}
}

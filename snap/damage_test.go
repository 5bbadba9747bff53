package snap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"etcd2/store"

	bolt "go.etcd.io/bbolt"
)

// smallPage makes the files of these tests small and their trees high.
const smallPage = 1024

// smallHistory keeps the events few.
var smallHistory = store.Config{HistoryEvents: 4}

// small makes a checkpoint of all kinds of pages in dir, by three commits, and
// returns what it holds. before, when not nil, runs ahead of the last commit.
func small(t testing.TB, dir string, before func()) (dump string) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, fileName), fileMode, &bolt.Options{PageSize: smallPage})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(layOut(db), db.Close()); err != nil {
		t.Fatal(err)
	}
	s, st := reopen(t, dir)
	apply := func(op store.Op) {
		t.Helper()
		if _, err := st.Apply(op); err != nil {
			t.Fatal(err)
		}
	}
	// Far from the end of the history, so that each is in the file once.
	apply(store.Op{Action: store.Set, Path: "/1/" + strings.Repeat("long", maxKey/4), Value: "x"})
	apply(store.Op{Action: store.Set, Path: "/1/wide", Value: strings.Repeat("wide", 270)})
	for i := range 24 {
		apply(store.Op{Action: store.Set, Path: fmt.Sprintf("/1/d%d/k%02d", i/6, i), Value: strings.Repeat("v", i)})
	}
	commit(t, s, st, 1)
	apply(store.Op{Action: store.Set, Path: "/1/d1/k08", Value: "second"})
	apply(store.Op{Action: store.Delete, Path: "/1/d2", Dir: true, Recursive: true})
	commit(t, s, st, 2)
	if before != nil {
		before()
	}
	apply(store.Op{Action: store.Set, Path: "/1/d1/k08", Value: "third"})
	apply(store.Op{Action: store.Set, Path: "/1/d3/k20", Value: "second"})
	commit(t, s, st, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dumpOf(t, st)
}

// contents reads the checkpoint in dir, up to a little beyond its last page.
// What bbolt added to the file in advance is all zero and never read.
func contents(t testing.TB, dir string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(file[:min(len(file), int(im.pages)*im.pageSize+smallPage/2)])
}

func reopen(t testing.TB, dir string) (*Store, *store.Store) {
	t.Helper()
	s, err := Open(dir, Config{})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	st, _, err := s.Load(smallHistory)
	if err != nil {
		t.Fatalf("Load() = %v", err)
	}
	return s, st
}

func dumpOf(t testing.TB, st *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := st.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// listing is all that a scan finds in a file that is in memory: the head and
// every record, in the order in which Load would see them.
func listing(file []byte) (string, error) {
	im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
	if err != nil {
		return "", err
	}
	all := make([]byte, 0, len(file))
	h, err := im.scan(func(kind recordKind, payload []byte) error {
		all = append(all, byte(kind), byte(len(payload)>>8), byte(len(payload)))
		all = append(all, payload...)
		return nil
	})
	if err != nil {
		return "", err
	}
	return string(h.append(all)), nil
}

// refusedOrSame fails unless the file is ErrCorrupt or holds what it should. It
// reports whether the file was refused.
func refusedOrSame(t *testing.T, what string, file []byte, want string) (refused bool) {
	t.Helper()
	got, err := listing(file)
	if errors.Is(err, ErrCorrupt) {
		return true
	}
	if err != nil {
		t.Fatalf("%s: scan() = %v, want ErrCorrupt or success", what, err)
	}
	if got != want {
		t.Fatalf("%s: not noticed, and the content is another", what)
	}
	return false
}

// goesOn takes a file that was not refused through bbolt: what is committed on
// top of it must come back.
func goesOn(t *testing.T, what string, file []byte, want string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), file, fileMode); err != nil {
		t.Fatal(err)
	}
	s, st := reopen(t, dir)
	defer s.Close()
	if dumpOf(t, st) != want {
		t.Fatalf("%s: loaded another content", what)
	}
	for i := range uint64(2) {
		for _, op := range []store.Op{
			{Action: store.Set, Path: "/1/d0/k00", Value: strings.Repeat("n", 900)},
			{Action: store.Set, Path: "/1/new", Value: fmt.Sprint(i)},
			{Action: store.Delete, Path: fmt.Sprintf("/1/d3/k2%d", i)},
		} {
			if _, err := st.Apply(op); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, st, 4+i)
		again, _, err := s.Load(smallHistory)
		if err != nil {
			t.Fatalf("%s: loading after commit %d: %v", what, i+1, err)
		}
		if dumpOf(t, again) != dumpOf(t, st) {
			t.Fatalf("%s: another content after commit %d", what, i+1)
		}
		st = again
	}
}

// Every single bit of a file is flipped. Most flips are refused; the others lie
// where nothing is stored, and change nothing now or later.
func TestEveryBitFlip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dump := small(t, dir, nil)
	file := contents(t, dir)
	goesOn(t, "untouched file", file, dump)
	want, err := listing(file)
	if err != nil {
		t.Fatal(err)
	}
	refused, harmless := 0, 0
	for bit := range len(file) * 8 {
		file[bit/8] ^= 1 << (bit % 8)
		what := fmt.Sprintf("bit %d of byte %d", bit%8, bit/8)
		if refusedOrSame(t, what, file, want) {
			refused++
		} else if harmless++; harmless%harmlessStep == 0 {
			goesOn(t, what, file, dump)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
	t.Logf("%d bytes, %d flips refused, %d harmless", len(file), refused, harmless)
	if refused < 20_000 { // the records alone are more
		t.Errorf("only %d flips were refused", refused)
	}
}

// harmlessStep is how many harmless flips there are to one that is also taken
// through two commits, which takes milliseconds.
const harmlessStep = 997

// A disk can lose the write of a page, write it elsewhere, or forget it.
func TestWrongPages(t *testing.T) {
	dir := t.TempDir()
	var older []byte
	small(t, dir, func() { older = contents(t, dir) })
	file := contents(t, dir)
	want, err := listing(file)
	if err != nil {
		t.Fatal(err)
	}
	older = append(older, make([]byte, max(0, len(file)-len(older)))...)
	im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
	if err != nil {
		t.Fatal(err)
	}
	pages := int(im.pages)
	page := func(b []byte, i int) []byte { return b[i*smallPage : (i+1)*smallPage] }
	lost := 0
	for i := 2; i < pages; i++ { // a lost meta page is another test's
		changed := bytes.Clone(file)
		copy(page(changed, i), page(older, i))
		if refusedOrSame(t, fmt.Sprintf("page %d was not written", i), changed, want) {
			lost++
		}
		clear(page(changed, i))
		refusedOrSame(t, fmt.Sprintf("page %d is zero", i), changed, want)
		for j := range pages {
			changed := bytes.Clone(file)
			copy(page(changed, j), page(file, i))
			refusedOrSame(t, fmt.Sprintf("page %d was written to page %d", i, j), changed, want)
		}
	}
	if lost < 4 { // at least the leaf, a branch, the root and the free list
		t.Errorf("only %d lost pages were noticed", lost)
	}
}

// bbolt starts from the older meta page when the newer is damaged. Load does not.
func TestOlderMetaPageIsNoWayOut(t *testing.T) {
	dir := t.TempDir()
	small(t, dir, nil)
	name := filepath.Join(dir, fileName)
	for i := range int64(2) {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(whole)
		clear(damaged[i*smallPage : (i+1)*smallPage])
		if err := os.WriteFile(name, damaged, fileMode); err != nil {
			t.Fatal(err)
		}
		_, err = Open(dir, Config{})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("Open() without meta page %d = %v, want ErrCorrupt with file and remedy", i, err)
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, damaged) {
			t.Errorf("the damaged file was changed")
		}
		if err := os.WriteFile(name, whole, fileMode); err != nil {
			t.Fatal(err)
		}
	}
}

// Both meta pages may be replaced by those of an earlier time: the last write
// was lost. That is a sound, older checkpoint, and its Meta says so; the server
// compares the index with what its log still has.
func TestLostCommitIsVisibleInMeta(t *testing.T) {
	dir := t.TempDir()
	var older []byte
	small(t, dir, func() { older = contents(t, dir) })
	file := contents(t, dir)
	copy(file[:2*smallPage], older)
	im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
	if err != nil {
		t.Fatal(err)
	}
	h, err := im.scan(nil)
	if err == nil && (h.Index != 2 || h.Sequence != 2) {
		t.Errorf("the file after a lost commit has index %d, sequence %d; want 2, 2", h.Index, h.Sequence)
	}
	if err != nil {
		t.Errorf("scan() of the file after a lost commit = %v; its pages must still be there", err)
	}
}

func TestTruncated(t *testing.T) {
	dir := t.TempDir()
	small(t, dir, nil)
	file := contents(t, dir)
	want, err := listing(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(file) {
		refused := refusedOrSame(t, fmt.Sprintf("cut to %d bytes", n), file[:n], want)
		if needed := int(im.pages) * smallPage; refused != (n < needed) {
			t.Fatalf("cut to %d of %d bytes: refused = %v", n, needed, refused)
		}
	}
	for _, n := range []int{0, 1, smallPage, 5 * smallPage} {
		cut := t.TempDir()
		if err := os.WriteFile(filepath.Join(cut, fileName), file[:n], fileMode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(cut, Config{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Open() of %d bytes = %v, want ErrCorrupt", n, err)
		}
	}
}

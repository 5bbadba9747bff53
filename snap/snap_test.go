package snap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"etcd2/store"

	bolt "go.etcd.io/bbolt"
)

func TestSecondOpenIsLocked(t *testing.T) {
	dir := t.TempDir()
	s, _ := reopen(t, dir)
	_, err := Open(dir, Config{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "file already locked") || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open() = %v, want ErrLocked with directory", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	again, err := Open(dir, Config{})
	if err != nil {
		t.Fatalf("Open() after Close() = %v", err)
	}
	defer again.Close()

	// A tool that works on the file itself knows nothing of our lock.
	db, err := bolt.Open(filepath.Join(dir, fileName), fileMode, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.Load(store.Config{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Load() of a file a tool has open = %v, want ErrLocked", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.Load(store.Config{}); err != nil {
		t.Errorf("Load() when the tool is gone = %v", err)
	}
}

func TestDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "sub"), Config{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open() below a file = %v, want an error that names it", err)
	}
}

func TestClosed(t *testing.T) {
	s, st := reopen(t, t.TempDir())
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	if err := s.Commit(st.Cut(), Meta{}); !errors.Is(err, errClosed) {
		t.Errorf("Commit() after Close() = %v, want %v", err, errClosed)
	}
	if _, _, err := s.Load(store.Config{}); !errors.Is(err, errClosed) {
		t.Errorf("Load() after Close() = %v, want %v", err, errClosed)
	}
	if _, err := s.Copy(); !errors.Is(err, errClosed) {
		t.Errorf("Copy() after Close() = %v, want %v", err, errClosed)
	}
	if _, err := s.Receive(bytes.NewReader(nil), 1); !errors.Is(err, errClosed) {
		t.Errorf("Receive() after Close() = %v, want %v", err, errClosed)
	}
}

// rewriteHead replaces the head record of a closed checkpoint by a sealed one
// with the given payload.
func rewriteHead(t *testing.T, dir string, payload []byte) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, fileName), fileMode, nil)
	if err != nil {
		t.Fatal(err)
	}
	value := append(make([]byte, sumSize), payload...)
	seal(metaBucket, headKey, value)
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put(headKey, value) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestVersionFromTheFuture(t *testing.T) {
	dir := t.TempDir()
	small(t, dir, nil)
	future := binary.LittleEndian.AppendUint32(nil, formatVersion+1)
	rewriteHead(t, dir, append(future, "whatever it will be"...))
	before := contents(t, dir)
	_, err := Open(dir, Config{})
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), filepath.Join(dir, fileName)) {
		t.Errorf("Open() of format %d = %v, want ErrVersion with the file", formatVersion+1, err)
	}
	if !bytes.Equal(contents(t, dir), before) {
		t.Error("the file was changed")
	}
}

// Records that are sealed and yet cannot be used were written by a faulty
// program; they are refused like damage.
func TestSealedNonsense(t *testing.T) {
	var h head
	good := h.append(nil)
	for name, payload := range map[string][]byte{
		"empty head":    {},
		"format 0":      make([]byte, len(good)),
		"short head":    good[:60],
		"no counters":   good[:112],
		"endless conf":  append(bytes.Clone(good[:108]), 0xff, 0xff, 0xff, 0xff),
		"trailing byte": append(bytes.Clone(good), 1),
	} {
		dir := t.TempDir()
		small(t, dir, nil)
		rewriteHead(t, dir, payload)
		if _, err := Open(dir, Config{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Open() with %s = %v, want ErrCorrupt", name, err)
		}
	}
}

func TestHeadRoundTrip(t *testing.T) {
	want := head{
		Meta:     Meta{Index: 1, Term: 2, Conf: []byte("c"), ClusterID: 3, MemberID: 4, Sequence: 5, StoreIndex: 6},
		clock:    -7,
		counters: store.Stats{GetsFail: 8, ExpireCount: 9},
		nodes:    tally{10, 11}, long: tally{12, 13}, events: tally{14, 15},
	}
	got, err := parseHead(want.append(nil))
	if err != nil {
		t.Fatalf("parseHead() = %v", err)
	}
	if string(got.append(nil)) != string(want.append(nil)) || got.clock != -7 || got.counters != want.counters || got.events != want.events {
		t.Errorf("parseHead() = %+v, want %+v", got, want)
	}
}

// The sums notice what single checksums cannot.
func TestTally(t *testing.T) {
	record := func(key, payload string) (k, v []byte) {
		v = append(make([]byte, sumSize), payload...)
		seal(nodesBucket, []byte(key), v)
		return []byte(key), v
	}
	var a, b tally
	a.add(record("k1", "v1"))
	a.add(record("k2", "v2"))
	b.add(record("k2", "v2"))
	b.add(record("k1", "v1"))
	if a != b {
		t.Errorf("the order changes the tally: %v, %v", a, b)
	}
	b.add(record("k3", "v3"))
	b.remove(record("k3", "v3"))
	if a != b {
		t.Errorf("adding and removing leaves a trace: %v, %v", a, b)
	}
	var old tally
	old.add(record("k1", "v0"))
	old.add(record("k2", "v2"))
	if a.sum == old.sum {
		t.Errorf("an old record has the sum of the new one: %v", old)
	}
	if k, v := record("k1", "v1"); checksum(nodesBucket, k, v) == checksum(nodesBucket, append(k, v[0]), v[1:]) {
		t.Error("the checksum does not see where the key ends")
	}
	if checksum(nodesBucket, []byte("k"), nil) == checksum(longBucket, []byte("k"), nil) {
		t.Error("the checksum does not see the bucket")
	}
}

// Going backwards would lose what is stored; it is a fault of the caller, after
// which nothing is trusted.
func TestCommitBackwards(t *testing.T) {
	s, st := reopen(t, t.TempDir())
	defer s.Close()
	commit(t, s, st, 5)
	if err := s.Commit(st.Cut(), Meta{Index: 4}); !errors.Is(err, errBackwards) {
		t.Errorf("Commit() of index 4 after 5 = %v, want %v", err, errBackwards)
	}
	if err := s.Commit(st.Cut(), Meta{Index: 6}); !errors.Is(err, ErrFailed) {
		t.Errorf("the next Commit() = %v, want ErrFailed", err)
	}
}

// A copy shows one moment, however much is committed while it is read.
func TestCopyBesideCommits(t *testing.T) {
	s, st := reopen(t, t.TempDir())
	defer s.Close()
	put := func(value string) {
		t.Helper()
		if _, err := st.Apply(store.Op{Action: store.Set, Path: "/1/k", Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	commit(t, s, st, 1)
	want := dumpOf(t, st)
	c, err := s.Copy()
	if err != nil {
		t.Fatalf("Copy() = %v", err)
	}
	r, w := io.Pipe()
	sent := make(chan error, 1) // one result
	go func() {
		n, err := c.WriteTo(w)
		if err == nil && n != c.Size() {
			err = errors.New("Size() was not the length of the stream")
		}
		sent <- errors.Join(err, w.Close(), c.Close())
	}()
	first := make([]byte, 100) // the copy is under way
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) {
		put(strings.Repeat("new", 2000))
		commit(t, s, st, 2+i)
	}
	other, _ := reopen(t, t.TempDir())
	defer other.Close()
	if m, err := other.Receive(io.MultiReader(bytes.NewReader(first), r), 9); err != nil || m.Index != 1 {
		t.Fatalf("Receive() = %+v, %v; want index 1", m, err)
	}
	if err := <-sent; err != nil {
		t.Fatalf("WriteTo() = %v", err)
	}
	if _, err := other.Install(); err != nil {
		t.Fatalf("Install() = %v", err)
	}
	if got, _, err := other.Load(smallHistory); err != nil || dumpOf(t, got) != want {
		t.Errorf("Load() of the copy: %v, or another content than when the copy began", err)
	}
}

// Install does not wait for a peer that reads slowly from the replaced file.
func TestInstallBesideCopy(t *testing.T) {
	from, st := reopen(t, t.TempDir())
	defer from.Close()
	commit(t, from, st, 7)
	var stream bytes.Buffer
	if _, _, err := from.Stream(&stream); err != nil {
		t.Fatal(err)
	}
	s, _ := reopen(t, t.TempDir())
	c, err := s.Copy()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(&stream, 1); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" { // cannot replace a file in use
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Install(); err != nil {
		t.Fatalf("Install() = %v", err)
	}
	if _, m, err := s.Load(smallHistory); err != nil || m.Index != 7 {
		t.Errorf("Load() = %+v, %v; want index 7", m, err)
	}
	if runtime.GOOS != "windows" {
		if n, err := c.WriteTo(io.Discard); err != nil || n != c.Size() {
			t.Errorf("WriteTo() of the replaced file = %d, %v; want %d bytes", n, err, c.Size())
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close() of the copy = %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

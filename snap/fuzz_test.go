package snap

import (
	"bytes"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"

	"etcd2/store"
)

// FuzzLoad gives the reader arbitrary files. It must refuse them with
// ErrCorrupt or ErrVersion, never panic, and a file it accepts must not trouble
// bbolt either: what is then committed to it has to come back. With mend the
// checksums of the meta pages are made right, or hardly any file would be read
// beyond them.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	small(f, dir, nil)
	good := contents(f, dir)
	f.Add(good, false)
	f.Add(good, true)
	for i := 2 * smallPage; i < len(good); i += smallPage { // the head of every page
		for _, at := range []int{0, 8, 10, 12, 16, 20, 24, 28} {
			changed := bytes.Clone(good)
			changed[i+at] ^= 1
			f.Add(changed, true)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, mend bool) {
		if mend {
			mendMetaPages(file)
		}
		im, err := newImage(bytes.NewReader(file), int64(len(file)), "image")
		if err == nil {
			_, _, err = im.load(smallHistory)
		}
		if err == nil {
			staysUsable(t, file)
		} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("load() = %v, want ErrCorrupt or ErrVersion", err)
		}
	})
}

// mendMetaPages makes the checksums right, wherever the page size says the
// second meta page is.
func mendMetaPages(file []byte) {
	at := 0
	for range 2 {
		if len(file)-at < pageHeader+metaSize {
			return
		}
		m := file[at+pageHeader:]
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		native.PutUint64(m[metaSize-8:], sum.Sum64())
		at = int(native.Uint32(m[8:]) % maxPageSize)
	}
}

// staysUsable commits to an accepted file through bbolt.
func staysUsable(t *testing.T, file []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), file, fileMode); err != nil {
		t.Fatal(err)
	}
	s, st := reopen(t, dir)
	defer s.Close()
	if _, err := st.Apply(store.Op{Action: store.Set, Path: "/1/d0/k00", Value: "fuzz"}); err != nil {
		t.Fatal(err)
	}
	_, m, err := s.Load(smallHistory)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, st, m.Index+1)
	again, _, err := s.Load(smallHistory)
	if err != nil {
		t.Fatalf("Load() after a commit to an accepted file = %v", err)
	}
	if dumpOf(t, again) != dumpOf(t, st) {
		t.Fatal("an accepted file has another content after a commit")
	}
}

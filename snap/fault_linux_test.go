package snap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"etcd2/store"

	"golang.org/x/sys/unix"
)

// faultyDisk swaps the descriptor under bbolt's file for one that cannot be
// written, and back.
type faultyDisk struct {
	file  *os.File // bbolt's
	saved int
}

func (d *faultyDisk) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	d.file = f
	return f, err
}

// fail makes all writes fail from here on.
func (d *faultyDisk) fail(t *testing.T) {
	t.Helper()
	saved, err := unix.Dup(int(d.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	d.saved = saved
	r, err := os.Open(d.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := unix.Dup3(int(r.Fd()), int(d.file.Fd()), 0); err != nil {
		t.Fatal(err)
	}
}

// heal makes writes work again.
func (d *faultyDisk) heal(t *testing.T) {
	t.Helper()
	err := unix.Dup3(d.saved, int(d.file.Fd()), 0)
	if err := errors.Join(err, unix.Close(d.saved)); err != nil {
		t.Fatal(err)
	}
}

// Writes that are refused leave the checkpoint as it was, and what they should
// have stored goes out with the first commit that succeeds.
func TestRefusedWrites(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var disk faultyDisk
	s.open = disk.open
	st, _, err := s.Load(smallHistory)
	if err != nil {
		t.Fatal(err)
	}
	put := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := st.Apply(store.Op{Action: store.Set, Path: fmt.Sprintf("/1/k%04d", i), Value: "some value"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 3000)
	commit(t, s, st, 1)
	before := dumpOf(t, st)

	disk.fail(t)
	for i := range 3 {
		put(10*i, 10*i+5)
		err := s.Commit(st.Cut(), Meta{Index: uint64(2 + i)})
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Op != "write" || errors.Is(err, ErrFailed) {
			t.Fatalf("Commit() to a disk that refuses writes = %v, want its own error", err)
		}
		im, err := openImage(s.path())
		if err != nil {
			t.Fatalf("the file after the refused commit: %v", err)
		}
		onDisk, h, err := im.load(smallHistory)
		im.close()
		if err != nil || h.Index != 1 || dumpOf(t, onDisk) != before {
			t.Fatalf("after the refused commit the file holds %+v, %v; want what it held before", h, err)
		}
	}
	disk.heal(t)

	put(5000, 5001)
	commit(t, s, st, 5)
	again, m, err := s.Load(smallHistory)
	if err != nil || m.Index != 5 || dumpOf(t, again) != dumpOf(t, st) {
		t.Errorf("Load() when the disk takes writes again = index %d, %v; want all that was applied", m.Index, err)
	}
}

// After a failed sync nobody knows what is on the disk: the Store gives up.
func TestRetryable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("commit: %w", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), true},
		{errors.New("file resize error: no space left on device"), true},
		{syscall.EIO, false}, // fdatasync
		{&fs.PathError{Op: "sync", Path: "x", Err: syscall.ENOSPC}, false},
		{errors.New("file sync error: input/output error"), false},
		{corrupt("file", "page 1"), false},
	} {
		if got := retryable(c.err); got != c.want {
			t.Errorf("retryable(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

// The file changes on the disk while bbolt has it open: pages turn to nonsense,
// or are gone altogether, which the processor reports as a bus error.
func TestDamageWhileRunning(t *testing.T) {
	for name, damage := range map[string]func(f *os.File) error{
		"pages of ones": func(f *os.File) error {
			ones := make([]byte, 4096)
			for i := range ones {
				ones[i] = 0xff
			}
			info, err := f.Stat()
			for off := int64(2 * 4096); err == nil && off < info.Size(); off += 4096 {
				_, err = f.WriteAt(ones, off)
			}
			return err
		},
		"all zero": func(f *os.File) error {
			info, err := f.Stat()
			if err == nil {
				_, err = f.WriteAt(make([]byte, info.Size()), 0)
			}
			return err
		},
		"cut off": func(f *os.File) error { return f.Truncate(2 * 4096) },
	} {
		run := func(t *testing.T, touch func(*Store, store.Delta) error) {
			dir := t.TempDir()
			s, st := reopen(t, dir)
			for i := range 2000 {
				if _, err := st.Apply(store.Op{Action: store.Set, Path: fmt.Sprintf("/1/k%04d", i), Value: "v"}); err != nil {
					t.Fatal(err)
				}
			}
			commit(t, s, st, 1)
			f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(damage(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Apply(store.Op{Action: store.Set, Path: "/1/k1", Value: "w"}); err != nil {
				t.Fatal(err)
			}
			if err := touch(s, st.Cut()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("the first use of the damaged file = %v, want ErrCorrupt", err)
			}
			if _, _, err := s.Stream(io.Discard); !errors.Is(err, ErrFailed) {
				t.Errorf("Stream() after that = %v, want ErrFailed", err)
			}
			if err := s.Commit(st.Cut(), Meta{Index: 3}); !errors.Is(err, ErrFailed) {
				t.Errorf("Commit() after that = %v, want ErrFailed", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			if _, err := Open(dir, Config{}); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("Open() after Close() = %v, want ErrCorrupt or success", err)
			}
		}
		t.Run(name+", commit", func(t *testing.T) {
			run(t, func(s *Store, d store.Delta) error { return s.Commit(d, Meta{Index: 2}) })
		})
		t.Run(name+", copy", func(t *testing.T) {
			run(t, func(s *Store, _ store.Delta) error {
				_, err := s.Copy()
				return err
			})
		})
	}
}

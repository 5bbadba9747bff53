package disk_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"etcd2/internal/disk"
)

func TestFile(t *testing.T) {
	fs, dir := disk.OS(), t.TempDir()
	name := filepath.Join(dir, "a", "b", "file")
	if err := fs.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.OpenFile(name, os.O_RDWR, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenFile of nothing: error = %v, want ErrNotExist", err)
	}
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(10000); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("hello"), 5000); err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(100); err != nil { // a longer file stays as it is
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 10000)
	copy(want[5000:], "hello")
	got := make([]byte, 10000)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt: %v, or bytes other than hello between zeros", err)
	}
	if err := f.Truncate(5002); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != 5002 {
		t.Errorf("Size = %d, %v, want 5002", size, err)
	}
	if n, err := f.ReadAt(got, 0); n != 5002 || err != io.EOF {
		t.Errorf("ReadAt behind the end = %d, %v, want 5002, EOF", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Error("Sync of a closed file gave no error")
	}
}

func TestMkdirAll(t *testing.T) {
	t.Chdir(t.TempDir())
	fs := disk.OS()
	for _, name := range []string{"a", "a", ".", filepath.Join("b", "c", "..", "d", "e"), filepath.Join(t.TempDir(), "f", "g") + "/"} {
		if err := fs.MkdirAll(name, 0o700); err != nil {
			t.Fatalf("MkdirAll(%q): %v", name, err)
		}
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			t.Errorf("after MkdirAll(%q): %v, %v", name, info, err)
		}
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fs.MkdirAll(filepath.Join("file", "x"), 0o700); err == nil {
		t.Error("MkdirAll below a file gave no error")
	}
}

func TestNames(t *testing.T) {
	fs, dir := disk.OS(), t.TempDir()
	for _, name := range []string{"c", "a", "b"} {
		f, err := fs.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.Rename(filepath.Join(dir, "c"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.ReadDir(dir); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Errorf("ReadDir = %q, %v, want only b", names, err)
	}
	if _, err := fs.ReadDir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadDir of nothing: error = %v, want ErrNotExist", err)
	}
}

func TestLock(t *testing.T) {
	fs, name := disk.OS(), filepath.Join(t.TempDir(), "lock")
	first, err := fs.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lock(name); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second Lock: error = %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := fs.Lock(name)
	if err != nil {
		t.Fatalf("Lock after the first was closed: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFree(t *testing.T) {
	if n, err := disk.Free(t.TempDir()); err != nil || n == 0 {
		t.Errorf("Free = %d, %v, want some room", n, err)
	}
	if _, err := disk.Free(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("Free of nothing gave no error")
	}
}

package hostile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// mount makes a small file system in memory below the test's directory.
func mount(t *testing.T, options string, flags uintptr) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("etcd2-test", dir, "tmpfs", flags, options)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENODEV) {
		t.Skip("needs the right to mount a file system: run as root to include this test")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestUnwritableDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(mount(t, "size=1m", syscall.MS_RDONLY), "data")
	log := refuses(t, proc.New(t, proc.Options{Dir: dir}))
	if _, ok := lineWith(log, dir, "read-only"); !ok {
		t.Errorf("no line says that %s cannot be written:\n%s", dir, log)
	}
}

// TestFullDisk fills a disk while the server runs: writes are refused before the
// log meets the end of the disk, reads go on, and writes return with the space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=96m", 0)
	m := proc.Start(t, proc.Options{
		Dir:   filepath.Join(dir, "data"),
		Own:   []string{"--min-free-bytes", "16777216"},
		Flags: []string{"--snapshot-count", "20"},
	})
	put(t, m, "/a", "before")

	big := wire.Form("PUT", "/v2/keys/fill", "value="+strings.Repeat("x", 512<<10))
	refused := ""
	for range 1000 {
		x, body, err := wire.Do(m.Client, big)
		if err != nil {
			t.Fatalf("a write while the disk fills: %v", err)
		}
		if x.Status/100 != 2 {
			refused = string(body)
			if x.Status != 500 {
				t.Errorf("status of a refused write = %d, want 500", x.Status)
			}
			break
		}
		ballast(t, dir, 1)
	}
	if !strings.Contains(refused, "no space") || !strings.Contains(refused, "--min-free-bytes") {
		t.Fatalf("the refusal is %q, want one that says why and what to do", refused)
	}
	holds(t, m, "/a", "before")
	if x, _, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/a?quorum=true"}); err != nil || x.Status != 200 {
		t.Errorf("a quorum read on a full disk: %v, %v", x, err)
	}
	ballast(t, dir, 4) // the big write alone did not fit
	answers(t, m, "/b", "small", 500)

	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	answers(t, m, "/a", "after", 200)
	m.Kill()
	restart(t, m)
	holds(t, m, "/a", "after")
}

// TestFullDiskOfTheLog has others fill the log's own disk to the last byte: the
// member lives on, also through a restart, and takes writes when space returns.
func TestFullDiskOfTheLog(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=16m", 0)
	m := proc.Start(t, proc.Options{
		Own:   []string{"--min-free-bytes", "1"},
		Flags: []string{"--wal-dir", filepath.Join(dir, "wal")},
	})
	put(t, m, "/a", "before")
	ballast(t, dir, 16)

	refused := ""
	big := wire.Form("PUT", "/v2/keys/fill", "value="+strings.Repeat("x", 512<<10))
	for range 100 {
		x, body, err := wire.Do(m.Client, big)
		if err != nil {
			t.Fatalf("a write on a full disk: %v", err)
		}
		if x.Status/100 != 2 {
			refused = string(body)
			break
		}
	}
	if refused == "" {
		t.Fatal("50 MiB were written to a disk of 16 MiB that is full")
	}
	holds(t, m, "/a", "before")
	m.Kill()
	restart(t, m)
	holds(t, m, "/a", "before")

	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	answers(t, m, "/a", "after", 200)
	m.Kill()
	restart(t, m)
	holds(t, m, "/a", "after")
}

// answers sets a key again and again until the answer has the wanted status: the
// server looks at the disk a few times a second.
func answers(t *testing.T, m *proc.Member, key, value string, want int) {
	t.Helper()
	proc.Eventually(t, 20*time.Second, fmt.Sprintf("PUT %s is answered with %d", key, want), func() bool {
		x, _, err := wire.Do(m.Client, wire.Form("PUT", "/v2/keys"+key, "value="+value))
		return err == nil && x.Status == want
	})
}

// ballast takes another piece of the disk away, as much of it as there is.
func ballast(t *testing.T, dir string, mebibytes int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(make([]byte, mebibytes<<20))
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

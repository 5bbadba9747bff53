package hostile

import (
	"errors"
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
		ballast(t, dir)
	}
	if !strings.Contains(refused, "no space") || !strings.Contains(refused, "--min-free-bytes") {
		t.Fatalf("the refusal is %q, want one that says why and what to do", refused)
	}
	holds(t, m, "/a", "before")
	if x, _, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/a?quorum=true"}); err != nil || x.Status != 200 {
		t.Errorf("a quorum read on a full disk: %v, %v", x, err)
	}
	if x, _, err := wire.Do(m.Client, wire.Form("PUT", "/v2/keys/a", "value=after")); err != nil || x.Status != 500 {
		t.Errorf("a small write on a full disk: %v, %v, want a refusal", x, err)
	}

	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		x, body, err := wire.Do(m.Client, wire.Form("PUT", "/v2/keys/a", "value=after"))
		if err == nil && x.Status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("writes did not return with the space: %s, %v", body, err)
		}
		<-time.After(20 * time.Millisecond) // the server looks at the disk a few times a second
	}
	m.Kill()
	restart(t, m)
	holds(t, m, "/a", "after")
}

// ballast takes another piece of the disk away.
func ballast(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(make([]byte, 1<<20))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

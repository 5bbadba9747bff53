package sim_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"etcd2/internal/disk"
	"etcd2/internal/sim"
)

func newDisk(t *testing.T, seed uint64) *sim.Disk {
	t.Helper()
	d := sim.NewDisk(rand.New(rand.NewPCG(seed, 0)))
	if err := d.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func create(t *testing.T, d *sim.Disk, name string) disk.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f disk.File, text string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSyncedBytesSurvive(t *testing.T) {
	for seed := range uint64(100) {
		d := newDisk(t, seed)
		f := create(t, d, "/d/f")
		write(t, f, "durable", 0)
		must(t, f.Sync())
		must(t, d.SyncDir("/d"))
		write(t, f, "pending", 7)
		d.Crash()
		b, err := d.ReadFile("/d/f")
		if err != nil || !bytes.HasPrefix(b, []byte("durable")) {
			t.Fatalf("seed %d: after a crash the file is %q, %v", seed, b, err)
		}
		if _, err := f.Size(); !errors.Is(err, sim.ErrDown) {
			t.Fatalf("seed %d: a file opened before the crash gives %v, want ErrDown", seed, err)
		}
	}
}

// Over many seeds a crash must show every kind of outcome, and never a byte that
// was neither old nor new.
func TestCrashOutcomes(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(400) {
		d := newDisk(t, seed)
		f := create(t, d, "/d/f")
		must(t, f.Allocate(3*512))
		must(t, f.Sync())
		must(t, d.SyncDir("/d"))
		_, err := f.WriteAt(bytes.Repeat([]byte{1}, 3*512), 0)
		must(t, err)
		d.Crash()
		b, err := d.ReadFile("/d/f")
		must(t, err)
		var sectors [3]int
		for i, x := range b {
			if x > 1 {
				t.Fatalf("seed %d: byte %d is %d", seed, i, x)
			}
			sectors[i/512] += int(x)
		}
		switch {
		case sectors == [3]int{}:
			seen["lost"]++
		case sectors == [3]int{512, 512, 512}:
			seen["kept"]++
		case sectors[0]%512 != 0 || sectors[1]%512 != 0 || sectors[2]%512 != 0:
			seen["cut within a sector"]++
		case sectors[2] == 512:
			seen["a hole"]++
		default:
			seen["cut between sectors"]++
		}
	}
	for _, what := range []string{"lost", "kept", "cut within a sector", "a hole", "cut between sectors"} {
		if seen[what] == 0 {
			t.Errorf("400 crashes never left a write %s: %v", what, seen)
		}
	}
}

func TestNamesNeedSyncDir(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(100) {
		d := newDisk(t, seed)
		f := create(t, d, "/d/old")
		write(t, f, "x", 0)
		must(t, f.Sync())
		must(t, d.SyncDir("/d"))
		must(t, d.Rename("/d/old", "/d/new"))
		create(t, d, "/d/other")
		d.Crash()
		names, err := d.ReadDir("/d")
		must(t, err)
		if old, now := slices.Contains(names, "old"), slices.Contains(names, "new"); old == now {
			t.Fatalf("seed %d: after a crash in a rename the names are %q", seed, names)
		}
		outcomes[fmt.Sprint(names)]++
	}
	if len(outcomes) != 4 {
		t.Errorf("outcomes of a pending rename and create: %v, want all 4", outcomes)
	}
}

func TestSameSeedSameStory(t *testing.T) {
	story := func(seed uint64) map[string][]byte {
		d := newDisk(t, seed)
		for i := range 5 {
			f := create(t, d, fmt.Sprintf("/d/%d", i))
			write(t, f, string(bytes.Repeat([]byte{byte('a' + i)}, 3000)), int64(i))
		}
		d.Crash()
		return d.Files()
	}
	for seed := range uint64(50) {
		if a, b := fmt.Sprint(story(seed)), fmt.Sprint(story(seed)); a != b {
			t.Fatalf("seed %d tells two stories:\n%s\n%s", seed, a, b)
		}
	}
}

func TestKillKeepsWhatIsVisible(t *testing.T) {
	d := newDisk(t, 1)
	f := create(t, d, "/d/f")
	write(t, f, "pending", 0)
	lock, err := d.Lock("/d/lock")
	must(t, err)
	if _, err := d.Lock("/d/lock"); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second Lock: error = %v, want ErrLocked", err)
	}
	d.Kill()
	if b, err := d.ReadFile("/d/f"); string(b) != "pending" {
		t.Errorf("after Kill the file is %q, %v", b, err)
	}
	again, err := d.Lock("/d/lock")
	must(t, err)
	must(t, lock.Close()) // of the killed process: must not free the new one
	if _, err := d.Lock("/d/lock"); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("Lock after an old one was closed: error = %v, want ErrLocked", err)
	}
	must(t, again.Close())
	again, err = d.Lock("/d/lock")
	must(t, err)
	must(t, again.Close())
}

func TestFull(t *testing.T) {
	d := newDisk(t, 1)
	f := create(t, d, "/d/f")
	d.SetFull(10)
	if n, err := f.WriteAt(make([]byte, 20), 0); n != 10 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt of 20 bytes = %d, %v, want 10, ENOSPC", n, err)
	}
	write(t, f, "0123456789", 0) // overwriting needs no room
	if err := f.Allocate(11); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Allocate error = %v, want ENOSPC", err)
	}
	must(t, f.Truncate(5))
	must(t, f.Allocate(10))
	d.SetFull(-1)
	must(t, f.Allocate(1000))
}

func TestFailures(t *testing.T) {
	d := newDisk(t, 1)
	f := create(t, d, "/d/f")
	must(t, d.SyncDir("/d"))
	d.FailSync(2)
	must(t, f.Sync())
	write(t, f, "x", 0)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("second Sync error = %v, want EIO", err)
	}
	must(t, f.Sync())
	d.FailWrite(1)
	if n, err := f.WriteAt(make([]byte, 9), 0); n > 9 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt = %d, %v, want EIO", n, err)
	}
	d.StopAfter(1)
	write(t, f, "y", 0)
	if err := f.Sync(); !errors.Is(err, sim.ErrDown) {
		t.Errorf("Sync of a stopped machine: error = %v, want ErrDown", err)
	}
	if _, err := d.ReadDir("/d"); !errors.Is(err, sim.ErrDown) {
		t.Errorf("ReadDir of a stopped machine: error = %v, want ErrDown", err)
	}
	d.Crash()
	if _, err := d.ReadDir("/d"); err != nil {
		t.Errorf("ReadDir after the crash: %v", err)
	}
}

// A failed sync loses some pending writes for good, though they stay visible.
func TestFailedSyncIsNotRepaired(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		d := newDisk(t, seed)
		f := create(t, d, "/d/f")
		must(t, d.SyncDir("/d"))
		write(t, f, "x", 0)
		d.FailSync(1)
		if err := f.Sync(); err == nil {
			t.Fatal("Sync gave no error")
		}
		must(t, f.Sync())
		if b, err := d.ReadFile("/d/f"); string(b) != "x" {
			t.Fatalf("seed %d: the file is %q, %v before the crash", seed, b, err)
		}
		d.Crash()
		if b, err := d.ReadFile("/d/f"); err == nil && len(b) == 0 {
			lost++
		}
	}
	if lost < 20 || lost > 80 {
		t.Errorf("a failed sync lost the write in %d of 100 runs, want about half", lost)
	}
}

package etcdserver

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

// newTightBed is a bed whose disk has 1 MiB more than is to stay free.
func newTightBed(t *testing.T) *bed {
	b := newBed(t)
	b.tune = func(c *Config) { c.MinFreeBytes = 1 << 20 }
	b.free.Store(2 << 20)
	return b
}

func TestNearlyFullDiskRefusesWritesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTightBed(t)
		r := b.start()
		defer r.end()
		r.set("foo", "bar", 2*time.Second)
		b.free.Store(1<<20 - 1)
		time.Sleep(2 * spacePoll)
		_, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/x"})
		var refused *store.Error
		if !errors.As(err, &refused) || refused.Code != store.RaftInternal || !strings.Contains(refused.Cause, "--min-free-bytes") {
			t.Errorf("Do on a full disk = %v, want a refusal that names --min-free-bytes", err)
		}
		if got := r.value("foo"); got != "bar" {
			t.Errorf("read on a full disk = %s, want bar", got)
		}
		if r.Ready() == nil {
			t.Error("Ready = nil on a full disk")
		}
		time.Sleep(3 * time.Second)
		if got := r.StoreStats().ExpireCount; got != 1 {
			t.Errorf("%d keys expired on a full disk, want 1: leases end in time", got)
		}
		b.free.Store(1 << 40)
		time.Sleep(2 * spacePoll)
		r.set("x", "1", 0)
	})
}

// A burst of large values cannot outrun the reading of the free space.
func TestSpaceCountsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTightBed(t)
		r := b.start()
		defer r.end()
		refusals := 0
		for range 10 {
			if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/x", Value: strings.Repeat("x", 100<<10)}); err != nil {
				refusals++
			}
		}
		if refusals != 7 {
			t.Errorf("%d of 10 writes of 100 KiB refused with 1 MiB of room, want 7: a write counts %d times", refusals, admissionFactor)
		}
	})
}

// The log and the checkpoint may lie on other disks than the data directory.
func TestEveryDiskIsWatched(t *testing.T) {
	for _, full := range []string{"", filepath.Join("member", "snap"), "elsewhere"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			full := filepath.Join(b.dir, full)
			b.tune = func(c *Config) {
				c.MinFreeBytes = 1 << 20
				c.WALDir = filepath.Join(b.dir, "elsewhere")
				c.FreeBytes = func(dir string) (uint64, error) {
					if dir == full {
						return b.free.Load(), nil
					}
					return 1 << 40, nil
				}
			}
			r := b.start()
			defer r.end()
			r.set("foo", "bar", 0)
			b.free.Store(1 << 19)
			time.Sleep(2 * spacePoll)
			_, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/foo"})
			if err == nil || !strings.Contains(err.Error(), full+";") {
				t.Errorf("Do with a full disk of %s = %v, want a refusal that names it", full, err)
			}
			b.free.Store(1 << 40)
			time.Sleep(2 * spacePoll)
			r.set("foo", "bar", 0)
		})
	}
}

// A value that is too large for what is left takes nothing from the small ones.
func TestRefusedWriteTakesNoSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTightBed(t)
		r := b.start()
		defer r.end()
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/big", Value: strings.Repeat("x", 2<<20)}); err == nil {
			t.Error("a write of 2 MiB was accepted with 1 MiB of room")
		}
		r.set("small", "1", 0)
	})
}

// A disk that others have filled up stops the log, not the member: reads go on,
// and so do writes, including those that were under way, when there is room again.
func TestLogWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		defer r.end()
		r.set("foo", "bar", 2*time.Second)
		b.log.SetFull(0)
		value := strings.Repeat("x", 2<<20) // more than is reserved
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/big", Value: value}); err == nil || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("Do on a full disk = %v, want a timeout", err)
		}
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/small"}); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("Do while the log waits = %v, want a refusal for lack of space", err)
		}
		if r.Ready() == nil {
			t.Error("Ready = nil while the log waits")
		}
		if got := r.value("foo"); got != "bar" {
			t.Errorf("a read while the log waits = %s, want bar", got)
		}
		b.log.SetFull(-1)
		time.Sleep(2 * spacePoll)
		synctest.Wait()
		if got := r.value("big"); got != value {
			t.Errorf("the write that waited left %d bytes, want %d", len(got), len(value))
		}
		if got := r.StoreStats().ExpireCount; got != 1 {
			t.Errorf("%d keys expired, want the one that fell due meanwhile", got)
		}
		r.set("foo", "1", 0)
	})
}

// A member can be stopped while its log waits for room.
func TestStopWhileTheLogWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		b.log.SetFull(0)
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/big", Value: strings.Repeat("x", 2<<20)}); err == nil {
			t.Error("a write that found no room was acknowledged")
		}
		r.end()
		b.log.SetFull(-1)
		r = b.start()
		defer r.end()
		r.set("foo", "bar", 0)
	})
}

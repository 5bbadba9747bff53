package etcdserver

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wall clock that was set back between two runs makes no TTL longer, whether
// the time before it is in the checkpoint or only in the log: each bubble begins
// at the same moment, so the second run starts an hour before the first one ended.
func TestClockSetBackBetweenRuns(t *testing.T) {
	for name, entries := range map[string]uint64{"log": 1000, "checkpoint": 1} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.tune = func(c *Config) { c.CheckpointEntries = entries }
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				time.Sleep(time.Hour)
				r := b.start()
				r.set("foo", "bar", 10*time.Second)
				synctest.Wait()
				r.end()
			})
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				r := b.start()
				defer r.end()
				if got := r.value("foo"); got != "bar" {
					t.Errorf("before its TTL foo = %s, want bar", got)
				}
				time.Sleep(11 * time.Second)
				synctest.Wait()
				if got := r.StoreStats().ExpireCount; got != 1 {
					t.Errorf("%d keys expired after 11s, want the one with a TTL of 10s", got)
				}
			})
		})
	}
}

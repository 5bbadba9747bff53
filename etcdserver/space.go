package etcdserver

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"etcd2/store"
)

// spacePoll is how often the free space of the data directory is read.
const spacePoll = 250 * time.Millisecond

// space refuses writes while the disk of the data directory is nearly full, so
// that the log never meets a full disk in the middle of a record. Between two
// readings it counts what was proposed since, so that a burst of large values
// cannot outrun it.
type space struct {
	min  uint64 // bytes that must stay free; 0 turns the guard off
	dir  string
	free func(dir string) (uint64, error)
	log  *slog.Logger

	left  atomic.Int64 // bytes above min at the last reading, less what was proposed since
	isLow atomic.Bool  // less than min was free at the last reading
}

func newSpace(cfg Config) *space {
	sp := &space{min: cfg.MinFreeBytes, dir: cfg.Dir, free: cfg.FreeBytes, log: cfg.Logger}
	sp.read()
	return sp
}

// admit takes n bytes off the account, or says why a write is refused.
func (sp *space) admit(n int) *store.Error {
	if sp.min == 0 {
		return nil
	}
	if sp.left.Add(-int64(n)) >= 0 {
		return nil
	}
	return &store.Error{Code: store.RaftInternal, Cause: fmt.Sprintf(
		"etcdserver: no space: less than %d bytes are free in %s; free some space, or lower --min-free-bytes", sp.min, sp.dir)}
}

// run reads the free space until ctx ends.
func (sp *space) run(ctx context.Context) error {
	if sp.min == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(spacePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			sp.read()
		}
	}
}

func (sp *space) read() {
	if sp.min == 0 {
		return
	}
	free, err := sp.free(sp.dir)
	if err != nil {
		sp.log.Warn("cannot read the free disk space", "dir", sp.dir, "error", err)
		return
	}
	sp.left.Store(int64(free) - int64(sp.min))
	low := free < sp.min
	switch was := sp.isLow.Swap(low); {
	case low && !was:
		sp.log.Error("disk nearly full: writes are refused until space returns", "dir", sp.dir, "free", free, "min-free-bytes", sp.min)
	case was && !low:
		sp.log.Info("disk space is back: writes are accepted again", "dir", sp.dir, "free", free)
	}
}

// low tells whether writes are refused until space returns.
func (sp *space) low() bool { return sp.isLow.Load() }

package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/store"
	"etcd2/wal"
)

// spacePoll is how often the free space is read.
const spacePoll = 250 * time.Millisecond

// space refuses writes while a disk that the member writes to is nearly full, so
// that the log never meets a full disk in the middle of a record. Between two
// readings it counts what was proposed since, so that a burst of large values
// cannot outrun it.
type space struct {
	min  uint64   // bytes that must stay free; 0 turns the guard off
	dirs []string // of the data, the log and the checkpoint, which may be on three disks
	free func(dir string) (uint64, error)
	log  *slog.Logger

	left  atomic.Int64           // bytes above min at the last reading, less what was proposed since
	isLow atomic.Bool            // less than min was free at the last reading
	tight atomic.Pointer[string] // the directory with the least room
	stuck atomic.Bool            // the log waits for room
}

func newSpace(cfg Config) *space {
	return &space{
		min: cfg.MinFreeBytes, dirs: []string{cfg.Dir, cfg.WALDir, cfg.checkpointDir()},
		free: cfg.FreeBytes, log: cfg.Logger,
	}
}

// admit takes n bytes off the account, or says why a write is refused.
func (sp *space) admit(n int) *store.Error {
	if sp.stuck.Load() {
		return noSpace("the disk of the log is full; free some space")
	}
	if sp.min == 0 {
		return nil
	}
	for {
		left := sp.left.Load()
		if left < int64(n) {
			return noSpace("less than %d bytes would stay free in %s; free some space, or lower --min-free-bytes", sp.min, sp.dir())
		}
		if sp.left.CompareAndSwap(left, left-int64(n)) {
			return nil
		}
	}
}

func noSpace(format string, args ...any) *store.Error {
	return &store.Error{Code: store.RaftInternal, Cause: "etcdserver: no space: " + fmt.Sprintf(format, args...)}
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
	least, tight := uint64(0), ""
	for _, dir := range sp.dirs {
		free, err := sp.free(dir)
		if err != nil {
			sp.log.Warn("cannot read the free disk space", "dir", dir, "error", err)
			continue
		}
		if tight == "" || free < least {
			least, tight = free, dir
		}
	}
	if tight == "" {
		return
	}
	sp.tight.Store(&tight)
	sp.left.Store(int64(least) - int64(sp.min))
	low := least < sp.min
	switch was := sp.isLow.Swap(low); {
	case low && !was:
		sp.log.Error("disk nearly full: writes are refused until space returns", "dir", tight, "free", least, "min-free-bytes", sp.min)
	case was && !low:
		sp.log.Info("disk space is back: writes are accepted again", "dir", tight, "free", least)
	}
}

// low tells whether writes are being refused.
func (sp *space) low() bool { return sp.isLow.Load() || sp.stuck.Load() }

// dir is the directory with the least room.
func (sp *space) dir() string {
	if tight := sp.tight.Load(); tight != nil {
		return *tight
	}
	return sp.dirs[0]
}

// roomReader reads what is written to the disk, as long as there is room for it.
type roomReader struct {
	io.Reader
	space *space
}

// Read fails as soon as writes are refused.
func (r roomReader) Read(b []byte) (int, error) {
	if r.space.low() {
		return 0, fmt.Errorf("etcdserver: no room for a checkpoint: the disk of %s is nearly full", r.space.dir())
	}
	return r.Reader.Read(b)
}

// patientLog is a log that waits when its disk is full. The guard cannot prevent
// that altogether: others fill the disk too, and the member's own writes go on.
// Until there is room again writes are refused, but reads go on.
type patientLog struct {
	*wal.Log
	space    *space
	stopping <-chan struct{}
}

// Save returns wal.ErrFull only when the member stops before there is room.
func (p patientLog) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	err := p.Log.Save(hard, entries)
	if !errors.Is(err, wal.ErrFull) {
		return err
	}
	p.space.log.Error("disk full: the log waits until space returns", "error", err)
	p.space.stuck.Store(true)
	defer p.space.stuck.Store(false)
	tick := time.NewTicker(spacePoll)
	defer tick.Stop()
	for errors.Is(err, wal.ErrFull) {
		select {
		case <-p.stopping:
			return err
		case <-tick.C:
			err = p.Log.Save(hard, entries)
		}
	}
	if err == nil {
		p.space.log.Info("disk space is back: the log goes on")
	}
	return err
}

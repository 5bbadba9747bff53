package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/internal/sim"
	"etcd2/membership"
	"etcd2/snap"
	"etcd2/snap/snaptest"
	"etcd2/store"
)

// bed is the place a member lives in: disks that outlive it.
type bed struct {
	t        *testing.T
	self     membership.Member
	founders []membership.Member
	dir      string
	log      *sim.Disk
	snaps    *snaptest.Disk
	free     atomic.Uint64 // bytes the disk claims to have
	tune     func(*Config)
	skew     time.Duration // by which its wall clock is wrong at a start
}

// memory is a checkpoint in memory as Checkpoints.
type memory struct{ *snaptest.Memory }

func (m memory) Copy() (CheckpointCopy, error) {
	c, err := m.Memory.Copy()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newBed is the place of a member that is alone.
func newBed(t *testing.T) *bed { return newBeds(t, 1)[0] }

// newBeds are the places of members that found a cluster together.
func newBeds(t *testing.T, n int) []*bed {
	var founders []membership.Member
	for i := range n {
		founders = append(founders, numbered(i))
	}
	var beds []*bed
	for _, m := range founders {
		beds = append(beds, newBedOf(t, m, founders))
	}
	return beds
}

func newBedOf(t *testing.T, m membership.Member, founders []membership.Member) *bed {
	b := &bed{
		t: t, self: m, founders: founders,
		dir: t.TempDir(), log: sim.NewDisk(rand.New(rand.NewPCG(1, 2))), snaps: new(snaptest.Disk),
	}
	b.free.Store(1 << 40)
	return b
}

// numbered is the founding member n1, n2 and so on.
func numbered(i int) membership.Member {
	return membership.NewMember(fmt.Sprintf("n%d", i+1), []string{fmt.Sprintf("http://127.0.0.1:%d", 2380+10*i)}, "etcd-cluster", nil)
}

// running is a member at work.
type running struct {
	*Server
	t    *testing.T
	stop context.CancelFunc
	done chan error // capacity 1: what Run returned
}

// open opens a member without running it.
func (b *bed) open() (*Server, error) {
	cfg := Config{
		Name: b.self.Name, Dir: b.dir, ClientURLs: []string{"http://127.0.0.1:2379"},
		Founders: b.founders, Self: b.self.ID, ClusterID: membership.ClusterID(b.founders),
		FS: b.log, Checkpoints: func() (Checkpoints, error) { return memory{b.snaps.Open()}, nil },
		FreeBytes: func(string) (uint64, error) { return b.free.Load(), nil },
	}
	if b.tune != nil {
		b.tune(&cfg)
	}
	return Open(cfg)
}

// start runs a member until the test stops it, and waits until it is announced.
func (b *bed) start() *running {
	b.t.Helper()
	r := b.launch()
	r.await()
	return r
}

// launch runs a member until the test stops it.
func (b *bed) launch() *running {
	b.t.Helper()
	s, err := b.open()
	if err != nil {
		b.t.Fatalf("Open: %v", err)
	}
	s.clock.wall = func() int64 { return time.Now().Add(b.skew).UnixNano() }
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Server: s, t: b.t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

func (r *running) await() {
	r.t.Helper()
	select {
	case <-r.Announced():
	case <-time.After(10 * time.Second):
		r.t.Fatalf("member %s does not announce itself", r.cfg.Name)
	}
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run = %v, want nil after its context ended", err)
	}
}

func (r *running) set(key, value string, ttl time.Duration) Reply {
	r.t.Helper()
	reply, err := r.Do(context.Background(), store.Op{Action: store.Set, Path: "/1/" + key, Value: value, HasTTL: ttl > 0, TTL: ttl})
	if err != nil {
		r.t.Fatalf("Do(set %s): %v", key, err)
	}
	return reply
}

func (r *running) value(key string) string {
	r.t.Helper()
	v, _, err := r.QuorumGet(context.Background(), "/1/"+key)
	if err != nil {
		return err.Error()
	}
	return v.Node.Value
}

func (r *running) dump() []byte {
	r.t.Helper()
	var b bytes.Buffer
	if err := r.store.Dump(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.Bytes()
}

func TestFirstClientKeyHasIndexFour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		if got := r.set("foo", "bar", 0).Index; got != 4 {
			t.Errorf("the first key of a fresh member has index %d, want 4", got)
		}
		if got := r.ClusterVersion(); got != "2.3.0" {
			t.Errorf("ClusterVersion = %q, want 2.3.0", got)
		}
		m := r.Members()
		if len(m) != 1 || m[0].Name != "n1" || m[0].ClientURLs[0] != "http://127.0.0.1:2379" || m[0].ID != r.ID() {
			t.Errorf("Members = %v", m)
		}
	})
}

// A member restarted from its log alone, or from checkpoint and log, has all it
// had before; only its publishing moves the index.
func TestRestartKeepsEverything(t *testing.T) {
	for _, count := range []uint64{10000, 10} {
		t.Run(fmt.Sprintf("checkpoint every %d", count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t)
				b.tune = func(c *Config) { c.CheckpointEntries = count }
				var index uint64
				for run := range 4 {
					r := b.start()
					for i := range 25 {
						index = r.set(fmt.Sprintf("run%d/k%d", run, i), "v", 0).Index
						synctest.Wait() // lets a checkpoint happen between writes
					}
					before := r.dump()
					r.end()
					b.log.Crash()
					s, err := b.open()
					if err != nil {
						t.Fatalf("Open after run %d: %v", run, err)
					}
					if s.store.Index() > index {
						t.Errorf("index %d after the restart, want at most %d", s.store.Index(), index)
					}
					s.close()
					r = b.start()
					if got := r.store.Index(); got != index+1 {
						t.Errorf("index after the restart is %d, want %d: one more for publishing", got, index+1)
					}
					if len(r.dump()) < len(before) {
						t.Errorf("the tree has %d bytes after the restart, had %d", len(r.dump()), len(before))
					}
					if got := r.value(fmt.Sprintf("run%d/k24", run)); got != "v" {
						t.Errorf("last key after the restart: %s", got)
					}
					index = r.store.Index()
					r.end()
				}
			})
		})
	}
}

// Keys go within 50 ms of their time, and a member with nothing to do writes
// nothing, however long.
func TestExpiryIsPunctualAndIdleMembersAreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		watch, _, err := r.Watch("/1", store.WatchOptions{Recursive: true, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		defer watch.Close()
		start := time.Now()
		r.set("a", "1", 3*time.Second)
		r.set("b", "1", 3*time.Second+10*time.Millisecond)
		r.set("c", "1", 90*time.Second)
		for _, want := range []struct {
			key string
			at  time.Duration
		}{{"/1/a", 3 * time.Second}, {"/1/b", 3*time.Second + 10*time.Millisecond}, {"/1/c", 90 * time.Second}} {
			for {
				d, err := watch.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if d.Event.Action != store.Expire {
					continue
				}
				late := time.Since(start) - want.at
				if d.Event.Node.Path != want.key || late < 0 || late > expiryPause {
					t.Errorf("%s expired %v after its time, want %s within %v", d.Event.Node.Path, late, want.key, expiryPause)
				}
				break
			}
		}
		synctest.Wait() // the event comes before the position has moved
		at := r.progress.position()
		time.Sleep(time.Hour)
		synctest.Wait()
		if now := r.progress.position(); now != at {
			t.Errorf("an idle hour moved the log from %v to %v", at, now)
		}
	})
}

// More keys than one entry removes are all gone at once.
func TestMassExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		for i := range 2500 {
			r.set(fmt.Sprintf("k%d", i), "", 10*time.Second)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := r.StoreStats().ExpireCount; got != 2500 {
			t.Errorf("%d keys expired, want 2500", got)
		}
	})
}

// After a failed sync nothing is acknowledged and the member stops.
func TestFailedSyncStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		r := b.start()
		r.set("foo", "1", 0)
		b.log.FailSync(1)
		if _, err := r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/foo", Value: "2"}); err == nil {
			t.Error("a write whose sync failed was acknowledged")
		}
		if err := <-r.done; !errors.Is(err, syscall.EIO) {
			t.Errorf("Run = %v, want EIO", err)
		}
		r.stop()
	})
}

// Whoever waits when the member stops is told.
func TestStopAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		watch, _, err := r.Watch("/1/x", store.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r.end()
		if _, err := watch.Next(context.Background()); err == nil {
			t.Error("a watch outlives its member")
		}
		_, err = r.Do(context.Background(), store.Op{Action: store.Set, Path: "/1/x"})
		var e *store.Error
		if !errors.As(err, &e) || e.Cause != "etcdserver: server stopped" {
			t.Errorf("Do after the stop = %v, want server stopped", err)
		}
	})
}

// What a refused checkpoint held is in the log, and in the next checkpoint.
func TestRefusedCheckpointIsCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		var refuse error
		b.tune = func(c *Config) {
			c.CheckpointEntries = 5
			c.Checkpoints = func() (Checkpoints, error) {
				m := b.snaps.Open()
				m.Fail = func() error { return refuse }
				return memory{m}, nil
			}
		}
		r := b.start()
		refuse = syscall.ENOSPC
		for i := range 20 {
			r.set(fmt.Sprint(i), "v", 0)
			synctest.Wait()
		}
		refuse = nil
		time.Sleep(2 * checkpointRetry)
		last := r.set("last", "v", 0)
		synctest.Wait()
		r.end()
		tree, meta, err := b.snaps.Open().Load(store.Config{})
		if err != nil || meta.Index != last.RaftIndex || tree.Index() != last.Index {
			t.Errorf("the checkpoint holds raft index %d and etcd index %d, %v; want %d and %d",
				meta.Index, tree.Index(), err, last.RaftIndex, last.Index)
		}
	})
}

// A checkpoint file that cannot be trusted any more stops the member.
func TestFailedCheckpointFileStopsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.tune = func(c *Config) {
			c.CheckpointEntries = 5
			c.Checkpoints = func() (Checkpoints, error) {
				m := b.snaps.Open()
				m.Fail = func() error { return snap.ErrFailed }
				return memory{m}, nil
			}
		}
		r := b.start()
		for i := range 5 {
			r.Do(t.Context(), store.Op{Action: store.Set, Path: "/1/x", Value: fmt.Sprint(i)})
		}
		if err := <-r.done; !errors.Is(err, snap.ErrFailed) {
			t.Errorf("Run = %v, want ErrFailed", err)
		}
		r.stop()
	})
}

// A health check of a member without a leader ends, whatever patience the asker has.
func TestHealthWithoutALeaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newBed(t).open() // and not run: it elects nobody
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if err := s.Health(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Health = %v, want the deadline exceeded", err)
		}
	})
}

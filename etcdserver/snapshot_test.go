package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/snap"
	"etcd2/store"
)

// lag is a group of three whose logs are short, and a follower that is cut off
// and misses n writes.
func lag(t *testing.T, n int) (g *group, l, f int) {
	g = newGroup(t, 3)
	g.tune(func(c *Config) { c.CheckpointEntries, c.TailEntries = 10, 10 })
	g.startAll()
	l, f = g.leader(), g.follower()
	g.members[l].set("before", "v", 0)
	g.settle()
	g.isolate(f, true)
	for i := range n {
		g.members[l].set(fmt.Sprintf("k%d", i), "v", 0)
		synctest.Wait() // lets a checkpoint happen
	}
	return g, l, f
}

// A member that missed more than the log still has gets a checkpoint. Its watchers
// get every event, each once.
func TestSnapshotCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, l, f := lag(t, 0)
		defer g.endAll()
		r := g.members[f]
		synctest.Wait()
		r.checkpoint.entries = 1 << 20 // it writes one only when it has to
		w, _, err := r.Watch("/1", store.WatchOptions{Recursive: true, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for i := range 200 {
			g.members[l].set(fmt.Sprintf("k%d", i), "v", 0)
			synctest.Wait()
		}
		g.members[l].set("ttl", "v", time.Minute)
		g.isolate(f, false)
		g.settle()
		if g.wire.received() == 0 {
			t.Fatal("no checkpoint was sent")
		}
		for i := range 200 {
			d, err := w.Next(context.Background())
			if err != nil || d.Event.Node.Path != fmt.Sprintf("/1/k%d", i) {
				t.Fatalf("event %d = %+v, %v", i, d.Event, err)
			}
		}
		g.members[f].set("after", "v", 0)
		synctest.Wait()
		if meta := g.beds[f].snaps.Meta(); meta.Installed != 0 || meta.Index <= r.progress.position().RaftIndex-10 {
			t.Errorf("the checkpoint of the member is %+v, want one of its own behind the one that came", meta)
		}
		if took := r.expires("ttl"); took > time.Minute {
			t.Errorf("a TTL of a minute that came with a checkpoint took %v more", took)
		}
		g.settle()

		// From here on the member is like any other, also after a restart.
		g.crash(f)
		g.launch(f).await()
		g.settle()
	})
}

// The same with the checkpoint file as it really is, again and again, and with the
// members' restarts in between.
func TestSnapshotCatchUpWithFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.endAll()
		g.tune(func(c *Config) { c.CheckpointEntries, c.TailEntries, c.Checkpoints = 10, 10, nil })
		g.startAll()
		for round := range 3 {
			l, f := g.leader(), g.follower()
			g.isolate(f, true)
			for i := range 40 {
				g.members[l].set(fmt.Sprintf("k%d-%d", round, i), strings.Repeat("v", 1000), 0)
				synctest.Wait()
			}
			before := g.wire.received()
			g.isolate(f, false)
			g.settle()
			if g.wire.received() == before {
				t.Errorf("round %d: no checkpoint was sent", round)
			}
			g.members[l].set("x", "", 0)
			g.settle()
			g.end(f)
			g.launch(f).await()
			g.settle()
		}
	})
}

// Power fails while a checkpoint takes the place of the log, at every step of that:
// the member starts again with all it had been given.
func TestCrashDuringInstallation(t *testing.T) {
	crashes := 0
	for after := range 20 {
		synctest.Test(t, func(t *testing.T) {
			g, l, f := lag(t, 60)
			defer g.endAll()
			r := g.members[f]
			g.beds[f].log.StopAfter(after)
			g.isolate(f, false)
			select {
			case err := <-r.done:
				crashes++
				r.done <- err
			case <-time.After(5 * time.Second):
			}
			g.crash(f)
			g.launch(f).await()
			g.settle()
			if got := g.members[f].value("k59"); got != "v" {
				t.Errorf("crash after %d calls: the last key is %s, want v", after, got)
			}
			g.members[l].set("after", "v", 0)
			g.settle()
		})
	}
	if crashes < 5 {
		t.Errorf("%d of 20 crashes came about", crashes)
	}
}

// A member is told of one checkpoint at a time, and raft gets exactly the one that
// lies on the disk.
func TestReceiveSnapshotRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, l, f := lag(t, 60)
		defer g.endAll()
		r := g.members[f]
		from, err := g.members[l].OpenSnapshot(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		message := func(change func(*raftpb.SnapshotMetadata)) *raftpb.Message {
			m := &raftpb.SnapshotMetadata{Index: new(from.Index()), Term: new(from.Term()), ConfState: from.Conf()}
			change(m)
			return &raftpb.Message{
				Type: raftpb.MsgSnap.Enum(), From: new(uint64(g.members[l].id)), To: new(uint64(r.id)),
				Term: new(g.members[l].Status().Term), Snapshot: &raftpb.Snapshot{Metadata: m},
			}
		}
		send := func(m *raftpb.Message) error {
			var b bytes.Buffer
			if _, err := from.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			return r.ReceiveSnapshot(t.Context(), m, &b)
		}
		for name, change := range map[string]func(*raftpb.SnapshotMetadata){
			"index":         func(m *raftpb.SnapshotMetadata) { m.Index = new(m.GetIndex() + 1) },
			"term":          func(m *raftpb.SnapshotMetadata) { m.Term = new(m.GetTerm() + 1) },
			"configuration": func(m *raftpb.SnapshotMetadata) { m.ConfState = &raftpb.ConfState{Voters: []uint64{1}} },
		} {
			if err := send(message(change)); err == nil || !strings.Contains(err.Error(), "the checkpoint ") {
				t.Errorf("a checkpoint of another %s = %v, want a refusal", name, err)
			}
		}
		if err := r.Step(t.Context(), message(func(*raftpb.SnapshotMetadata) {})); err == nil {
			t.Error("a snapshot without a checkpoint was taken")
		}
		r.receiving.Lock()
		if err := send(message(func(*raftpb.SnapshotMetadata) {})); !errors.Is(err, errReceiving) {
			t.Errorf("a second checkpoint = %v, want errReceiving", err)
		}
		r.receiving.Unlock()
		at := r.progress.position()
		if err := send(message(func(*raftpb.SnapshotMetadata) {})); err != nil {
			t.Errorf("the right checkpoint = %v", err)
		}
		synctest.Wait()
		if now := r.progress.position(); now.RaftIndex != from.Index() || now == at {
			t.Errorf("the member is at %v, want %d", now, from.Index())
		}
		// The second time raft has no use for it, and says so to its leader.
		if err := send(message(func(*raftpb.SnapshotMetadata) {})); err != nil {
			t.Errorf("the same checkpoint again = %v", err)
		}
		if r.awaited.Load() {
			t.Error("a checkpoint is awaited that raft ignored")
		}
		g.isolate(f, false)
		g.settle()
	})
}

// A member does not fill its disk with a checkpoint; it catches up once there is
// room.
func TestNoRoomForACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		g.tune(func(c *Config) { c.CheckpointEntries, c.TailEntries, c.MinFreeBytes = 10, 10, 1<<20 })
		for _, b := range g.beds {
			b.free.Store(1 << 40)
		}
		g.startAll()
		defer g.endAll()
		l, f := g.leader(), g.follower()
		g.isolate(f, true)
		for i := range 60 {
			g.members[l].set(fmt.Sprintf("k%d", i), "v", 0)
			synctest.Wait()
		}
		g.beds[f].free.Store(0)
		time.Sleep(2 * spacePoll)
		g.isolate(f, false)
		time.Sleep(time.Minute)
		if at, want := g.members[f].progress.position(), g.members[l].progress.position(); at.RaftIndex >= want.RaftIndex {
			t.Errorf("a member without room is at %v like its leader", at)
		}
		g.beds[f].free.Store(1 << 40)
		g.settle()
	})
}

// A checkpoint that is asked for is written at once, but not twice.
func TestOpenSnapshotWritesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		at := r.set("foo", "bar", 0).RaftIndex
		for range 2 {
			c, err := r.OpenSnapshot(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if c.Index() != at || len(c.Conf().GetVoters()) != 1 || c.Size() == 0 {
				t.Errorf("a checkpoint of %d with %v, want %d", c.Index(), c.Conf(), at)
			}
			c.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.OpenSnapshot(ctx, at+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a checkpoint from the future = %v, want the deadline exceeded", err)
		}
	})
}

// A member that joins begins with nothing, and dies and begins again as it was.
func TestJoinBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, l, f := lag(t, 60)
		defer g.endAll()
		g.isolate(f, false)
		g.settle()
		leader := g.members[l]
		m := membership.NewMember("n4", []string{"http://127.0.0.1:2999"}, "", &leader.started)
		b := newBedOf(t, m, nil)
		g.beds = append(g.beds, b)
		g.members = append(g.members, nil)
		g.connect(b)
		g.tune(func(c *Config) { c.CheckpointEntries, c.TailEntries = 10, 10 })
		was := b.tune
		b.tune = func(c *Config) {
			was(c)
			c.Join, c.Remotes, c.ClusterID = true, g.beds[l].founders, leader.clusterID
		}
		r := g.launch(3)
		if got := len(r.peers.(*end).set()); got != 3 {
			t.Errorf("a member that joins reaches %d others, want 3", got)
		}
		if len(r.Members()) != 0 {
			t.Errorf("a member that joins knows %v, want nobody", r.Members())
		}
		// A crash before it has learned anything does not matter.
		g.crash(3)
		b.tune = func(c *Config) { was(c); c.ClusterID = 0 }
		r = g.launch(3)
		if got := len(r.peers.(*end).set()); got != 3 || r.clusterID != leader.clusterID {
			t.Errorf("after a crash it reaches %d others of %s, want 3", got, r.clusterID)
		}
	})
}

// A member that joins late begins with a checkpoint. While it only listens it
// serves reads that are up to date, and takes writes.
func TestJoinByCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, l, f := lag(t, 60)
		defer g.endAll()
		g.isolate(f, false)
		g.settle()
		n := g.add(l)
		g.isolate(f, true)
		r := g.launch(n)
		for range 100 {
			if g.wire.received() > 1 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := r.value("k59"); got != "v" {
			t.Errorf("a member that joined by a checkpoint reads %s, want v", got)
		}
		r.set("from", "the newcomer", 0)
		if got := g.members[l].value("from"); got != "the newcomer" {
			t.Errorf("the leader reads %s, want what was written at the newcomer", got)
		}
		g.isolate(f, false)
		r.await()
		g.settle()
		g.crash(n)
		g.launch(n).await()
		g.settle()
		if got := len(r.Members()); got != 4 {
			t.Errorf("the newcomer knows %d members, want 4", got)
		}
	})
}

// What was handed over before a checkpoint was installed is not written over it.
func TestStaleHandOverIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBed(t).start()
		defer r.end()
		r.set("foo", "bar", 0)
		c, err := r.OpenSnapshot(t.Context(), r.progress.position().RaftIndex)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		synctest.Wait()
		work := checkpointWork{era: r.checkpoint.era - 1, meta: snap.Meta{Index: c.Index() + 1, Term: c.Term()}}
		if err := r.writeCheckpoint(work); err != nil {
			t.Fatal(err)
		}
		if got := r.checkpoint.durable.position().RaftIndex; got != c.Index() {
			t.Errorf("the checkpoint is at %d, want it still at %d", got, c.Index())
		}
	})
}

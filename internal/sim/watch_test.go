package sim_test

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"etcd2/store"
)

// viewer is a client that wants to see every event of a path. It watches at one
// member, goes on at another when that one or the watch ends, and compares all it
// is told with the history: the next event it gets is always the next there is.
type viewer struct {
	c         *cluster
	path      string
	recursive bool
	stream    bool // else it asks for one event at a time
	choosy    bool // stays away for a while before it goes on, so that histories end without it

	next    uint64   // the events from this index on are still to be seen; 0 before the first watch
	at      *machine // where it watches; nil between two watches
	life    int      // of that machine
	watcher *store.Watcher

	seen, cleared, resumed int
}

// newViewers are watches of all kinds.
func newViewers(c *cluster) []*viewer {
	return []*viewer{
		{c: c, path: "/1/a", stream: true},
		{c: c, path: "/1/b"},
		{c: c, path: "/1", recursive: true, stream: true, next: 1},
		{c: c, path: "/1/d", recursive: true, stream: true},
		{c: c, path: "/1/_h", stream: true},
		{c: c, path: "/1", recursive: true, choosy: true},
		{c: c, path: "/", recursive: true, stream: true, choosy: true},
	}
}

// turn takes what is there, or finds a member to watch at.
func (v *viewer) turn() {
	if v.at != nil && (!v.at.up || v.at.life != v.life) {
		v.at = nil // and what was queued is gone
	}
	if v.at == nil {
		v.watch()
		return
	}
	for n := v.c.rng.IntN(8); n >= 0; n-- {
		if !v.take() {
			return
		}
	}
	if v.c.rng.IntN(100) == 0 { // the client leaves
		v.watcher.Close()
		v.at = nil
	}
}

// watch begins a watch where the last one ended.
func (v *viewer) watch() {
	m := v.c.anyone()
	if v.c.mended {
		members := v.c.members()
		m = members[v.c.rng.IntN(len(members))]
	}
	if !m.up || m.excluded || v.choosy && v.c.rng.IntN(30) > 0 && !v.c.mended {
		return
	}
	w, err := m.store().Watch(v.path, store.WatchOptions{Recursive: v.recursive, Stream: v.stream, Since: v.next})
	var refusal *store.Error
	switch {
	case err == nil:
		v.c.trace("watch", m.id, v.next)
		if v.next == 0 {
			v.next = w.Index() + 1
		} else {
			v.resumed++
		}
		v.at, v.life, v.watcher = m, m.life, w
	case errors.As(err, &refusal) && refusal.Code == store.EventCleared:
		if m.store().Index() < v.next+historyEvents {
			v.c.Fatalf("member %d at index %d has no event %d any more", m.id, m.store().Index(), v.next)
		}
		v.cleared++
		v.next = 0 // it reads the keys and begins anew
	default:
		v.c.Fatalf("member %d does not let %s be watched from %d: %v", m.id, v.path, v.next, err)
	}
}

// take takes one event, and tells whether there was one.
func (v *viewer) take() bool {
	d, err := v.watcher.Poll()
	switch {
	case errors.Is(err, io.EOF):
		v.at = nil
		return false
	case err != nil:
		v.c.Fatalf("watch of %s: %v", v.path, err)
	case d == nil:
		return false
	}
	want := v.upcoming()
	if want == nil || !bytes.Equal(want.AppendBinary(nil), d.Event.AppendBinary(nil)) {
		v.c.Fatalf("a watch of %s from %d at member %d gets %+v, want %+v", v.path, v.next, v.at.id, d.Event, want)
	}
	v.seen++
	v.next = want.Index() + 1
	v.c.trace("event", v.at.id, want.Index())
	return true
}

// upcoming is the next event to be seen, nil when there is none yet.
func (v *viewer) upcoming() *store.Event {
	for i := max(v.next, 1) - 1; i < uint64(len(v.c.history.events)); i++ {
		if ev := &v.c.history.events[i]; v.wants(ev) {
			return ev
		}
	}
	return nil
}

func (v *viewer) wants(ev *store.Event) bool {
	path := ev.Node.Path
	if ev.Refresh {
		return false
	}
	rest, below := strings.CutPrefix(path, strings.TrimSuffix(v.path, "/")+"/")
	return path == v.path || v.recursive && below && !strings.HasPrefix(rest, "_") && !strings.Contains(rest, "/_")
}

// end sees what is left of a cluster that has come to rest.
func (v *viewer) end() {
	if v.at != nil && (v.at.excluded || !v.c.history.roster.knows(v.at.id)) {
		v.at = nil
	}
	for range 10_000 {
		if v.at != nil && v.at.up && v.at.life == v.life && v.upcoming() == nil && v.next != 0 && !v.take() {
			return
		}
		v.turn()
	}
	v.c.Fatalf("a watch of %s has seen the events before %d, and waits in vain for %+v", v.path, v.next, v.upcoming())
}

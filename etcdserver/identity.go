package etcdserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	peerid "etcd2/identity"
	"etcd2/localstate"
	"etcd2/membership"
	"etcd2/snap"
	"etcd2/wal"
)

// flushPeriod is how often newer knowledge of the members in contact is made durable.
const flushPeriod = 10 * time.Second

// standing is what this member and the others know of each other.
type standing struct {
	local   *localstate.File
	who     peerid.Identity // what does not change during this run
	durable durable
	meeting sync.Mutex // held while it is decided about a member that presents itself

	mu         sync.Mutex // guards the fields below
	generation string
	fresh      map[membership.ID]peerid.Seen // newer than local, of the session that local has
	refuses    map[membership.ID]string      // members that this one refuses, and why
	refusedBy  map[membership.ID]string      // members that refuse this one, and why
}

// durable is what the log holds for certain. commit is that of the hard states that were
// saved, not the one raft has in mind: raft may know entries to be committed that are to
// replace a tail of the log and are not written yet, and a crash in the midst of that
// leaves a shorter log.
type durable struct{ term, last, commit atomic.Uint64 }

// committed is the last entry that is committed and that the log holds, whatever happens.
func (d *durable) committed() uint64 { return min(d.commit.Load(), d.last.Load()) }

// notedLog is a log that notes what of it is durable.
type notedLog struct {
	patientLog
	durable *durable
}

// Save saves and takes note.
func (l notedLog) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	err := l.patientLog.Save(hard, entries)
	if err != nil {
		return err
	}
	if n := len(entries); n > 0 {
		l.durable.last.Store(entries[n-1].GetIndex())
	}
	if hard != nil {
		l.durable.term.Store(hard.GetTerm())
		l.durable.commit.Store(max(l.durable.commit.Load(), hard.GetCommit()))
	}
	return nil
}

// Restart restarts and takes note. The checkpoint holds everything up to index.
func (l notedLog) Restart(index, term uint64) error {
	err := l.patientLog.Restart(index, term)
	if err == nil {
		l.durable.last.Store(index)
		l.durable.commit.Store(max(l.durable.commit.Load(), index))
	}
	return err
}

func (c Config) localConfig() localstate.Config {
	return localstate.Config{Dir: filepath.Join(c.Dir, "member"), FS: c.FS}
}

// openLocal opens what this member keeps for itself. A directory of an earlier version
// gets it here.
func (s *Server) openLocal() error {
	local, err := localstate.Open(s.cfg.localConfig())
	if errors.Is(err, localstate.ErrDamaged) || errors.Is(err, localstate.ErrLaterVersion) {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	s.standing.local = local
	return err
}

// beginSession counts this start and makes the member's identity, durably, before any
// other member hears of it. joins says that the member learns its log from a cluster.
func (s *Server) beginSession(found wal.State, meta snap.Meta, joins bool) error {
	st := &s.standing
	if joins && st.local.State().Starts == 0 {
		generation := cmp.Or(s.cfg.Generation, peerid.Joining)
		if err := st.local.Update(func(state *localstate.State) { state.Generation = generation }); err != nil {
			return err
		}
	}
	session, err := st.local.Begin()
	if err != nil {
		return err
	}
	state := st.local.State()
	st.who = peerid.Identity{Incarnation: state.Incarnation, Start: state.Starts, Session: session}
	st.generation = state.Generation
	st.fresh, st.refuses, st.refusedBy = map[membership.ID]peerid.Seen{}, map[membership.ID]string{}, map[membership.ID]string{}
	st.durable.term.Store(found.Hard.GetTerm())
	st.durable.commit.Store(max(meta.Index, found.Hard.GetCommit()))
	st.durable.last.Store(max(meta.Index, found.PrevIndex+uint64(len(found.Entries))))
	return nil
}

// Identity is what this member tells the others of itself.
func (s *Server) Identity() peerid.Identity {
	st := &s.standing
	who := st.who
	who.Committed = st.durable.committed()
	who.Term, who.Last = st.durable.term.Load(), max(st.durable.last.Load(), who.Committed)
	st.mu.Lock()
	defer st.mu.Unlock()
	who.Generation = st.generation
	return who
}

// Seen is what was seen of another member.
func (s *Server) Seen(id membership.ID) peerid.Seen {
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	if fresh, ok := st.fresh[id]; ok {
		return fresh
	}
	return st.local.Seen(uint64(id))
}

// Meet decides whether a member that presents itself is the one that was met before.
// A process that was not seen yet is recorded durably; of one that was, what is new is
// made durable soon.
func (s *Server) Meet(id membership.ID, who peerid.Identity) error {
	st := &s.standing
	st.meeting.Lock() // of two processes that come at a time, one is the second
	defer st.meeting.Unlock()
	seen := s.Seen(id)
	if err := seen.Check(who); err != nil {
		st.mu.Lock()
		st.refuses[id] = err.Error()
		st.mu.Unlock()
		return err
	}
	if err := s.adopt(who.Generation); err != nil {
		return err
	}
	next := seen.With(who, 0)
	if who.Known() && next.Session != seen.Session {
		err := st.local.Update(func(state *localstate.State) { state.Seen[uint64(id)] = next })
		if err != nil {
			return err
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.refuses, id)
	st.note(id, who)
	return nil
}

// adopt takes over the generation of the cluster that this member joins.
func (s *Server) adopt(generation string) error {
	st := &s.standing
	st.mu.Lock()
	joining := st.generation == peerid.Joining
	st.mu.Unlock()
	if !joining || generation == peerid.Joining {
		return nil
	}
	if err := st.local.Update(func(state *localstate.State) { state.Generation = generation }); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.generation = generation
	return nil
}

// Note takes in how far a member in contact has come.
func (s *Server) Note(id membership.ID, who peerid.Identity) {
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	st.note(id, who)
}

// note is Note. What does not belong to the session that is on the disk is left out: a
// handshake decides about it. The caller holds mu.
func (st *standing) note(id membership.ID, who peerid.Identity) {
	seen, ok := st.fresh[id]
	if kept := st.local.Seen(uint64(id)); !ok || seen.Session != kept.Session {
		seen = kept
	}
	if who.Known() && seen.Session == who.Session && seen.Check(who) == nil {
		st.fresh[id] = seen.With(who, 0)
	}
}

// RefusedBy is told that another member refuses this one, and with an empty reason
// that it does not any more.
func (s *Server) RefusedBy(id membership.ID, reason string) {
	st := &s.standing
	st.mu.Lock()
	if reason == "" {
		delete(st.refusedBy, id)
	} else {
		st.refusedBy[id] = reason
	}
	st.mu.Unlock()
	if reason == "" {
		s.notices.withdraw(id)
	}
}

// outcast is why this member cannot take part: another member refuses it, and it has no
// leader. nil while it has one.
func (s *Server) outcast() error {
	if s.node.Status().Leader != 0 {
		return nil
	}
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(st.refusedBy)) {
		if _, listed := s.cluster.Load().Member(id); listed {
			return fmt.Errorf("member %s refuses this member: %s", id, st.refusedBy[id])
		}
	}
	return nil
}

// excluded are the members that this one refuses, and why.
func (s *Server) excluded() map[membership.ID]string {
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	excluded := map[membership.ID]string{}
	for id, reason := range st.refuses {
		if _, listed := s.cluster.Load().Member(id); listed {
			excluded[id] = reason
		}
	}
	return excluded
}

// keepSeen makes what is new about the other members durable now and then, until ctx
// ends, and then once more.
func (s *Server) keepSeen(ctx context.Context) error {
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flushSeen()
			return nil
		case <-tick.C:
			s.flushSeen()
		}
	}
}

// flushSeen writes nothing when nothing has changed. When it fails, less is known after
// the next start.
func (s *Server) flushSeen() {
	st := &s.standing
	st.mu.Lock()
	fresh := maps.Clone(st.fresh)
	st.mu.Unlock()
	err := st.local.Update(func(state *localstate.State) {
		for id, seen := range fresh {
			if state.Seen[uint64(id)].Session == seen.Session {
				state.Seen[uint64(id)] = seen
			}
		}
	})
	if err != nil {
		s.log.Warn("what was seen of the other members is not recorded", "error", err)
	}
}

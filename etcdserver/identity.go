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
	"time"

	"etcd2/identity"
	"etcd2/localstate"
	"etcd2/membership"
	"etcd2/snap"
	"etcd2/wal"
)

// flushPeriod is how often newer knowledge of the members in contact is made durable.
const flushPeriod = 10 * time.Second

// identities is what this member and the others know about each other.
type identities struct {
	who     identity.Identity // the parts that do not change during this run
	durable durable
	meeting sync.Mutex // held while the identity of another member is checked and recorded

	mu         sync.Mutex // guards the fields below
	generation string
	fresh      map[membership.ID]identity.Seen // newer than in Server.local, of the same session
	refuses    map[membership.ID]string        // members that this one refuses, and why
	refusedBy  map[membership.ID]string        // members that refuse this one, and why
}

func (c Config) localConfig() localstate.Config {
	return localstate.Config{Dir: filepath.Join(c.Dir, "member"), FS: c.FS}
}

// openLocal opens the local state. A data directory of an earlier version gets one.
func (s *Server) openLocal() error {
	local, err := localstate.Open(s.cfg.localConfig())
	if errors.Is(err, localstate.ErrDamaged) || errors.Is(err, localstate.ErrLaterVersion) {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	s.local = local
	return err
}

// beginSession counts this start and makes the identity of this run. Both are durable
// before another member hears of them. joins is true if the member learns its log from a
// running cluster.
func (s *Server) beginSession(found wal.State, meta snap.Meta, joins bool) error {
	ids := &s.identities
	if joins && s.local.State().Starts == 0 {
		generation := cmp.Or(s.cfg.Generation, identity.Joining)
		if err := s.local.SetGeneration(generation); err != nil {
			return err
		}
	}
	session, err := s.local.Begin()
	if err != nil {
		return err
	}
	state := s.local.State()
	ids.who = identity.Identity{Incarnation: state.Incarnation, Start: state.Starts, Session: session, Past: state.Past()}
	ids.generation = state.Generation
	ids.fresh, ids.refuses, ids.refusedBy = map[membership.ID]identity.Seen{}, map[membership.ID]string{}, map[membership.ID]string{}
	ids.durable.term.Store(found.Hard.GetTerm())
	ids.durable.commit.Store(max(meta.Index, found.Hard.GetCommit()))
	ids.durable.last.Store(max(meta.Index, found.PrevIndex+uint64(len(found.Entries))))
	return nil
}

// Identity is what this member tells others about itself.
func (s *Server) Identity() identity.Identity {
	ids := &s.identities
	who := ids.who
	who.Committed = ids.durable.committed()
	who.Term, who.Last = ids.durable.term.Load(), max(ids.durable.last.Load(), who.Committed)
	ids.mu.Lock()
	defer ids.mu.Unlock()
	who.Generation = ids.generation
	return who
}

// Seen is what is known about another member.
func (s *Server) Seen(id membership.ID) identity.Seen {
	ids := &s.identities
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if fresh, ok := ids.fresh[id]; ok {
		return fresh
	}
	return s.local.Seen(uint64(id))
}

// Meet checks the identity of another member. A session that was not seen yet is recorded
// durably before Meet returns; what is new about a known one is recorded within
// flushPeriod.
func (s *Server) Meet(id membership.ID, who identity.Identity) error {
	ids := &s.identities
	ids.meeting.Lock() // of two processes with one ID that come at a time, the second is refused
	defer ids.meeting.Unlock()
	seen := s.Seen(id)
	if err := seen.Check(who); err != nil {
		ids.mu.Lock()
		ids.refuses[id] = err.Error()
		ids.mu.Unlock()
		return err
	}
	if err := s.adopt(who.Generation); err != nil {
		return err
	}
	next := seen.With(who, 0)
	if who.Known() && next.Session != seen.Session {
		err := s.local.Update(func(state *localstate.State) { state.Seen[uint64(id)] = next })
		if err != nil {
			return err
		}
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	delete(ids.refuses, id)
	s.note(id, who)
	return nil
}

// adopt records the generation of the cluster that this member joins.
func (s *Server) adopt(generation string) error {
	ids := &s.identities
	ids.mu.Lock()
	joining := ids.generation == identity.Joining
	ids.mu.Unlock()
	if !joining || generation == identity.Joining {
		return nil
	}
	if err := s.local.SetGeneration(generation); err != nil {
		return err
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.generation = generation
	return nil
}

// Note records the newest identity of a connected member.
func (s *Server) Note(id membership.ID, who identity.Identity) {
	s.identities.mu.Lock()
	defer s.identities.mu.Unlock()
	s.note(id, who)
}

// note is Note. An identity of another session than the recorded one is left out: a
// handshake decides about it. The caller holds identities.mu.
func (s *Server) note(id membership.ID, who identity.Identity) {
	ids := &s.identities
	seen, ok := ids.fresh[id]
	if kept := s.local.Seen(uint64(id)); !ok || seen.Session != kept.Session {
		seen = kept
	}
	if who.Known() && seen.Session == who.Session && seen.Check(who) == nil {
		ids.fresh[id] = seen.With(who, 0)
	}
}

// RefusedBy is told that another member refuses this one, and with an empty reason
// that it does not any more.
func (s *Server) RefusedBy(id membership.ID, reason string) {
	ids := &s.identities
	ids.mu.Lock()
	if reason == "" {
		delete(ids.refusedBy, id)
	} else {
		ids.refusedBy[id] = reason
	}
	ids.mu.Unlock()
	if reason == "" {
		s.notices.withdraw(id)
		s.recordAccepted(id)
	}
}

// recordAccepted records that a member has accepted this session. After many starts this
// shows that member that the data directory is not an older copy.
func (s *Server) recordAccepted(id membership.ID) {
	err := s.local.Update(func(state *localstate.State) {
		state.Accepted[uint64(id)] = s.identities.who.Session
		maps.DeleteFunc(state.Accepted, func(id uint64, _ string) bool { return s.Removed(membership.ID(id)) })
	})
	if err != nil {
		s.log.Warn("it is not recorded that a member has accepted this one", "member", id, "error", err)
	}
}

// refusedByPeers returns an error while other members refuse this one and it has no
// leader.
func (s *Server) refusedByPeers() error {
	if s.node.Status().Leader != 0 {
		return nil
	}
	ids := &s.identities
	ids.mu.Lock()
	defer ids.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(ids.refusedBy)) {
		if _, listed := s.cluster.Load().Member(id); listed {
			return fmt.Errorf("member %s refuses this member: %s", id, ids.refusedBy[id])
		}
	}
	return nil
}

// excluded returns the members that this one refuses, and why.
func (s *Server) excluded() map[membership.ID]string {
	ids := &s.identities
	ids.mu.Lock()
	defer ids.mu.Unlock()
	excluded := map[membership.ID]string{}
	for id, reason := range ids.refuses {
		if _, listed := s.cluster.Load().Member(id); listed {
			excluded[id] = reason
		}
	}
	return excluded
}

// recordSeen makes what is new about the other members durable every flushPeriod until
// ctx ends, and then once more.
func (s *Server) recordSeen(ctx context.Context) error {
	periodically(ctx, flushPeriod, s.flushSeen)
	return nil
}

// periodically calls do in every period until ctx ends, and then once more.
func periodically(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			do()
			return
		case <-tick.C:
			do()
		}
	}
}

// flushSeen makes what is new about the other members durable. When it fails, less is
// known after the next start.
func (s *Server) flushSeen() {
	ids := &s.identities
	ids.mu.Lock()
	fresh := maps.Clone(ids.fresh)
	ids.mu.Unlock()
	err := s.local.Update(func(state *localstate.State) {
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

package etcdserver

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/snap"
	"etcd2/wal"
)

// forceNewCluster makes this member the only one of its cluster, with all it has:
// it declares its log committed and appends the removal of everybody else. The
// members that are left out cannot come back: their IDs are taken.
//
// Entries that were not known to be committed are kept. A log learns only with its
// next write that the one before was committed, so they may have been
// acknowledged, and clients that got no answer were told that their writes may
// still happen. Only an own removal ends the log that is kept.
func (s *Server) forceNewCluster(found *wal.State, meta snap.Meta) error {
	view, err := membership.Read(treeReader{s.store})
	if err != nil {
		return err
	}
	if view.Removed(s.id) {
		return ErrRemoved
	}
	if err := s.beginLogAt(found, meta); err != nil {
		return err
	}
	c, err := s.takeCensus(found, meta)
	if err != nil {
		return err
	}
	base := found.PrevIndex
	if cut := int(c.end - base); cut < len(found.Entries) {
		s.log.Warn(fmt.Sprintf("discarding %d uncommitted WAL entries ", len(found.Entries)-cut))
		found.Entries = found.Entries[:cut]
	}
	if unsure := int64(c.end) - int64(max(found.Hard.GetCommit(), meta.Index)); unsure > 0 {
		s.log.Info("keeping log entries that may not have been committed", "entries", unsure)
	}
	term := max(found.Hard.GetTerm(), meta.Term) + 1 // nobody else has an entry of this term
	forced, err := s.forcedEntries(c, term)
	if err != nil {
		return err
	}
	found.Entries = append(found.Entries, forced...)
	last := base + uint64(len(found.Entries))
	found.Hard = &raftpb.HardState{Term: proto.Uint64(term), Vote: proto.Uint64(uint64(s.id)), Commit: proto.Uint64(last)}
	if err := s.wal.Save(found.Hard, forced); err != nil {
		return err
	}
	s.hints = nil
	s.log.Info(fmt.Sprintf("forcing restart of member %s in cluster %s at commit index %d", s.id, s.clusterID, last))
	return nil
}

// beginLogAt has the log begin at a checkpoint of another member that it does not
// reach or contradicts, as after a crash in the midst of the installation.
func (s *Server) beginLogAt(found *wal.State, meta snap.Meta) error {
	term, within := found.PrevTerm, meta.Index-found.PrevIndex
	switch {
	case within > uint64(len(found.Entries)):
		term = 0 // not there
	case within > 0:
		term = found.Entries[within-1].GetTerm()
	}
	if term == meta.Term {
		return nil
	}
	found.PrevIndex, found.PrevTerm, found.Entries = meta.Index, meta.Term, nil
	return s.wal.Restart(meta.Index, meta.Term)
}

// census is who belongs to the cluster at the end of a log, and where that is.
// Changes that are refused when they are applied count as if they were not; a
// removal too many is refused in turn.
type census struct {
	votes map[membership.ID]bool // of each member; false for one that listens
	end   uint64                 // raft index of the last entry to keep
}

func (s *Server) takeCensus(found *wal.State, meta snap.Meta) (census, error) {
	c := census{votes: map[membership.ID]bool{}, end: found.PrevIndex + uint64(len(found.Entries))}
	conf, err := confOf(meta)
	if err != nil {
		return c, fmt.Errorf("%w: %s: %w", ErrDataDir, s.cfg.checkpointDir(), err)
	}
	for _, id := range conf.GetVoters() {
		c.votes[membership.ID(id)] = true
	}
	for _, id := range conf.GetLearners() {
		c.votes[membership.ID(id)] = false
	}
	for _, e := range found.Entries {
		if e.GetIndex() <= meta.Index || e.GetType() != raftpb.EntryType_EntryConfChange {
			continue
		}
		cc, ctx, err := decodeChange(e.GetData())
		if err != nil {
			return c, err
		}
		switch kind := cc.GetType(); {
		case kind == raftpb.ConfChangeType_ConfChangeAddNode:
			c.votes[ctx.ID] = true
		case kind == raftpb.ConfChangeType_ConfChangeAddLearnerNode && !c.votes[ctx.ID]:
			c.votes[ctx.ID] = false
		case kind == raftpb.ConfChangeType_ConfChangeRemoveNode && ctx.ID != s.id:
			delete(c.votes, ctx.ID)
		case kind == raftpb.ConfChangeType_ConfChangeRemoveNode && e.GetIndex() > found.Hard.GetCommit() && len(c.votes) > 1:
			c.end = e.GetIndex() - 1
			return c, nil // a member that is alone has committed it
		}
	}
	return c, nil
}

// forcedEntries give this member a vote, unless it has one, and remove all others,
// in this order: raft cannot be without a voter.
func (s *Server) forcedEntries(c census, term uint64) ([]*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	add := func(kind raftpb.ConfChangeType, m memberRecord) error {
		e, err := changeEntry(kind, m, term, c.end+1+uint64(len(entries)))
		entries = append(entries, e)
		return err
	}
	if !c.votes[s.id] {
		if err := add(raftpb.ConfChangeType_ConfChangeAddNode, s.ownRecord()); err != nil {
			return nil, err
		}
	}
	delete(c.votes, s.id)
	var others []membership.ID
	for id := range c.votes {
		others = append(others, id)
	}
	slices.Sort(others)
	for _, id := range others {
		if err := add(raftpb.ConfChangeType_ConfChangeRemoveNode, memberRecord{ID: id}); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// ownRecord is this member as it would be added. Its peer URLs count only when
// the log does not have them, which ends before it was added; they may be updated
// once the cluster runs.
func (s *Server) ownRecord() memberRecord {
	for _, h := range s.hints {
		if h.ID == s.id {
			return h
		}
	}
	return memberRecord{ID: s.id, Name: s.cfg.Name, PeerURLs: []string{"http://localhost:2380"}}
}

package etcdserver

import (
	"fmt"

	"etcd2/etcdserver/replica"
	"etcd2/localstate"
	"etcd2/snap"
	"etcd2/wal"
)

// forceNewCluster makes this member the only one of its cluster, see
// replica.ForcedLog.
func (s *Server) forceNewCluster(found *wal.State, meta snap.Meta) error {
	if s.replica.Cluster().Removed(s.id) {
		return ErrRemoved
	}
	if err := s.beginLogAt(found, meta); err != nil {
		return err
	}
	// Before the log: a log that is forced must never meet the others as the old cluster.
	generation := localstate.NewGeneration()
	if err := s.standing.local.Update(func(state *localstate.State) { state.Generation = generation }); err != nil {
		return err
	}
	at := s.replica.Position()
	forced, err := replica.ForcedLog(replica.Log{
		Hard: found.Hard, Entries: found.Entries, PrevIndex: found.PrevIndex,
		Applied: at, AppliedConf: s.replica.Conf(), Self: s.ownRecord(),
	})
	if err != nil {
		return err
	}
	if forced.Drop > 0 {
		s.log.Warn(fmt.Sprintf("discarding %d uncommitted WAL entries ", forced.Drop))
		found.Entries = found.Entries[:len(found.Entries)-forced.Drop]
	}
	if forced.Unsure > 0 {
		s.log.Info("keeping log entries that may not have been committed", "entries", forced.Unsure)
	}
	found.Entries, found.Hard = append(found.Entries, forced.Entries...), forced.Hard
	if err := s.wal.Save(forced.Hard, forced.Entries); err != nil {
		return err
	}
	s.hints = nil
	s.log.Info(fmt.Sprintf("forcing restart of member %s in cluster %s at commit index %d", s.id, s.clusterID, forced.Hard.GetCommit()))
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

// ownRecord is this member as it would be added. Its peer URLs count only when
// the log does not have them, which ends before it was added; they may be updated
// once the cluster runs.
func (s *Server) ownRecord() replica.MemberRecord {
	for _, h := range s.hints {
		if h.ID == s.id {
			return h
		}
	}
	return replica.MemberRecord{ID: s.id, Name: s.cfg.Name, PeerURLs: []string{"http://localhost:2380"}}
}

package etcdserver

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/internal/disk"
	"etcd2/localstate"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/snap"
	"etcd2/store"
	"etcd2/version"
	"etcd2/wal"
)

// ErrDataDir marks a data directory that this member must not run on. The text
// says what is wrong and what to do.
var ErrDataDir = errors.New("etcdserver: data directory cannot be used")

// Open opens the data directory and readies the member without starting it: it
// bootstraps the founding members into an empty directory, or restarts from the
// checkpoint and log found there. Nothing is changed when it returns an error
// about what it found.
func Open(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkDir(cfg.Dir); err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Server{
		cfg: cfg, log: cfg.Logger, started: now, received: meter{at: now}, sent: meter{at: now},
		waiters: newWaiters(), expiry: newExpiry(), checkpoint: newCheckpointer(cfg), space: newSpace(cfg),
		agreement: newAgreement(cfg.AgreementInterval),
		announced: make(chan struct{}), stopping: make(chan struct{}), ended: make(chan error, 1),
		newRole: newBell(), newConf: newBell(), changing: make(chan struct{}, 1), decided: make(chan struct{}),
		returned: newReturned(), refusals: make(chan refusal, refusalsMax), notices: notices{contact: now},
	}
	if err := s.open(); err != nil {
		s.abandon()
		return nil, err
	}
	s.space.read()
	return s, nil
}

// checkDir makes the data directory and tries whether it can be written to, so
// that a wrong owner is told here and not as a failed write later.
func checkDir(dir string) error {
	if err := disk.OS().MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot access data directory: %w", err)
	}
	probe := filepath.Join(dir, ".touch")
	err := os.WriteFile(probe, nil, 0o600)
	if err == nil {
		err = os.Remove(probe)
		if errors.Is(err, os.ErrNotExist) {
			err = nil // another process that starts here was faster; the locks tell of it
		}
	}
	if err != nil {
		return fmt.Errorf("cannot write to data directory: %w", err)
	}
	return nil
}

func (s *Server) open() error {
	md, found, meta, err := s.read()
	if err != nil {
		return err
	}
	s.id, s.clusterID = md.Member, md.Cluster
	s.hints = slices.Concat(md.Founders, md.Remotes)
	for _, m := range md.Remotes {
		s.joinedAt = append(s.joinedAt, m.ID)
	}
	if err := s.makeReplica(meta); err != nil {
		return err
	}
	empty := len(found.Entries) == 0 && found.PrevIndex == 0 && meta.Index == 0
	// A member that joins has nothing to write: it learns all from the leader.
	founding := empty && len(md.Founders) > 0
	if !empty {
		if err := s.checkFit(found, meta); err != nil {
			return err
		}
	}
	if err := s.openLocal(); err != nil {
		return err
	}
	if founding {
		if found.Entries, found.Hard, err = s.bootstrap(md.Founders); err != nil {
			return err
		}
	}
	if empty {
		s.log.Info(fmt.Sprintf("starting member %s in cluster %s", s.id, s.clusterID))
	} else {
		if meta.Index > 0 {
			s.log.Info("recovered store from checkpoint", "index", meta.Index, "nodes", meta.Nodes)
		}
		if s.cfg.ForceNewCluster {
			err = s.forceNewCluster(&found, meta)
		} else {
			s.log.Info(fmt.Sprintf("restarting member %s in cluster %s at commit index %d", s.id, s.clusterID, found.Hard.GetCommit()))
		}
		if err != nil {
			return err
		}
		// Only a leader adds to the entries that a cluster begins with.
		s.hadLeader.Store(meta.Index > 0 || len(found.Entries) > len(md.Founders))
	}
	if err := s.beginSession(found, meta, empty && !founding); err != nil {
		return err
	}
	return s.restore(found, meta, founding)
}

// read opens log and checkpoint and reads both at a time where there is something
// to read. When both are at fault the error is that of the log.
func (s *Server) read() (md metadata, found wal.State, meta snap.Meta, err error) {
	exists, err := wal.Exists(s.logConfig())
	if err != nil {
		return md, found, meta, err
	}
	if !exists {
		if md, err = s.createLog(); err != nil {
			return md, found, meta, err
		}
	}
	// Where there is a log, the checkpoint is locked before it. In any order that is
	// left to chance, of two processes that start at a time neither may get both.
	unopened := s.openCheckpoint()
	if !exists || errors.Is(unopened, snap.ErrLocked) {
		if err = unopened; err == nil {
			meta, err = s.loadCheckpoint()
		}
		return md, found, meta, err
	}
	load := sync.OnceValue(func() error {
		if unopened != nil {
			return unopened
		}
		var err error
		meta, err = s.loadCheckpoint()
		return err
	})
	go load() // whose outcome is waited for below
	md, found, err = s.openLog()
	if e := load(); err == nil {
		err = e
	}
	return md, found, meta, err
}

func (s *Server) openCheckpoint() error {
	checkpoints, err := s.cfg.Checkpoints()
	if err == nil {
		s.snap = checkpoints
	}
	return err
}

func (s *Server) loadCheckpoint() (snap.Meta, error) {
	tree, meta, err := s.snap.Load(store.Config{HistoryEvents: s.cfg.HistoryEvents})
	s.store = tree
	return meta, err
}

func (s *Server) logConfig() wal.Config {
	return wal.Config{Dir: s.cfg.WALDir, FS: s.cfg.FS, Logger: s.log, OnSync: s.observeSync}
}

// openLog opens the log of a member that was founded before.
func (s *Server) openLog() (metadata, wal.State, error) {
	log, found, err := wal.Open(s.logConfig())
	if err != nil {
		return metadata{}, wal.State{}, err
	}
	s.wal = log
	md, err := decodeMetadata(found.Metadata)
	if err != nil {
		return metadata{}, wal.State{}, fmt.Errorf("%w: %s: %w", ErrDataDir, s.cfg.WALDir, err)
	}
	return md, found, nil
}

// createLog makes the log of a member that founds or joins a cluster.
func (s *Server) createLog() (metadata, error) {
	if err := s.cfg.CheckUnused(); err != nil {
		return metadata{}, err
	}
	md, err := newMetadata(s.cfg)
	if err != nil {
		return metadata{}, err
	}
	encoded, err := json.Marshal(md)
	if err != nil {
		return metadata{}, err
	}
	s.wal, err = wal.Create(s.logConfig(), encoded)
	return md, err
}

// CheckUnused refuses a data directory without a log in which a member has kept its
// data before. The log is the first file that a member makes, so it is elsewhere or
// lost. Open does this before it founds or joins a cluster; whoever makes promises
// to others before that asks first. It needs Dir and WALDir only.
func (c Config) CheckUnused() error {
	dir := c.checkpointDir()
	found, err := snap.Exists(dir)
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("%w: %s holds a checkpoint, but there is no log in %s; start with the --wal-dir it was made with, or restore the log from a backup",
			ErrDataDir, dir, c.WALDir)
	}
	local, err := localstate.Exists(c.localConfig())
	if err != nil {
		return err
	}
	if local {
		return fmt.Errorf("%w: %s belongs to a member whose log is not in %s; start with the --wal-dir it was made with, restore the log from a backup, "+
			"or remove the member from its cluster and add it again with an empty data directory",
			ErrDataDir, filepath.Join(c.localConfig().Dir, localstate.FileName), c.WALDir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot read the checkpoint directory, check owner and mode: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name == "db" || strings.HasSuffix(name, ".snap") {
			return fmt.Errorf("%w: %s is data of another etcd; give this member a directory of its own",
				ErrDataDir, filepath.Join(dir, name))
		}
	}
	return nil
}

func (s *Server) observeSync(took time.Duration, _ int64) { observe(s.cfg.Observe.LogSync, took) }

// bootstrap writes the first entries of a cluster: one for each founding
// member, the same on every one of them.
func (s *Server) bootstrap(founders []replica.MemberRecord) ([]*raftpb.Entry, *raftpb.HardState, error) {
	entries, hard, err := replica.FoundingLog(founders)
	if err == nil {
		err = s.wal.Save(hard, entries)
	}
	return entries, hard, err
}

// checkFit checks that checkpoint and log belong together, so that what is served
// is the whole of what was acknowledged.
//
// A checkpoint that came from another member is put into place before the log is
// begun anew behind it, and a crash in between leaves a log that ends before the
// checkpoint, or holds something else there. That is in order, and raftnode.NewCore
// catches up on it, but it looks like lost log files. What tells them apart is the
// mark in the checkpoint, which goes with the first checkpoint of our own; and that
// one is taken with the first entry behind it. So log files that are lost are only
// mistaken for a crash when they hold no more than what was applied in that moment.
func (s *Server) checkFit(found wal.State, meta snap.Meta) error {
	last := found.PrevIndex + uint64(len(found.Entries))
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s; restore the directory from a backup, or remove it and add the member to its cluster again",
			ErrDataDir, fmt.Sprintf(format, args...))
	}
	switch {
	case meta.Index > 0 && (meta.MemberID != uint64(s.id) || meta.ClusterID != uint64(s.clusterID)):
		return refuse("the checkpoint in %s is of member %s in cluster %s, the log in %s of member %s in cluster %s",
			s.cfg.checkpointDir(), membership.ID(meta.MemberID), membership.ID(meta.ClusterID), s.cfg.WALDir, s.id, s.clusterID)
	case found.PrevIndex > meta.Index:
		return refuse("the log in %s begins after entry %d, but the checkpoint in %s ends at entry %d, so what lies between is missing",
			s.cfg.WALDir, found.PrevIndex, s.cfg.checkpointDir(), meta.Index)
	case meta.Installed > 0:
		return nil
	case last < meta.Index:
		return refuse("the log in %s ends at entry %d, before the checkpoint in %s at entry %d, so log files are missing",
			s.cfg.WALDir, last, s.cfg.checkpointDir(), meta.Index)
	}
	term := found.PrevTerm
	if meta.Index > found.PrevIndex {
		term = found.Entries[meta.Index-found.PrevIndex-1].GetTerm()
	}
	if meta.Index > 0 && term != meta.Term {
		return refuse("entry %d is of term %d in the log in %s and of term %d in the checkpoint in %s, so they do not belong together",
			meta.Index, term, s.cfg.WALDir, meta.Term, s.cfg.checkpointDir())
	}
	return nil
}

// makeReplica makes the replica that the checkpoint holds.
func (s *Server) makeReplica(meta snap.Meta) error {
	conf, err := confOf(meta)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDataDir, s.cfg.checkpointDir(), err)
	}
	s.replica, err = replica.New(s.store, replica.Position{Index: meta.Index, Term: meta.Term}, conf)
	if down := (*DowngradeError)(nil); err != nil && !errors.As(err, &down) {
		return fmt.Errorf("%w: %s: %w", ErrDataDir, s.cfg.checkpointDir(), err)
	}
	return err
}

// restore makes the raft node and the member's own state from what was found.
func (s *Server) restore(found wal.State, meta snap.Meta, founding bool) error {
	s.confChanged()
	s.startTerm = found.Hard.GetTerm()
	last := max(meta.Index, found.PrevIndex+uint64(len(found.Entries)))
	s.checkpoint.found(meta, last)
	s.progress.set(meta.Index, meta.Term)
	s.clock = newClock()
	s.restoreTime()
	s.expiry.look(s.store.NextExpiry())
	s.peers = nobody{}
	s.clusterChanged()
	if s.Removed(s.id) {
		return ErrRemoved
	}
	if s.cfg.Peers != nil {
		s.peers = s.cfg.Peers(s)
	}
	s.reach()
	s.requestID.Store(firstRequestID())
	var err error
	s.node, err = raftnode.New(raftnode.Config{
		ID:       uint64(s.id),
		Tick:     s.cfg.Tick,
		Election: int(s.cfg.Election / s.cfg.Tick),
		Founding: founding,

		TailEntries: s.cfg.TailEntries,

		Logger:    s.log,
		OnCommit:  s.cfg.Observe.Commit,
		Stamp:     s.stamp,
		Payload:   s.clock.payload,
		OnPayload: s.clock.heartbeat,
		Forward:   s.forward,
		Wanted:    s.wanted,
		OnRole:    s.takeRole,
	}, raftnode.State{
		Hard: found.Hard, Conf: s.replica.Conf(), Entries: found.Entries,
		PrevIndex: found.PrevIndex, PrevTerm: found.PrevTerm, Applied: meta.Index, AppliedTerm: meta.Term,
	}, notedLog{patientLog{s.wal, s.space, s.stopping}, &s.identities.durable}, s.peers)
	if err != nil {
		return err
	}
	decided := s.ClusterVersion()
	if decided == "" {
		decided = "to_be_decided"
	}
	s.log.Info(fmt.Sprintf("starting server... [version: %s, cluster version: %s]", version.Server, decided))
	return nil
}

// firstRequestID is random, so that the ids of this run differ from those that
// other runs and members left in the log.
func firstRequestID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the process instead
	return binary.BigEndian.Uint64(b[:])
}

// abandon closes what a failed open had opened.
func (s *Server) abandon() {
	if s.wal != nil {
		s.wal.Close()
	}
	if s.snap != nil {
		s.snap.Close()
	}
}

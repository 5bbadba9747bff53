package etcdserver

import (
	"cmp"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"etcd2/internal/disk"
	"etcd2/membership"
	"etcd2/snap"
)

// Config says what a member is and tunes it. A zero field takes the default
// named beside it.
type Config struct {
	Name       string   // this member's name; required
	Dir        string   // data directory; required
	WALDir     string   // directory of the log; DIR/member/wal
	ClientURLs []string // published to the cluster at every start

	// Who this member is. These fields are looked at only while the data directory
	// holds no log.
	Self      membership.ID
	ClusterID membership.ID
	Founders  []membership.Member // who founds the cluster, this member among them
	Join      bool                // the cluster runs already and has added this member; Founders is empty
	Remotes   []membership.Member // with Join: whom to reach until the log has told
	// Generation is, with Join, that of the cluster, as its members tell it. Without it
	// the member adopts that of the first member it meets.
	Generation string

	// Peers makes the way to the other members. Open calls it once; the server it is
	// given has an identity and a view of its cluster, and answers nothing yet.
	// Without it no other member can be reached.
	Peers func(*Server) Peers

	ForceNewCluster   bool          // begin again as the only member, with the data found
	StrictReconfig    bool          // refuse changes that would cost the quorum of members in contact
	AgreementInterval time.Duration // between comparisons of all members' trees; 5m; negative turns them off

	Tick     time.Duration // heartbeat period; 100ms
	Election time.Duration // silence before an election; 1s

	CheckpointEntries uint64 // applied entries between checkpoints; 10000
	CheckpointBytes   int64  // log bytes between checkpoints; 16 MiB
	TailEntries       uint64 // entries kept behind a checkpoint for members that lag; 5000
	HistoryEvents     int    // events kept for watchers; 100000
	MinFreeBytes      uint64 // disk space below which writes are refused; 0 turns the guard off

	FS          disk.FS                          // where the log lives; disk.OS()
	Checkpoints func() (Checkpoints, error)      // opens the checkpoint; snap.Open in DIR/member/snap
	FreeBytes   func(dir string) (uint64, error) // disk.Free
	Logger      *slog.Logger                     // discard
	Observe     Observer                         // what is measured goes here; nothing
}

// Observer receives measurements. Its functions are called from the goroutines
// of the log and the applier, so they return at once. A nil function is skipped.
type Observer struct {
	LogSync    func(took time.Duration)            // one group of log records made durable
	Commit     func(took time.Duration)            // one group of entries, from the log to a quorum
	Proposal   func(took time.Duration)            // one write, from proposal to its outcome
	Failed     func()                              // one write that got no outcome
	Checkpoint func(took time.Duration, nodes int) // one checkpoint made durable
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("etcdserver: Config.Dir is required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.WALDir = cmp.Or(c.WALDir, filepath.Join(c.Dir, "member", "wal"))
	c.Tick = cmp.Or(c.Tick, 100*time.Millisecond)
	c.Election = cmp.Or(c.Election, time.Second)
	c.AgreementInterval = cmp.Or(c.AgreementInterval, 5*time.Minute)
	c.CheckpointEntries = cmp.Or(c.CheckpointEntries, 10000)
	c.CheckpointBytes = cmp.Or(c.CheckpointBytes, 16<<20)
	c.TailEntries = cmp.Or(c.TailEntries, 5000)
	c.HistoryEvents = cmp.Or(c.HistoryEvents, 100000)
	if c.FS == nil {
		c.FS = disk.OS()
	}
	if c.Checkpoints == nil {
		c.Checkpoints = func() (Checkpoints, error) {
			file, err := snap.Open(c.checkpointDir(), snap.Config{Logger: c.Logger})
			if err != nil {
				return nil, err
			}
			return checkpointFile{file}, nil
		}
	}
	if c.FreeBytes == nil {
		c.FreeBytes = disk.Free
	}
	return c, nil
}

// checkpointDir is where the checkpoint file lives.
func (c Config) checkpointDir() string { return filepath.Join(c.Dir, "member", "snap") }

// requestTimeout bounds everything that goes through the log.
func (c Config) requestTimeout() time.Duration { return 5*time.Second + 2*c.Election }

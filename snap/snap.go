// Package snap keeps the checkpoint of a member: the tree with its event
// history as it was at one raft index, in one bbolt file.
//
// A checkpoint grows by deltas. Commit writes what changed since the commit
// before, together with the raft position, in one transaction that is durable
// when Commit returns; after a crash the file holds either the old checkpoint
// or the new one. The cost follows the changes, not the size of the tree.
//
// Nothing is believed because it is on the disk. Load reads the file with a
// reader of its own that checks the structure of every page, the checksum of
// every record and, for each bucket, the number of records and the sum of their
// fingerprints. Only a file that passes is handed to bbolt, whose own code takes
// pages on trust. Anything else is ErrCorrupt, and the file stays as it was.
//
// One Store per directory; a lock file keeps other processes out. All methods
// may be called from any goroutine: commits, loads and installs take turns,
// copies and a receive run beside them.
//
// The format is drawn in docs/format-snap.md.
package snap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"etcd2/internal/disk"
	"etcd2/store"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors a caller can act on.
var (
	// ErrCorrupt says that the file is damaged. Nothing was changed; the
	// member needs a backup, or to leave the cluster and join again.
	ErrCorrupt = errors.New("snap: checkpoint is damaged")
	// ErrVersion says that a newer program wrote the file. Nothing was changed.
	ErrVersion = errors.New("snap: checkpoint is from a newer version")
	// ErrLocked says that another process has the directory.
	ErrLocked = errors.New("snap: file already locked")
	// ErrNotLoaded says that Load has to come first, after Open and after Install.
	ErrNotLoaded = errors.New("snap: checkpoint has not been loaded")
	// ErrFailed says that an earlier failure left the state of the disk unknown
	// (a failed sync, damage met while writing). The Store refuses all but Close.
	ErrFailed = errors.New("snap: checkpoint failed earlier")
)

const (
	fileName = "checkpoint.db"
	lockName = "checkpoint.lock"
	partName = fileName + ".part"

	growBytes = 1 << 20 // by which the file grows beyond what a commit needs

	dirMode  = 0o700
	fileMode = 0o600
)

// Config tunes a Store. Every field may be left zero.
type Config struct {
	Logger *slog.Logger // discard
}

// Store is the checkpoint of one member.
type Store struct {
	dir  string
	cfg  Config
	fs   disk.FS
	lock io.Closer

	turn    sync.Mutex   // held by Load, Commit, Install and Close; guards the fields below
	loaded  bool         // the open file is verified and its tree was handed out
	pending *store.Delta // what a failed Commit could not write; the next one does

	receiving sync.Mutex // held by Receive and Install, taken after turn; guards the part file
	received  *Meta      // of the verified part file waiting for Install

	mu     sync.Mutex  // guards the fields below; never held during I/O
	gen    *generation // nil until Load
	failed error       // sticky: why the Store refuses everything

	retired sync.WaitGroup // replaced files still read by a copy
	open    openFunc       // os.OpenFile; tests put a failing disk here
}

type openFunc func(name string, flag int, perm os.FileMode) (*os.File, error)

// generation is one bbolt file. Install replaces the file while copies of the
// old one may still be running; the last of them lets it go.
type generation struct {
	db      *bolt.DB
	file    *os.File // db's
	readers sync.WaitGroup
	broken  atomic.Bool // bbolt panicked, perhaps with its locks held: it is not called again
}

// Exists reports whether dir holds a checkpoint, whole or damaged. It takes no lock
// and changes nothing.
func Exists(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, fileName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("snap: cannot look at the checkpoint: %w", err)
	}
	return true, nil
}

// Open takes the checkpoint in dir, which is made when absent, as is the file.
// It fails with ErrLocked, ErrCorrupt or ErrVersion; damage that only a full
// reading can find is left to Load. Leftovers of an interrupted install are removed.
func Open(dir string, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{dir: dir, cfg: cfg, fs: disk.OS(), open: os.OpenFile}
	if err := s.fs.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("snap: cannot make the checkpoint directory: %w", err)
	}
	lock, err := s.fs.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("%w: %s is in use by another process; stop it first", ErrLocked, s.path())
	}
	if err != nil {
		return nil, fmt.Errorf("snap: cannot lock the checkpoint directory, check that it is writable: %w", err)
	}
	s.lock = lock
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// prepare removes leftovers, makes the file when there is none and looks at
// its head.
func (s *Store) prepare() error {
	if err := s.fs.Remove(s.part()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("snap: cannot remove the leftover of an interrupted install: %w", err)
	}
	if _, err := os.Stat(s.path()); errors.Is(err, os.ErrNotExist) {
		return s.create()
	} else if err != nil {
		return fmt.Errorf("snap: cannot look at the checkpoint: %w", err)
	}
	im, err := openImage(s.path())
	if err != nil {
		return err
	}
	defer im.close()
	_, err = im.head()
	return err
}

// create makes an empty checkpoint under another name and moves it into place,
// so that a crash never leaves half a file.
func (s *Store) create() error {
	g, err := s.openBolt(s.part())
	if err != nil {
		return fmt.Errorf("snap: cannot make the checkpoint: %w", err)
	}
	if err := errors.Join(layOut(g.db), g.db.Close()); err != nil {
		return fmt.Errorf("snap: cannot make the checkpoint: %w", err)
	}
	return s.moveIntoPlace()
}

// layOut makes the buckets and the head of an empty checkpoint.
func layOut(db *bolt.DB) error {
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return new(head).put(tx)
	})
}

func (s *Store) moveIntoPlace() error {
	if err := s.fs.Rename(s.part(), s.path()); err != nil {
		return fmt.Errorf("snap: cannot put the checkpoint into place: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("snap: cannot sync the checkpoint directory: %w", err)
	}
	return nil
}

// openBolt opens a file for bbolt. The file must be new, or verified.
func (s *Store) openBolt(name string) (*generation, error) {
	g := &generation{}
	db, err := bolt.Open(name, fileMode, &bolt.Options{
		Timeout:         time.Nanosecond, // a foreign tool holds the file: say so at once
		PageSize:        defaultPageSize,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: initialMapping(),
		NoStatistics:    true,
		OpenFile: func(name string, flag int, perm os.FileMode) (f *os.File, err error) {
			g.file, err = s.open(name, flag, perm)
			return g.file, err
		},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s is in use by another process; stop it first", ErrLocked, name)
	}
	if err != nil {
		return nil, err
	}
	db.AllocSize = growBytes
	g.db = db
	return g, nil
}

// initialMapping is the address space bbolt reserves at the start. While the
// file fits in it a commit never has to map the file anew, for which bbolt
// would wait until the last running copy has ended. Windows grows the file to
// the mapping, and 32-bit systems have no room to give.
func initialMapping() int {
	if runtime.GOOS == "windows" || ^uint(0)>>32 == 0 {
		return 0
	}
	return 1 << 33 // 8 GiB
}

// Size is the length of the checkpoint file in bytes, 0 when it cannot be told.
func (s *Store) Size() int64 {
	info, err := os.Stat(s.path())
	if err != nil {
		return 0
	}
	return info.Size()
}

// Close waits for whatever is running, copies included, and gives the directory back.
func (s *Store) Close() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.mu.Lock()
	g := s.gen
	s.gen, s.failed = nil, errClosed
	s.mu.Unlock()
	s.loaded, s.pending = false, nil
	var err error
	if g != nil {
		err = g.close()
	}
	s.retired.Wait()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

var errClosed = errors.New("snap: closed")

// close waits for the copies of the file to end and closes it.
func (g *generation) close() error {
	g.readers.Wait()
	end := g.db.Close
	if g.broken.Load() {
		end = g.file.Close // gives bbolt's lock back; its mapping stays until the process ends
	}
	if err := end(); err != nil {
		return fmt.Errorf("snap: cannot close the checkpoint: %w", err)
	}
	return nil
}

// usable returns the error that stops every call, if there is one.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// fail makes err the answer to every later call.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return err
}

func (s *Store) path() string { return filepath.Join(s.dir, fileName) }
func (s *Store) part() string { return filepath.Join(s.dir, partName) }

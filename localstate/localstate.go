// Package localstate keeps what a member knows for itself alone, beside the log.
//
// It is one small file, DIR/member/local.json: the incarnation of the data
// directory, how often it was started, the generation of the cluster, what was
// seen of each other member, and a note of the cluster time. The log cannot hold
// these, since all members share its entries.
//
// Update replaces the file as a whole and is durable when it returns: a crash
// leaves the old content or the new. A damaged file is ErrDamaged and is left for
// a person to look at. docs/format-local.md describes the content. The caller
// makes sure that one process uses the directory; the locks of log and checkpoint
// do that.
package localstate

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"etcd2/identity"
	"etcd2/internal/disk"
)

// Errors a caller can act on.
var (
	// ErrDamaged is returned for a file whose content cannot be trusted.
	ErrDamaged = errors.New("localstate: damaged file")
	// ErrLaterVersion is returned for a file that a later version has made.
	ErrLaterVersion = errors.New("localstate: file of a later version")
)

// FileName is the name of the file in its directory.
const FileName = "local.json"

// Config says where the file is. A zero field takes the default named beside it.
type Config struct {
	Dir string  // directory of the file, DIR/member; required
	FS  disk.FS // disk.OS()
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = disk.OS()
	}
	return c
}

// State is the content of the file.
type State struct {
	Incarnation string                   // of the data directory: 32 hex digits, never changed
	Starts      uint64                   // processes started on the directory so far
	Sessions    []string                 // of the latest starts, the last one at the end; at most sessionsMax
	Accepted    map[uint64]string        // by other member, the last session that it has accepted; never nil
	Generation  string                   // of the cluster: "" as founded, else 32 hex digits; identity.Joining before it is known
	Seen        map[uint64]identity.Seen // of each other member, by member ID; never nil
	Time        Time
}

// Time is a note of the cluster time. The zero Time is none. The names of the fields in
// JSON are part of the format.
type Time struct {
	Term uint64 `json:"term"`     // raft term
	Time int64  `json:"unixNano"` // ns since 1970
}

// sessionsMax bounds State.Sessions.
const sessionsMax = 64

// Past returns the sessions before the latest one that this directory knows, in the form
// of identity.Identity.Past.
func (s State) Past() string {
	past := slices.Clone(s.Sessions[:max(len(s.Sessions)-1, 0)])
	for _, id := range slices.Sorted(maps.Keys(s.Accepted)) {
		if of := s.Accepted[id]; !slices.Contains(s.Sessions, of) && !slices.Contains(past, of) {
			past = append(past, of)
		}
	}
	return strings.Join(past, ",")
}

// clone returns a copy that shares nothing.
func (s State) clone() State {
	s.Seen, s.Accepted, s.Sessions = maps.Clone(s.Seen), maps.Clone(s.Accepted), slices.Clone(s.Sessions)
	return s
}

// File is the open state. Its methods may be called from several goroutines.
type File struct {
	cfg  Config
	name string

	writing sync.Mutex // held while the file is replaced

	mu    sync.Mutex // guards the fields below
	state State
	extra fields // content of later versions, kept as it is
}

// Open reads the state, or makes one with a new incarnation where there is none.
// The File needs no closing.
func Open(cfg Config) (*File, error) {
	cfg = cfg.withDefaults()
	f := &File{cfg: cfg, name: filepath.Join(cfg.Dir, FileName)}
	content, err := read(cfg.FS, f.name)
	if errors.Is(err, os.ErrNotExist) {
		f.state = State{Incarnation: random(16), Sessions: []string{}, Accepted: map[uint64]string{}, Seen: map[uint64]identity.Seen{}}
		if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("localstate: %w", err)
		}
		return f, f.write(f.state)
	}
	if err != nil {
		return nil, fmt.Errorf("localstate: %w", err)
	}
	f.state, f.extra, err = decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return f, nil
}

// Exists reports whether there is a state in the directory.
func Exists(cfg Config) (bool, error) {
	cfg = cfg.withDefaults()
	file, err := cfg.FS.OpenFile(filepath.Join(cfg.Dir, FileName), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("localstate: %w", err)
	}
	return true, file.Close()
}

// State returns a copy of the state.
func (f *File) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.clone()
}

// Seen returns what was seen of a member, the zero Seen when it was never met.
func (f *File) Seen(id uint64) identity.Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Seen[id]
}

// Update replaces the state by a copy that change has altered. It is durable when Update
// returns nil; after an error the state is as before. When change alters nothing,
// nothing is written. change must not call f.
func (f *File) Update(change func(*State)) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	was := f.State()
	next := was.clone()
	change(&next)
	if reflect.DeepEqual(was, next) {
		return nil
	}
	if err := f.write(next); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = next
	return nil
}

// Begin counts a start of the member and returns the session of this start, which
// is random. The member calls it once, before it talks to others.
func (f *File) Begin() (session string, err error) {
	session = random(8)
	return session, f.Update(func(s *State) {
		s.Starts++
		s.Sessions = append(s.Sessions[max(len(s.Sessions)+1-sessionsMax, 0):], session)
	})
}

// SetGeneration records the generation of the cluster.
func (f *File) SetGeneration(generation string) error {
	return f.Update(func(s *State) { s.Generation = generation })
}

// SetTime records a note of the cluster time.
func (f *File) SetTime(term uint64, time int64) error {
	return f.Update(func(s *State) { s.Time = Time{Term: term, Time: time} })
}

// NewGeneration returns a random generation for a cluster.
func NewGeneration() string { return random(16) }

// random returns n random bytes as hex digits.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand crashes the process instead
	return hex.EncodeToString(b)
}

// read returns the content of a file.
func read(fs disk.FS, name string) ([]byte, error) {
	file, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > fileBytesMax {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d are allowed", name, ErrDamaged, size, fileBytesMax)
	}
	content := make([]byte, size)
	if n, err := file.ReadAt(content, 0); n < len(content) {
		return nil, err
	}
	return content, nil
}

// write replaces the file: readers, and a start after a crash, see the old or the new one.
func (f *File) write(s State) error {
	content, err := encode(s, f.extra)
	if err != nil {
		return fmt.Errorf("localstate: %w", err)
	}
	next := f.name + ".tmp" // one that a crash has left is overwritten
	if err := writeFile(f.cfg.FS, next, content); err != nil {
		return fmt.Errorf("localstate: write %s: %w", next, err)
	}
	if err := f.cfg.FS.Rename(next, f.name); err != nil {
		return fmt.Errorf("localstate: %w", err)
	}
	if err := f.cfg.FS.SyncDir(f.cfg.Dir); err != nil {
		return fmt.Errorf("localstate: %w", err)
	}
	return nil
}

func writeFile(fs disk.FS, name string, content []byte) error {
	file, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

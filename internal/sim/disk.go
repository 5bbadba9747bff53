package sim

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"etcd2/internal/disk"
)

// ErrDown is what every call returns once StopAfter has run out, and what files
// and locks opened before a Crash or Kill return for ever.
var ErrDown = errors.New("sim: machine is down")

// errIO is what a failed sync or write reports.
var errIO = syscall.EIO

// Disk is a file system in memory that keeps what is durable apart from what is
// only visible. It implements disk.FS.
//
// Every write, truncation and change of a name stays pending until Sync or
// SyncDir. Crash keeps some of what is pending and loses the rest, in whole, in
// order or sector by sector; the given source of chance decides, so one seed
// always tells one story. Directories are durable as soon as they are made. A
// Disk may be used by several goroutines; it is then as deterministic as they are.
type Disk struct {
	mu      sync.Mutex // guards the fields below
	rng     *rand.Rand
	dirs    map[string]bool
	visible map[string]*inode
	durable map[string]*inode
	pending []nameChange    // changes of names since SyncDir, in order
	locks   map[string]bool // names locked now
	life    int             // raised by Crash and Kill: older handles are dead
	room    int64           // bytes that may be in use; negative is no limit
	syncs   int             // the sync that fails, counted down; 0 is none
	writes  int             // the write that fails, counted down; 0 is none
	calls   int             // changing calls until the machine stops; negative is never
}

// nameChange takes a file from one name to another; either may be empty.
type nameChange struct {
	dir      string // whose SyncDir makes it durable
	from, to string
	node     *inode
}

func (c nameChange) apply(names map[string]*inode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// NewDisk returns an empty disk whose crashes are drawn from rng.
func NewDisk(rng *rand.Rand) *Disk {
	return &Disk{
		rng:     rng,
		dirs:    map[string]bool{"/": true, ".": true},
		visible: map[string]*inode{},
		durable: map[string]*inode{},
		locks:   map[string]bool{},
		room:    -1,
		calls:   -1,
	}
}

// Crash cuts the power: some of what was not synced survives, perhaps in pieces,
// and every open file and lock is gone. The disk can be used again at once.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := keeper(d.rng, len(d.pending))
	for i, c := range d.pending {
		if keep(i) {
			c.apply(d.durable)
		}
	}
	d.pending = nil
	d.visible = maps.Clone(d.durable)
	for _, name := range slices.Sorted(maps.Keys(d.visible)) {
		d.visible[name].crash(d.rng)
	}
	d.restart()
}

// Kill ends the process, not the machine: open files and locks are gone, but
// everything written is still visible and still waits to be synced.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restart()
}

func (d *Disk) restart() {
	d.life++
	d.locks = map[string]bool{}
	d.syncs, d.writes, d.calls = 0, 0, -1
}

// SetFull leaves room for free more bytes of files; writes beyond that fail with
// ENOSPC after the part that fits. A negative number lifts the limit.
func (d *Disk) SetFull(free int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = -1
	if free >= 0 {
		d.room = d.used() + free
	}
}

// FailSync makes the n-th file sync from now fail with EIO, once; 1 is the next.
// The bytes it was to make durable stay visible, but each pending write either
// reached the disk by luck or never will, as with a real page cache.
func (d *Disk) FailSync(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncs = n
}

// FailWrite makes the n-th write from now fail with EIO, once, after some part
// of it; 1 is the next.
func (d *Disk) FailWrite(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes = n
}

// StopAfter lets n more changing calls succeed; then the machine stops in the
// middle of what it was doing and every call fails with ErrDown until Crash or
// Kill.
func (d *Disk) StopAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = n
}

// ReadFile returns a copy of the visible bytes of a file.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.visible[clean(name)]
	if node == nil {
		return nil, &os.PathError{Op: "read", Path: name, Err: os.ErrNotExist}
	}
	return slices.Clone(node.data), nil
}

// WriteFile puts a file on the disk, durable at once, in place of any that was
// there. It is how a test damages a file.
func (d *Disk) WriteFile(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = clean(name)
	d.dirs[filepath.Dir(name)] = true
	node := &inode{data: slices.Clone(data), kept: slices.Clone(data)}
	d.visible[name], d.durable[name] = node, node
}

// Files returns a copy of every visible file, by its whole name.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string][]byte, len(d.visible))
	for name, node := range d.visible {
		all[name] = slices.Clone(node.data)
	}
	return all
}

// OpenFile implements disk.FS. It understands O_CREATE, O_EXCL and O_TRUNC.
func (d *Disk) OpenFile(name string, flag int, _ os.FileMode) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calls == 0 {
		return nil, ErrDown
	}
	name = clean(name)
	node := d.visible[name]
	switch {
	case node == nil && flag&os.O_CREATE == 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	case node != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrExist}
	case node == nil:
		if !d.dirs[filepath.Dir(name)] {
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		}
		if err := d.change(); err != nil {
			return nil, err
		}
		node = &inode{}
		d.rename(nameChange{to: name, node: node})
	}
	f := &file{d: d, node: node, name: name, life: d.life}
	if flag&os.O_TRUNC != 0 && len(node.data) > 0 {
		node.change(fileChange{size: 0, cut: true})
	}
	return f, nil
}

// ReadDir implements disk.FS.
func (d *Disk) ReadDir(name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calls == 0 {
		return nil, ErrDown
	}
	name = clean(name)
	if !d.dirs[name] {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	var names []string
	for path := range d.visible {
		if filepath.Dir(path) == name {
			names = append(names, filepath.Base(path))
		}
	}
	for path := range d.dirs {
		if path != name && filepath.Dir(path) == name {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename implements disk.FS.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != nil {
		return err
	}
	oldname, newname = clean(oldname), clean(newname)
	node := d.visible[oldname]
	if node == nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: os.ErrNotExist}
	}
	d.rename(nameChange{from: oldname, to: newname, node: node})
	return nil
}

// Remove implements disk.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != nil {
		return err
	}
	name = clean(name)
	if d.visible[name] == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	d.rename(nameChange{from: name})
	return nil
}

// MkdirAll implements disk.FS.
func (d *Disk) MkdirAll(name string, _ os.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != nil {
		return err
	}
	for name = clean(name); !d.dirs[name]; name = filepath.Dir(name) {
		d.dirs[name] = true
	}
	return nil
}

// SyncDir implements disk.FS.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != nil {
		return err
	}
	name = clean(name)
	d.pending = slices.DeleteFunc(d.pending, func(c nameChange) bool {
		if c.dir == name {
			c.apply(d.durable)
		}
		return c.dir == name
	})
	return nil
}

// Lock implements disk.FS.
func (d *Disk) Lock(name string) (io.Closer, error) {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name = clean(name)
	if d.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, disk.ErrLocked)
	}
	d.locks[name] = true
	return &locked{File: f, d: d, name: name, life: d.life}, nil
}

// change is called at the head of each changing call. d.mu is held.
func (d *Disk) change() error {
	if d.calls == 0 {
		return ErrDown
	}
	if d.calls > 0 {
		d.calls--
	}
	return nil
}

func (d *Disk) rename(c nameChange) {
	c.dir = filepath.Dir(c.from + c.to)
	if c.from != "" {
		c.dir = filepath.Dir(c.from)
	}
	c.apply(d.visible)
	d.pending = append(d.pending, c)
}

func (d *Disk) used() int64 {
	var n int64
	for _, node := range d.visible {
		n += int64(len(node.data))
	}
	return n
}

// clean gives a file one name on every operating system.
func clean(name string) string { return filepath.Clean(name) }

// locked is a lock that is held until it is closed or the machine goes down.
type locked struct {
	disk.File
	d    *Disk
	name string
	life int
}

func (l *locked) Close() error {
	l.d.mu.Lock()
	if l.life == l.d.life {
		delete(l.d.locks, l.name)
	}
	l.d.mu.Unlock()
	return l.File.Close()
}

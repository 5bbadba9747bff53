package sim

import (
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
)

// sectorBytes is what a drive writes whole or not at all.
const sectorBytes = 512

// inode is the content of one file: what readers see, what is durable, and the
// changes that lead from the latter to the former.
type inode struct {
	data    []byte
	kept    []byte
	pending []fileChange
}

// fileChange is one write, or one change of size when cut or grow is set.
type fileChange struct {
	off       int64
	data      []byte
	size      int64
	cut, grow bool
}

// apply carries the part from..to of a change out on b.
func (c fileChange) apply(b []byte) []byte {
	switch {
	case c.cut && int64(len(b)) > c.size:
		return b[:c.size:c.size] // what is appended later must not show old bytes
	case c.cut || c.grow:
		return lengthen(b, c.size)
	}
	b = lengthen(b, c.off+int64(len(c.data)))
	copy(b[c.off:], c.data)
	return b
}

func lengthen(b []byte, size int64) []byte {
	if more := size - int64(len(b)); more > 0 {
		b = append(b, make([]byte, more)...)
	}
	return b
}

func (n *inode) change(c fileChange) {
	n.data = c.apply(n.data)
	n.pending = append(n.pending, c)
}

func (n *inode) sync() {
	for _, c := range n.pending {
		n.kept = c.apply(n.kept)
	}
	n.pending = nil
}

// crash decides which pending changes reached the disk; the rest is lost.
func (n *inode) crash(rng *rand.Rand) {
	n.settle(rng)
	n.data = slices.Clone(n.kept)
}

// settle carries some pending changes over to the durable bytes and drops the
// others.
func (n *inode) settle(rng *rand.Rand) {
	keep := keeper(rng, len(n.pending))
	tear := rng.IntN(2) == 0
	for i, c := range n.pending {
		switch {
		case tear && !c.cut && !c.grow && rng.IntN(2) == 0:
			for _, piece := range c.torn(rng) {
				n.kept = piece.apply(n.kept)
			}
		case keep(i):
			n.kept = c.apply(n.kept)
		}
	}
	n.pending = nil
}

// torn returns the pieces of a write that reach the disk when the power goes
// during it: its first bytes, or any of its sectors.
func (c fileChange) torn(rng *rand.Rand) []fileChange {
	if rng.IntN(2) == 0 {
		c.data = c.data[:rng.IntN(len(c.data)+1)]
		return []fileChange{c}
	}
	var pieces []fileChange
	for at := int64(0); at < int64(len(c.data)); {
		end := min(int64(len(c.data)), at+sectorBytes-(c.off+at)%sectorBytes)
		if rng.IntN(2) == 0 {
			pieces = append(pieces, fileChange{off: c.off + at, data: c.data[at:end]})
		}
		at = end
	}
	return pieces
}

// keeper draws which of n pending changes survive: none, all, the first few, or
// any of them.
func keeper(rng *rand.Rand, n int) func(i int) bool {
	switch rng.IntN(4) {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(int) bool { return true }
	case 2:
		first := rng.IntN(n + 1)
		return func(i int) bool { return i < first }
	default:
		return func(int) bool { return rng.IntN(2) == 0 }
	}
}

// file is an open file. It is dead once the machine has been down.
type file struct {
	d      *Disk
	node   *inode
	name   string
	life   int
	closed bool
}

// alive is called with d.mu held.
func (f *file) alive() error {
	switch {
	case f.closed:
		return &os.PathError{Op: "use", Path: f.name, Err: os.ErrClosed}
	case f.life != f.d.life || f.d.calls == 0:
		return ErrDown
	}
	return nil
}

// begin is called with d.mu held at the head of each changing call.
func (f *file) begin() error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.d.change()
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.alive(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(); err != nil {
		return 0, err
	}
	fits, err := len(p), error(nil)
	if f.d.writes > 0 {
		f.d.writes--
		if f.d.writes == 0 {
			fits, err = f.d.rng.IntN(len(p)+1), errIO
		}
	}
	if grows := off + int64(fits) - int64(len(f.node.data)); grows > f.free() {
		fits, err = max(0, fits-int(grows-f.free())), syscall.ENOSPC
	}
	if fits > 0 {
		f.node.change(fileChange{off: off, data: slices.Clone(p[:fits])})
	}
	if err != nil {
		return fits, &os.PathError{Op: "write", Path: f.name, Err: err}
	}
	return fits, nil
}

// free is how many bytes the file may still grow by.
func (f *file) free() int64 {
	if f.d.room < 0 {
		return 1 << 62
	}
	return max(0, f.d.room-f.d.used())
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(); err != nil {
		return err
	}
	if f.d.syncs > 0 {
		f.d.syncs--
		if f.d.syncs == 0 {
			f.node.settle(f.d.rng)
			return &os.PathError{Op: "fdatasync", Path: f.name, Err: errIO}
		}
	}
	f.node.sync()
	return nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(); err != nil {
		return err
	}
	if size-int64(len(f.node.data)) > f.free() {
		return &os.PathError{Op: "truncate", Path: f.name, Err: syscall.ENOSPC}
	}
	f.node.change(fileChange{size: size, cut: true})
	return nil
}

func (f *file) Allocate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(); err != nil {
		return err
	}
	grows := size - int64(len(f.node.data))
	if grows > f.free() {
		return &os.PathError{Op: "fallocate", Path: f.name, Err: syscall.ENOSPC}
	}
	if grows > 0 {
		f.node.change(fileChange{size: size, grow: true})
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.alive(); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return &os.PathError{Op: "close", Path: f.name, Err: os.ErrClosed}
	}
	f.closed = true
	return nil
}

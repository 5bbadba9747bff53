package snap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	bolt "go.etcd.io/bbolt"
)

// The stream of a copy is the file, page by page, and a trailer, from which the
// receiver knows that nothing is missing and nothing has changed.
const (
	trailerSize  = 16
	trailerMagic = 0x70636532 // "2ecp", little-endian
)

// Copy is a consistent look at the checkpoint, for streaming it to another
// member or into a backup. Commits go on beside it, but the pages they replace
// stay in the file until the Copy is closed: the file grows by what is
// committed meanwhile and keeps that size afterwards, with the room free for
// use. A Copy should therefore have a deadline.
type Copy struct {
	store *Store
	gen   *generation
	tx    *bolt.Tx
	meta  Meta
}

// Copy begins a copy of the checkpoint as it is now. The caller closes it. It
// fails with ErrNotLoaded before the first Load.
func (s *Store) Copy() (*Copy, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	c := &Copy{store: s, gen: g}
	err = guard(s.path(), func() error {
		var err error
		if c.tx, err = g.db.Begin(false); err != nil {
			return err
		}
		h, err := headOf(c.tx, s.path())
		if err == nil {
			c.meta = h.meta()
		}
		return err
	})
	if errors.Is(err, errPanic) {
		g.broken.Store(true)
		err = s.fail(err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snap: cannot copy the checkpoint: %w", err), c.Close())
	}
	return c, nil
}

// acquire returns the open file with one more reader.
func (s *Store) acquire() (*generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	if s.gen == nil {
		return nil, ErrNotLoaded
	}
	s.gen.readers.Add(1)
	return s.gen, nil
}

// Meta says which moment the copy holds.
func (c *Copy) Meta() Meta { return c.meta }

// Size is the length of the stream in bytes, the trailer included.
func (c *Copy) Size() int64 { return c.tx.Size() + trailerSize }

// WriteTo streams the copy and returns the number of bytes written.
func (c *Copy) WriteTo(w io.Writer) (int64, error) {
	sum := &summer{w: w}
	if _, err := c.tx.WriteTo(sum); err != nil {
		return sum.n, fmt.Errorf("snap: cannot stream the checkpoint: %w", err)
	}
	n, err := w.Write(trailer(sum.n, sum.sum))
	if err != nil {
		return sum.n + int64(n), fmt.Errorf("snap: cannot stream the checkpoint: %w", err)
	}
	return sum.n + int64(n), nil
}

// Close ends the copy. A second Close does nothing.
func (c *Copy) Close() error {
	if c.gen == nil {
		return nil
	}
	var err error
	if c.tx != nil && !c.gen.broken.Load() {
		err = c.tx.Rollback()
	}
	c.gen.readers.Done()
	c.gen = nil
	return err
}

// Stream sends the checkpoint as it is now, see Copy. It returns the moment
// it holds and the number of bytes written.
func (s *Store) Stream(w io.Writer) (Meta, int64, error) {
	c, err := s.Copy()
	if err != nil {
		return Meta{}, 0, err
	}
	n, err := c.WriteTo(w)
	return c.meta, n, errors.Join(err, c.Close())
}

// summer counts and sums up what passes.
type summer struct {
	w   io.Writer
	n   int64
	sum uint32
}

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.sum = crc32.Update(s.sum, castagnoli, p[:n])
	return n, err
}

// trailer ends a stream of n bytes with the given CRC-32C.
func trailer(n int64, sum uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(make([]byte, 0, trailerSize), trailerMagic)
	b = le.AppendUint64(b, uint64(n))
	return le.AppendUint32(b, sum)
}

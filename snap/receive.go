package snap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	bolt "go.etcd.io/bbolt"
)

// Errors of Receive and Install.
var (
	// ErrStream says that a stream was cut off or changed on its way. The
	// sender may be asked again.
	ErrStream = errors.New("snap: the stream of the checkpoint is damaged")
	// ErrBusy says that a checkpoint is being received at this moment.
	ErrBusy = errors.New("snap: a checkpoint is being received")
	// ErrNothingReceived says that there is nothing to install.
	ErrNothingReceived = errors.New("snap: no checkpoint was received")
)

// Receive reads the stream of another member's Copy into a file beside the
// checkpoint, checks its length, its sum and then its whole content, makes
// member its owner, notes that it was received and syncs it. Nothing else changes: Install puts the file
// into place, the next Receive or Open throws it away. A stream that does not
// check out is ErrStream or ErrCorrupt, one from the future ErrVersion. Commits
// go on meanwhile; a second Receive is ErrBusy.
func (s *Store) Receive(r io.Reader, member uint64) (Meta, error) {
	if !s.receiving.TryLock() {
		return Meta{}, ErrBusy
	}
	defer s.receiving.Unlock()
	if err := s.usable(); err != nil {
		return Meta{}, err
	}
	s.received = nil
	m, err := s.receive(r, member)
	if err != nil {
		if gone := s.fs.Remove(s.part()); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return Meta{}, err
	}
	s.received = &m
	return m, nil
}

func (s *Store) receive(r io.Reader, member uint64) (Meta, error) {
	if err := s.spool(r); err != nil {
		return Meta{}, err
	}
	im, err := openImage(s.part())
	if err != nil {
		return Meta{}, err
	}
	_, err = im.scan(nil)
	im.close()
	if err != nil {
		return Meta{}, err
	}
	return s.own(member)
}

// spool writes the stream to the part file, without its trailer, and compares
// it with the trailer.
func (s *Store) spool(r io.Reader) error {
	f, err := s.open(s.part(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("snap: cannot write the received checkpoint: %w", err)
	}
	sum := &summer{w: f}
	last, err := splitTail(sum, r)
	if err == nil && !bytes.Equal(last, trailer(sum.n, sum.sum)) {
		err = fmt.Errorf("%w: cut off or changed within its %d bytes", ErrStream, sum.n)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("snap: cannot receive the checkpoint: %w", err)
	}
	return nil
}

// splitTail copies r to w except for its last trailerSize bytes, which it returns.
func splitTail(w io.Writer, r io.Reader) ([]byte, error) {
	buf := make([]byte, 256<<10)
	held := 0
	for {
		n, err := r.Read(buf[held:])
		held += n
		if out := held - trailerSize; out > 0 {
			if _, err := w.Write(buf[:out]); err != nil {
				return nil, err
			}
			held = copy(buf, buf[out:held])
		}
		if errors.Is(err, io.EOF) {
			return buf[:held], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// own writes the member into the verified part file.
func (s *Store) own(member uint64) (Meta, error) {
	var m Meta
	err := guard(s.part(), func() error {
		g, err := s.openBolt(s.part())
		if err != nil {
			return err
		}
		err = g.db.Update(func(tx *bolt.Tx) error {
			h, err := headOf(tx, s.part())
			if err != nil {
				return err
			}
			h.MemberID, h.Installed = member, h.Index
			m = h.meta()
			return h.put(tx)
		})
		return errors.Join(err, g.db.Close())
	})
	if err != nil {
		return Meta{}, fmt.Errorf("snap: cannot finish the received checkpoint: %w", err)
	}
	return m, nil
}

// Install replaces the checkpoint by the one received last; a crash leaves the
// old one or the new one. What was not committed before is void. Load comes
// next. Copies of the old checkpoint run on to their end, except on Windows,
// which cannot replace a file in use: there Install waits for them.
func (s *Store) Install() (Meta, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if !s.receiving.TryLock() {
		return Meta{}, ErrBusy
	}
	defer s.receiving.Unlock()
	if err := s.usable(); err != nil {
		return Meta{}, err
	}
	if s.received == nil {
		return Meta{}, ErrNothingReceived
	}
	m := *s.received
	s.received, s.pending, s.loaded = nil, nil, false
	s.mu.Lock()
	old := s.gen
	s.gen = nil
	s.mu.Unlock()
	if err := s.retire(old); err != nil {
		return Meta{}, s.fail(err)
	}
	if err := s.moveIntoPlace(); err != nil {
		return Meta{}, s.fail(err)
	}
	s.cfg.Logger.Info("checkpoint installed", "file", s.path(), "index", m.Index, "nodes", m.Nodes)
	return m, nil
}

// retire closes a file that is about to be replaced when its last copy ends.
func (s *Store) retire(g *generation) error {
	if g == nil {
		return nil
	}
	if runtime.GOOS == "windows" {
		return g.close()
	}
	s.retired.Go(func() {
		if err := g.close(); err != nil {
			s.cfg.Logger.Warn("replaced checkpoint not closed", "error", err)
		}
	})
	return nil
}

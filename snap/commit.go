package snap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"etcd2/store"

	bolt "go.etcd.io/bbolt"
)

// How full bbolt leaves a page that it splits. Nodes come in key order, in the
// middle of the tree as well as at its end, and need a little room to grow;
// events only ever follow the last one.
const (
	nodesFill  = 0.9
	eventsFill = 1.0
)

// Commit adds what changed since the last Commit, or since Load, and moves the
// checkpoint to m.Index. It is one transaction: durable when Commit returns
// nil, and not there at all after a crash before that. The Store takes over d.
//
// After an error the checkpoint is the one before. When the disk is full the
// delta is kept and goes out with the next Commit, so the caller just goes on;
// after any other failure of the disk the answer is ErrFailed from then on,
// because what a failed sync left behind cannot be known.
func (s *Store) Commit(d store.Delta, m Meta) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.loaded {
		return ErrNotLoaded
	}
	if s.pending != nil {
		d = merge(*s.pending, d)
	}
	s.pending = &d
	if err := s.write(d, m); err != nil {
		err = fmt.Errorf("snap: cannot commit the checkpoint at index %d: %w", m.Index, err)
		if !retryable(err) {
			return s.fail(err)
		}
		return err
	}
	s.pending = nil
	return nil
}

// merge joins a delta that could not be written with the one after it.
func merge(old, next store.Delta) store.Delta {
	if next.Full {
		return next
	}
	if old.Nodes == nil {
		old.Nodes = make(map[string]*store.Node, len(next.Nodes))
	}
	maps.Copy(old.Nodes, next.Nodes)
	next.Nodes = old.Nodes
	next.Events = slices.Concat(old.Events, next.Events)
	next.Full = old.Full
	return next
}

// errBackwards says that the caller offered an older moment than the file holds.
var errBackwards = errors.New("the checkpoint would go backwards")

// retryable tells a failure after which the file is known to be as before: the
// disk refused to take more bytes. bbolt hides the cause when it cannot extend
// the file, so that one is known by its text; should the text change, the
// failure counts as final, which is safe.
func retryable(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && pe.Op == "write" ||
		strings.Contains(err.Error(), "file resize error")
}

// write runs the transaction.
func (s *Store) write(d store.Delta, m Meta) error {
	var tx *bolt.Tx
	err := guard(s.path(), func() error {
		var err error
		if tx, err = s.gen.db.Begin(true); err != nil {
			return err
		}
		w, err := newWriter(tx, s.path(), d)
		if err != nil {
			return err
		}
		if err := w.write(d, m); err != nil {
			return err
		}
		return tx.Commit()
	})
	switch {
	case errors.Is(err, errPanic):
		s.gen.broken.Store(true)
	case err != nil && tx != nil:
		_ = tx.Rollback() // does nothing after a Commit that failed
	case err == nil:
		forget(s.gen.db)
	}
	return err
}

// writer carries one delta into one transaction.
type writer struct {
	tx   *bolt.Tx
	file string
	head *head
	buf  []byte // values are built here; bbolt refers to them until the commit
}

func newWriter(tx *bolt.Tx, file string, d store.Delta) (*writer, error) {
	h, err := headOf(tx, file)
	if err != nil {
		return nil, err
	}
	w := &writer{tx: tx, file: file, head: h}
	if !d.Full {
		return w, nil
	}
	for _, name := range []string{nodesBucket, longBucket, eventsBucket} {
		if err := tx.DeleteBucket([]byte(name)); err != nil {
			return nil, err
		}
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return nil, err
		}
		*h.tally(name) = tally{}
	}
	return w, nil
}

func (w *writer) write(d store.Delta, m Meta) error {
	if m.Index < w.head.Index || d.Index < w.head.StoreIndex && !d.Full {
		return fmt.Errorf("%w: from raft index %d, etcd index %d to %d, %d",
			errBackwards, w.head.Index, w.head.StoreIndex, m.Index, d.Index)
	}
	if err := w.nodes(d.Nodes); err != nil {
		return err
	}
	if err := w.events(d); err != nil {
		return err
	}
	h := w.head
	h.Index, h.Term, h.Conf, h.ClusterID, h.MemberID = m.Index, m.Term, m.Conf, m.ClusterID, m.MemberID
	h.StoreIndex, h.clock, h.counters = d.Index, d.Clock, d.Counters
	h.Sequence, h.Installed = h.Sequence+1, 0
	return h.put(w.tx)
}

// change is one node to write, or to remove when there is none.
type change struct {
	key  []byte
	node *store.Node
}

// nodes writes the changed nodes in key order: bbolt then touches each page
// once, while the same records in random order cost it fifty times as much.
func (w *writer) nodes(dirty map[string]*store.Node) error {
	short := make([]change, 0, len(dirty))
	var long []change
	size := 0
	for path := range dirty {
		size += len(path)
	}
	keys := make([]byte, 0, size)
	for path, n := range dirty {
		if len(path) > maxKey {
			long = append(long, change{longKey(path), n})
			continue
		}
		at := len(keys)
		keys = store.AppendKey(keys, path)
		short = append(short, change{keys[at:len(keys):len(keys)], n})
	}
	if err := w.apply(nodesBucket, short); err != nil {
		return err
	}
	return w.apply(longBucket, long)
}

// longKey stands for a path that is too long for a key.
func longKey(path string) []byte {
	sum := sha256.Sum256([]byte(path))
	return sum[:]
}

func (w *writer) apply(bucket string, list []change) error {
	slices.SortFunc(list, func(a, b change) int { return bytes.Compare(a.key, b.key) })
	b := w.bucket(bucket, nodesFill)
	for _, c := range list {
		if err := w.remove(b, bucket, c.key, c.node == nil); err != nil {
			return err
		}
		if c.node == nil {
			continue
		}
		at := w.begin()
		w.buf = c.node.AppendBinary(w.buf)
		if err := w.put(b, bucket, c.key, at); err != nil {
			return err
		}
	}
	return nil
}

// events drops what has left the history and adds what is new.
func (w *writer) events(d store.Delta) error {
	b := w.bucket(eventsBucket, eventsFill)
	var gone [][]byte // collected first: deleting moves the cursor
	c := b.Cursor()
	for key, value := c.First(); key != nil && binary.BigEndian.Uint64(key) < d.HistoryFirst; key, value = c.Next() {
		if err := w.forget(eventsBucket, key, value); err != nil {
			return err
		}
		gone = append(gone, bytes.Clone(key))
	}
	for _, key := range gone {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	for _, run := range d.Events {
		for i := range run {
			if run[i].Index() < d.HistoryFirst {
				continue
			}
			key := binary.BigEndian.AppendUint64(nil, run[i].Index())
			if err := w.remove(b, eventsBucket, key, false); err != nil {
				return err
			}
			at := w.begin()
			w.buf = run[i].AppendBinary(w.buf)
			if err := w.put(b, eventsBucket, key, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) bucket(name string, fill float64) *bolt.Bucket {
	b := w.tx.Bucket([]byte(name))
	b.FillPercent = fill
	return b
}

// remove takes what is stored under key out of the sums and, when the key goes
// for good, out of the bucket.
func (w *writer) remove(b *bolt.Bucket, bucket string, key []byte, forGood bool) error {
	if w.head.tally(bucket).count == 0 {
		return nil
	}
	old := b.Get(key)
	if old == nil {
		return nil
	}
	if err := w.forget(bucket, key, old); err != nil {
		return err
	}
	if !forGood {
		return nil
	}
	return b.Delete(key)
}

// forget takes a record out of the sums.
func (w *writer) forget(bucket string, key, value []byte) error {
	if _, ok := unseal(bucket, key, value); !ok {
		return corrupt(w.file, "changed on the disk since it was loaded: bucket %q: record %.64q has a wrong checksum", bucket, key)
	}
	w.head.tally(bucket).remove(key, value)
	return nil
}

const arenaBytes = 1 << 20

// begin starts a value and leaves room for its checksum. It returns where the
// value starts in w.buf.
func (w *writer) begin() int {
	if cap(w.buf)-len(w.buf) < arenaBytes/8 {
		w.buf = make([]byte, 0, arenaBytes) // bbolt keeps the old one
	}
	w.buf = append(w.buf, make([]byte, sumSize)...)
	return len(w.buf) - sumSize
}

// put seals the value that starts at and stores it.
func (w *writer) put(b *bolt.Bucket, bucket string, key []byte, at int) error {
	value := w.buf[at:len(w.buf):len(w.buf)]
	seal(bucket, key, value)
	w.head.tally(bucket).add(key, value)
	return b.Put(key, value)
}

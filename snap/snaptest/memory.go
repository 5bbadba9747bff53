package snaptest

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"sync"

	"etcd2/snap"
	"etcd2/store"
)

// Disk is where checkpoints in memory lie. It outlives the Memory that uses
// it, as a directory outlives a process; the zero Disk is an empty directory.
type Disk struct {
	mu   sync.Mutex // guards the fields below
	kept content
	held *Memory // the Memory that has the disk open
}

// content is one checkpoint. Records are kept encoded, so that nothing of the
// store that made them is shared.
type content struct {
	Meta     snap.Meta
	Clock    int64
	Counters []byte
	Nodes    map[string][]byte // by path
	Events   map[uint64][]byte // by etcd index
}

// clone copies what a commit changes.
func (c content) clone() content {
	c.Nodes, c.Events = maps.Clone(c.Nodes), maps.Clone(c.Events)
	if c.Nodes == nil {
		c.Nodes = map[string][]byte{}
	}
	if c.Events == nil {
		c.Events = map[uint64][]byte{}
	}
	return c
}

// Memory is a checkpoint in memory that behaves like a *snap.Store. Its methods
// may be called from any goroutine.
type Memory struct {
	disk *Disk

	// Fail is asked before every Commit and may refuse it, as a full disk
	// does. Set it before the first use.
	Fail func() error

	mu       sync.Mutex // guards the fields below
	loaded   bool
	pending  []store.Delta // refused by Fail, written by the next Commit
	received *content
}

// Open takes the disk, like snap.Open. The Memory that had it, if it was not
// closed, is cut off: that is what a crash is.
func (d *Disk) Open() *Memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = &Memory{disk: d}
	return d.held
}

// Meta tells which moment lies on the disk, whoever has it open.
func (d *Disk) Meta() snap.Meta {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept.Meta
}

var errClosed = errors.New("snaptest: closed")

// keep runs f on the content of the disk, unless the disk has moved on.
func (m *Memory) keep(f func(c *content) error) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.disk.held != m {
		return errClosed
	}
	return f(&m.disk.kept)
}

// Load builds the store that was committed last.
func (m *Memory) Load(cfg store.Config) (st *store.Store, meta snap.Meta, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err = m.keep(func(c *content) error {
		meta = c.Meta
		st, err = c.build(cfg)
		return err
	})
	if err == nil {
		m.loaded, m.pending = true, nil
	}
	return st, meta, err
}

func (c *content) build(cfg store.Config) (*store.Store, error) {
	if c.Meta.Sequence == 0 {
		return store.New(cfg), nil
	}
	l := store.NewLoader(cfg)
	paths := slices.SortedFunc(maps.Keys(c.Nodes), func(a, b string) int {
		return bytes.Compare(store.AppendKey(nil, a), store.AppendKey(nil, b))
	})
	for _, path := range paths {
		n, err := store.ParseNode(c.Nodes[path])
		if err != nil {
			return nil, err
		}
		if err := l.Node(n); err != nil {
			return nil, err
		}
	}
	for _, index := range slices.Sorted(maps.Keys(c.Events)) {
		e, err := store.ParseEvent(c.Events[index])
		if err != nil {
			return nil, err
		}
		if err := l.Event(e); err != nil {
			return nil, err
		}
	}
	counters, err := store.ParseStats(c.Counters)
	if err != nil {
		return nil, err
	}
	return l.Finish(c.Meta.StoreIndex, counters, c.Clock)
}

// Commit adds a delta.
func (m *Memory) Commit(d store.Delta, meta snap.Meta) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loaded {
		return snap.ErrNotLoaded
	}
	m.pending = append(m.pending, d)
	if m.Fail != nil {
		if err := m.Fail(); err != nil {
			return fmt.Errorf("snaptest: %w", err)
		}
	}
	err := m.keep(func(c *content) error {
		next := c.clone()
		for _, d := range m.pending {
			next.add(d)
		}
		sequence := c.Meta.Sequence + 1
		next.Meta = meta
		next.Meta.Sequence, next.Meta.StoreIndex, next.Meta.Installed = sequence, d.Index, 0
		next.Meta.Nodes, next.Meta.Events = uint64(len(next.Nodes)), uint64(len(next.Events))
		next.Meta.Conf = bytes.Clone(meta.Conf)
		*c = next
		return nil
	})
	if err == nil {
		m.pending = nil
	}
	return err
}

func (c *content) add(d store.Delta) {
	if d.Full {
		clear(c.Nodes)
		clear(c.Events)
	}
	for path, n := range d.Nodes {
		if n == nil {
			delete(c.Nodes, path)
		} else {
			c.Nodes[path] = n.AppendBinary(nil)
		}
	}
	for _, run := range d.Events {
		for i := range run {
			c.Events[run[i].Index()] = run[i].AppendBinary(nil)
		}
	}
	maps.DeleteFunc(c.Events, func(index uint64, _ []byte) bool { return index < d.HistoryFirst })
	c.Clock, c.Counters = d.Clock, d.Counters.AppendBinary(nil)
}

// Copy is a consistent look at a checkpoint, like a *snap.Copy.
type Copy struct {
	meta   snap.Meta
	stream []byte
}

// Copy takes the checkpoint as it is now, in a form Receive understands.
func (m *Memory) Copy() (*Copy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loaded {
		return nil, snap.ErrNotLoaded
	}
	var meta snap.Meta
	var b bytes.Buffer
	err := m.keep(func(c *content) error {
		meta = c.Meta
		return gob.NewEncoder(&b).Encode(c)
	})
	if err != nil {
		return nil, err
	}
	return &Copy{meta, binary.LittleEndian.AppendUint32(b.Bytes(), crc32.ChecksumIEEE(b.Bytes()))}, nil
}

// Meta says which moment the copy holds.
func (c *Copy) Meta() snap.Meta { return c.meta }

// Size is the number of bytes that WriteTo writes.
func (c *Copy) Size() int64 { return int64(len(c.stream)) }

// WriteTo streams the copy.
func (c *Copy) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(c.stream)
	return int64(n), err
}

// Close does nothing: a copy in memory holds nobody up.
func (c *Copy) Close() error { return nil }

// Stream sends the checkpoint as it is now.
func (m *Memory) Stream(w io.Writer) (snap.Meta, int64, error) {
	c, err := m.Copy()
	if err != nil {
		return snap.Meta{}, 0, err
	}
	n, err := c.WriteTo(w)
	return c.meta, n, err
}

// Receive takes the stream of another Memory and makes member its owner.
func (m *Memory) Receive(r io.Reader, member uint64) (snap.Meta, error) {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.received = nil
	if err != nil {
		return snap.Meta{}, err
	}
	body, sum := b[:max(0, len(b)-4)], b[max(0, len(b)-4):]
	if len(sum) < 4 || crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return snap.Meta{}, snap.ErrStream
	}
	var c content
	if err := gob.NewDecoder(bytes.NewReader(body)).Decode(&c); err != nil {
		return snap.Meta{}, fmt.Errorf("%w: %w", snap.ErrCorrupt, err)
	}
	c.Meta.MemberID, c.Meta.Installed = member, c.Meta.Index
	m.received = &c
	return c.Meta, nil
}

// Install puts what was received into place. Load comes next.
func (m *Memory) Install() (snap.Meta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.received == nil {
		return snap.Meta{}, snap.ErrNothingReceived
	}
	c := *m.received
	m.received, m.loaded, m.pending = nil, false, nil
	err := m.keep(func(kept *content) error {
		*kept = c
		return nil
	})
	return c.Meta, err
}

// Size is the number of bytes of all records.
func (m *Memory) Size() int64 {
	size := 0
	err := m.keep(func(c *content) error {
		for _, b := range c.Nodes {
			size += len(b)
		}
		for _, b := range c.Events {
			size += len(b)
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return int64(size)
}

// Close gives the disk back.
func (m *Memory) Close() error {
	m.mu.Lock()
	m.loaded = false
	m.mu.Unlock()
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.disk.held == m {
		m.disk.held = nil
	}
	return nil
}

package snap

import (
	"errors"
	"fmt"

	"etcd2/store"
)

// Load checks the whole file and builds the store it holds, with its Meta. A
// file to which nothing was committed yet gives a fresh store and a zero Meta.
// On ErrCorrupt or ErrVersion nothing of the content was handed out and the
// file is as it was. Commit and Copy work from here on. The store's own changes
// since Load, and no others, may be committed.
func (s *Store) Load(cfg store.Config) (*store.Store, Meta, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.usable(); err != nil {
		return nil, Meta{}, err
	}
	im, err := openImage(s.path())
	if err != nil {
		return nil, Meta{}, err
	}
	defer im.close()
	st, h, err := im.load(cfg)
	if err != nil {
		return nil, Meta{}, err
	}
	if err := s.adopt(); err != nil {
		return nil, Meta{}, err
	}
	s.loaded, s.pending = true, nil
	return st, h.meta(), nil
}

// adopt opens the verified file for commits, unless it is open already.
func (s *Store) adopt() error {
	s.mu.Lock()
	opened := s.gen != nil
	s.mu.Unlock()
	if opened {
		return nil
	}
	var g *generation
	err := guard(s.path(), func() (err error) {
		g, err = s.openBolt(s.path())
		return err
	})
	if err != nil {
		return fmt.Errorf("snap: cannot open the checkpoint: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen = g
	return nil
}

// batch carries records from the goroutine that reads the file to the one that
// builds the store.
type batch struct {
	kinds []recordKind
	ends  []int // of each record in data
	data  []byte
}

const (
	batchRecords = 512
	batchBytes   = 128 << 10
	batchCount   = 8 // in flight: enough to even out a slow page, few enough to stay in the cache
)

func (b *batch) full() bool { return len(b.ends) >= batchRecords || len(b.data) >= batchBytes }

func (b *batch) add(kind recordKind, payload []byte) {
	b.data = append(b.data, payload...)
	b.ends = append(b.ends, len(b.data))
	b.kinds = append(b.kinds, kind)
}

var errStopped = errors.New("snap: the load was given up")

// scanner reads the file in a goroutine of its own.
type scanner struct {
	full  chan *batch   // capacity batchCount: all batches there are
	empty chan *batch   // likewise
	stop  chan struct{} // closed by the builder when it gives up
	head  *head         // with err the result, once full is closed
	err   error
}

func (sc *scanner) run(im *image) {
	defer close(sc.full)
	b := &batch{}
	sc.head, sc.err = im.scan(func(kind recordKind, payload []byte) error {
		b.add(kind, payload)
		if !b.full() {
			return nil
		}
		sc.full <- b
		select {
		case b = <-sc.empty:
			return nil
		case <-sc.stop:
			return errStopped
		}
	})
	if sc.err == nil {
		sc.full <- b
	}
}

// load checks the image and builds its store. Reading and checking take one
// core, decoding and building another.
func (im *image) load(cfg store.Config) (*store.Store, *head, error) {
	sc := &scanner{
		full:  make(chan *batch, batchCount+1),
		empty: make(chan *batch, batchCount),
		stop:  make(chan struct{}),
	}
	for range batchCount {
		sc.empty <- &batch{}
	}
	go sc.run(im)
	l := store.NewLoader(cfg)
	var failed error
	for b := range sc.full {
		if failed != nil {
			continue
		}
		if failed = im.build(l, b); failed != nil {
			close(sc.stop)
			continue
		}
		*b = batch{kinds: b.kinds[:0], ends: b.ends[:0], data: b.data[:0]}
		select {
		case sc.empty <- b:
		default: // the last batch: the scanner has ended
		}
	}
	if sc.err != nil && !errors.Is(sc.err, errStopped) {
		return nil, nil, sc.err
	}
	if failed != nil {
		return nil, nil, failed
	}
	st, err := im.finish(l, sc.head, cfg)
	return st, sc.head, err
}

// build decodes a batch into the store.
func (im *image) build(l *store.Loader, b *batch) error {
	from := 0
	for i, end := range b.ends {
		payload := b.data[from:end]
		from = end
		if err := im.buildOne(l, b.kinds[i], payload); err != nil {
			return im.corrupt("a record with a good checksum cannot be used: %v", err)
		}
	}
	return nil
}

func (im *image) buildOne(l *store.Loader, kind recordKind, payload []byte) error {
	if kind == nodeRecord {
		n, err := store.ParseNode(payload)
		if err != nil {
			return err
		}
		return l.Node(n)
	}
	e, err := store.ParseEvent(payload)
	if err != nil {
		return err
	}
	return l.Event(e)
}

// finish ends the load with what the head knows.
func (im *image) finish(l *store.Loader, h *head, cfg store.Config) (*store.Store, error) {
	if h.Sequence == 0 {
		return store.New(cfg), nil
	}
	st, err := l.Finish(h.StoreIndex, h.counters, h.clock)
	if err != nil {
		return nil, im.corrupt("the records do not make a tree: %v", err)
	}
	return st, nil
}

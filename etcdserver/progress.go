package etcdserver

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress is how far the applier has come. The applier moves it; readers
// look at it without a lock and may wait for an index.
type progress struct {
	index atomic.Uint64
	term  atomic.Uint64

	mu      sync.Mutex // guards the fields below
	waiting []indexWait
}

type indexWait struct {
	index uint64
	done  chan struct{} // closed by wake
}

func (p *progress) position() Position {
	return Position{RaftIndex: p.index.Load(), RaftTerm: p.term.Load()}
}

// set says that everything up to index has been applied.
func (p *progress) set(index, term uint64) {
	p.term.Store(term)
	p.index.Store(index)
}

// wake lets those go on whose index has been reached. The applier calls it
// once after a group of entries.
func (p *progress) wake() {
	index := p.index.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.waiting[:0]
	for _, w := range p.waiting {
		if w.index <= index {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
}

// wait returns when everything up to index has been applied, or with the
// context's error.
func (p *progress) wait(ctx context.Context, index uint64) error {
	if p.index.Load() >= index {
		return nil
	}
	done := make(chan struct{})
	p.mu.Lock()
	if p.index.Load() >= index {
		p.mu.Unlock()
		return nil
	}
	p.waiting = append(p.waiting, indexWait{index, done})
	p.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err() // the record stays until the applier passes its index
	}
}

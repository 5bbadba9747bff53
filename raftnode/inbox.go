package raftnode

import (
	"context"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// inbox is where all other goroutines leave what they have for the loop, which
// takes everything at once: under load one wake-up serves many proposals.
// Proposals and messages are bounded, and who brings one too many waits; what
// the writer and the applier report is bounded by what they were given.
type inbox struct {
	wake chan struct{} // capacity 1: one pending wake-up is enough

	mu            sync.Mutex // guards the fields below
	proposals     [][]byte
	proposalBytes int
	batches       []*batch
	messages      []*raftpb.Message
	snapshots     []*arrival
	reports       []report
	calls         []func(*loop)
	readers       *readers      // gathering for the next read round; nil when nobody waits
	room          chan struct{} // closed when the loop has taken something; nil when nobody waits
	closed        bool
}

// report is what the writer or the applier has finished.
type report struct {
	saved   []*raftpb.Message // responses to a durable append
	applied Committed
	install *install // a snapshot for the applier
}

// batch is proposals that only this member may propose, now or never.
type batch struct {
	data [][]byte
	done chan struct{} // closed when err is set
	err  error
}

// arrival is a snapshot that somebody wants to know the fate of.
type arrival struct {
	message  *raftpb.Message
	done     chan struct{} // closed when accepted and err are set
	accepted bool
	err      error
}

// readers wait for one read round together.
type readers struct {
	done  chan struct{} // closed when index or err is set
	index uint64
	err   error
}

// maxMessages bounds the messages of peers that wait for the loop.
const maxMessages = 1024

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// putProposal queues data, waiting for room until ctx ends.
func (b *inbox) putProposal(ctx context.Context, data []byte, maxCount, maxBytes int) error {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return ErrStopped
		}
		if len(b.proposals) < maxCount && (b.proposalBytes+len(data) <= maxBytes || len(b.proposals) == 0) {
			b.proposals = append(b.proposals, data)
			b.proposalBytes += len(data)
			first := len(b.proposals) == 1
			b.mu.Unlock()
			if first {
				b.notify()
			}
			return nil
		}
		if err := b.waitForRoom(ctx); err != nil {
			return err
		}
	}
}

// putMessage queues a peer's message, waiting for room until ctx ends.
func (b *inbox) putMessage(ctx context.Context, m *raftpb.Message) error {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return ErrStopped
		}
		if len(b.messages) < maxMessages {
			b.messages = append(b.messages, m)
			b.mu.Unlock()
			b.notify()
			return nil
		}
		if err := b.waitForRoom(ctx); err != nil {
			return err
		}
	}
}

// waitForRoom is called with the lock held and releases it.
func (b *inbox) waitForRoom(ctx context.Context) error {
	if b.room == nil {
		b.room = make(chan struct{})
	}
	room := b.room
	b.mu.Unlock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *inbox) putReport(r report) {
	b.mu.Lock()
	b.reports = append(b.reports, r)
	b.mu.Unlock()
	b.notify()
}

// putBatch queues a batch. It returns false once the loop has ended.
func (b *inbox) putBatch(p *batch) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.batches = append(b.batches, p)
	b.notify()
	return true
}

// withdraw takes back a batch. It returns false when the loop was faster.
func (b *inbox) withdraw(p *batch) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.batches, p)
	if i >= 0 {
		b.batches = slices.Delete(b.batches, i, i+1)
	}
	return i >= 0
}

// putSnapshot queues a snapshot. It returns false once the loop has ended.
func (b *inbox) putSnapshot(a *arrival) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.snapshots = append(b.snapshots, a)
	b.notify()
	return true
}

// withdrawSnapshot takes back a snapshot. It returns false when the loop was
// faster.
func (b *inbox) withdrawSnapshot(a *arrival) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.snapshots, a)
	if i >= 0 {
		b.snapshots = slices.Delete(b.snapshots, i, i+1)
	}
	return i >= 0
}

// putCall has the loop call f. It returns false once the loop has ended.
func (b *inbox) putCall(f func(*loop)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.calls = append(b.calls, f)
	b.notify()
	return true
}

// joinReaders adds the caller to the readers that wait for the next round.
func (b *inbox) joinReaders() (*readers, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrStopped
	}
	if b.readers == nil {
		b.readers = &readers{done: make(chan struct{})}
		b.notify()
	}
	return b.readers, nil
}

// take moves everything but proposals and readers, which the loop takes when it
// can use them, into got, whose slices are reused.
func (b *inbox) take(got *taken) {
	clear(got.batches)
	clear(got.messages)
	clear(got.reports)
	clear(got.calls)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches, got.batches = got.batches[:0], b.batches
	b.messages, got.messages = got.messages[:0], b.messages
	got.snapshots, b.snapshots = b.snapshots, nil
	b.reports, got.reports = got.reports[:0], b.reports
	b.calls, got.calls = got.calls[:0], b.calls
	got.proposals = len(b.proposals) > 0
	got.readers = b.readers != nil
	if len(got.messages) > 0 {
		b.freeRoom()
	}
}

// taken is one turn's share of the inbox.
type taken struct {
	batches   []*batch
	messages  []*raftpb.Message
	snapshots []*arrival
	reports   []report
	calls     []func(*loop)
	proposals bool // some are waiting
	readers   bool // some are waiting
}

// takeProposals returns the oldest proposals, at most maxBytes of them but at
// least one, and whether there are more. With reuse, a slice returned earlier and
// cleared since, nothing is allocated.
func (b *inbox) takeProposals(maxBytes int, reuse [][]byte) (part [][]byte, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freeRoom()
	if b.proposalBytes <= maxBytes {
		all := b.proposals
		b.proposals, b.proposalBytes = reuse[:0], 0
		return all, false
	}
	n, size := 0, 0
	for n < len(b.proposals) && (n == 0 || size+len(b.proposals[n]) <= maxBytes) {
		size += len(b.proposals[n])
		n++
	}
	part = append(reuse[:0], b.proposals[:n]...)
	rest := copy(b.proposals, b.proposals[n:])
	clear(b.proposals[rest:])
	b.proposals = b.proposals[:rest]
	b.proposalBytes -= size
	b.notify() // for the rest
	return part, true
}

func (b *inbox) takeReaders() *readers {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.readers
	b.readers = nil
	return r
}

func (b *inbox) freeRoom() {
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// close refuses everything from now on and lets go of who waits.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.freeRoom()
	for _, p := range b.batches {
		p.answer(ErrStopped)
	}
	for _, a := range b.snapshots {
		a.answer(false, ErrStopped)
	}
	b.batches, b.snapshots = nil, nil
	if b.readers != nil {
		b.readers.fail(ErrStopped)
		b.readers = nil
	}
}

func (p *batch) answer(err error) { p.err = err; close(p.done) }
func (a *arrival) answer(accepted bool, err error) {
	a.accepted, a.err = accepted, err
	close(a.done)
}
func (r *readers) answer(index uint64) { r.index = index; close(r.done) }
func (r *readers) fail(err error)      { r.err = err; close(r.done) }

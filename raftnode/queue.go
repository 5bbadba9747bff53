package raftnode

import (
	"context"
	"sync"
)

// queue carries appends from the loop to the writer. Raft bounds what is in it:
// MaxUncommittedBytes on a leader, the leader's MaxInflightBytes on a follower.
type queue struct {
	wake chan struct{} // capacity 1: one pending wake-up is enough

	mu      sync.Mutex // guards the fields below
	waiting []Append
	busy    bool // the writer has taken appends and not finished them
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds an append.
func (q *queue) put(a Append) {
	q.mu.Lock()
	q.waiting = append(q.waiting, a)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all appends, waiting for the first; nil when ctx has ended.
func (q *queue) take(ctx context.Context) []Append {
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.busy = len(batch) > 0
		q.mu.Unlock()
		if len(batch) > 0 {
			return batch
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// idle tells that every append put so far has been saved and reported.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.busy && len(q.waiting) == 0
}

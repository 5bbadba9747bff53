package etcdserver

import (
	"sync"

	"etcd2/store"
)

// outcome is what the applier made of one proposal.
type outcome struct {
	reply   Reply
	err     *store.Error
	refused error // of a change of members
}

// waiters connects the requests that wait for their proposal with the applier.
// A request registers before it proposes and leaves when it was answered or
// gave up; the applier answers whoever is still there.
type waiters struct {
	mu   sync.Mutex // guards the fields below
	byID map[uint64]chan outcome
	free []chan outcome
}

// freeWaitersMax bounds the reply channels kept for reuse.
const freeWaitersMax = 1024

func newWaiters() *waiters {
	return &waiters{byID: make(map[uint64]chan outcome)}
}

// register returns the channel on which the outcome of request id will come.
// Its capacity is one, so the applier never waits for a request.
func (w *waiters) register(id uint64) chan outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ch chan outcome
	if n := len(w.free); n > 0 {
		ch = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		ch = make(chan outcome, 1)
	}
	w.byID[id] = ch
	return ch
}

// answer hands an outcome to the request, if it still waits.
func (w *waiters) answer(id uint64, o outcome) {
	w.mu.Lock()
	ch, ok := w.byID[id]
	delete(w.byID, id)
	w.mu.Unlock()
	if ok {
		ch <- o
	}
}

// answerAll hands an outcome to all requests that wait.
func (w *waiters) answerAll(o outcome) {
	w.mu.Lock()
	all := w.byID
	w.byID = make(map[uint64]chan outcome)
	w.mu.Unlock()
	for _, ch := range all {
		ch <- o
	}
}

// waits tells whether a request still waits.
func (w *waiters) waits(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.byID[id]
	return ok
}

// forget ends the wait of a request that gave up. Its channel is not reused:
// the applier may be about to send on it.
func (w *waiters) forget(id uint64) {
	w.mu.Lock()
	delete(w.byID, id)
	w.mu.Unlock()
}

// recycle takes back the channel of a request that received its outcome.
func (w *waiters) recycle(ch chan outcome) {
	w.mu.Lock()
	if len(w.free) < freeWaitersMax {
		w.free = append(w.free, ch)
	}
	w.mu.Unlock()
}

// len is the number of requests waiting.
func (w *waiters) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byID)
}

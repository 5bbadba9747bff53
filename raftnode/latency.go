package raftnode

import "time"

// latency measures how long entries take from being handed to the log until
// they are committed, one measurement for each group that is written together.
type latency struct {
	observe func(time.Duration) // nil: nothing is measured
	pending []mark              // ascending by index
}

// mark is a group on its way.
type mark struct {
	index uint64 // of its last entry
	began time.Time
}

// begin notes that entries up to index are handed to the log. What another
// leader had put at that place or behind it is forgotten.
func (l *latency) begin(first, last uint64) {
	if l.observe == nil {
		return
	}
	for n := len(l.pending); n > 0 && l.pending[n-1].index >= first; n-- {
		l.pending = l.pending[:n-1]
	}
	l.pending = append(l.pending, mark{last, time.Now()})
}

// committed reports the groups that index covers.
func (l *latency) committed(index uint64) {
	n := 0
	for n < len(l.pending) && l.pending[n].index <= index {
		l.observe(time.Since(l.pending[n].began))
		n++
	}
	l.pending = append(l.pending[:0], l.pending[n:]...)
}

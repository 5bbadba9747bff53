package peer

import (
	"sync"
	"time"

	"etcd2/membership"
)

// notices is what waits to be told to the member.
type notices struct {
	wake chan struct{} // capacity 1: one wake-up covers all that waits

	mu   sync.Mutex // guards news
	news news
}

// news is what the member is to be told.
type news struct {
	lost      map[membership.ID]bool // messages to these
	snapshots map[membership.ID]bool // to these, not sent
	refused   [][]byte
}

func newNotices() *notices {
	n := &notices{wake: make(chan struct{}, 1)}
	n.take()
	return n
}

func (n *notices) unreachable(id membership.ID) {
	n.mu.Lock()
	n.news.lost[id] = true
	n.mu.Unlock()
	signal(n.wake)
}

func (n *notices) unsent(id membership.ID) {
	n.mu.Lock()
	n.news.snapshots[id] = true
	n.mu.Unlock()
	signal(n.wake)
}

func (n *notices) refuse(writes [][]byte) {
	n.mu.Lock()
	n.news.refused = append(n.news.refused, writes...)
	n.mu.Unlock()
	signal(n.wake)
}

func (n *notices) take() news {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.news
	n.news = news{lost: map[membership.ID]bool{}, snapshots: map[membership.ID]bool{}}
	return taken
}

// signal leaves one wake-up in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// seldom keeps lines that could fill the log at one each half minute.
type seldom struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

const (
	seldomPeriod = 30 * time.Second
	seldomKeys   = 1024 // keys hold IDs that a stranger may invent
)

func newSeldom() *seldom { return &seldom{last: map[string]time.Time{}} }

// ok tells whether the line with this key may be logged now.
func (s *seldom) ok(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if last, seen := s.last[key]; seen && now.Sub(last) < seldomPeriod {
		return false
	}
	if len(s.last) >= seldomKeys {
		clear(s.last)
	}
	s.last[key] = now
	return true
}

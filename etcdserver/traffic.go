package etcdserver

import (
	"sync"
	"time"

	"etcd2/membership"
	"etcd2/peer"
)

// Traffic counts messages and their recent rates.
type Traffic struct {
	Messages       uint64
	PerSecond      float64 // messages, since the look before this one but for a second at least
	BytesPerSecond float64
}

// rateWindow is the shortest time over which a rate is taken.
const rateWindow = time.Second

// meter makes rates of counts whenever somebody looks, so that nothing runs while
// nobody does.
type meter struct {
	mu    sync.Mutex // guards the fields below
	at    time.Time  // of count
	count peer.Traffic
	shown Traffic
}

// read takes the present count.
func (m *meter) read(count peer.Traffic) Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown.Messages = count.Messages
	now := time.Now()
	if took := now.Sub(m.at); took >= rateWindow {
		m.shown.PerSecond = grown(m.count.Messages, count.Messages) / took.Seconds()
		m.shown.BytesPerSecond = grown(m.count.Bytes, count.Bytes) / took.Seconds()
		m.at, m.count = now, count
	}
	return m.shown
}

// grown is how much a counter has grown. It shrinks when a member leaves, and
// takes its counts with it.
func grown(before, now uint64) float64 { return float64(max(now, before) - before) }

// SelfStats is what /v2/stats/self shows.
type SelfStats struct {
	Name        string
	ID          membership.ID
	State       string // "StateLeader", "StateFollower", ...
	Start       time.Time
	Leader      membership.ID // the last known one during an election; 0 before the first
	LeaderSince time.Time     // Start before the first
	Received    Traffic       // append messages from other members
	Sent        Traffic       // append messages to other members
}

// SelfStats describes this member.
func (s *Server) SelfStats() SelfStats {
	var sent, received peer.Traffic
	for _, l := range s.peers.Links() {
		sent.Messages += l.Appends.Messages
		sent.Bytes += l.Appends.Bytes
		received.Messages += l.Received.Messages
		received.Bytes += l.Received.Bytes
	}
	stats := SelfStats{
		Name: s.cfg.Name, ID: s.id, State: s.node.Status().Role, Start: s.started, LeaderSince: s.started,
		Received: s.received.read(received), Sent: s.sent.read(sent),
	}
	if led := s.lastLeader.Load(); led != nil {
		stats.Leader, stats.LeaderSince = led.id, led.since
	}
	return stats
}

// LeaderStats is what /v2/stats/leader shows.
type LeaderStats struct {
	Leader    membership.ID
	Followers map[membership.ID]FollowerStats
}

// FollowerStats is the leader's experience with one follower.
type FollowerStats struct {
	Latency Latency
	Fail    uint64 // messages that did not arrive
	Success uint64
}

// Latency is a summary of round-trip times in milliseconds.
type Latency struct {
	Current           float64
	Average           float64
	StandardDeviation float64
	Minimum           float64
	Maximum           float64
}

func inMilliseconds(l peer.Latency) Latency {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return Latency{ms(l.Current), ms(l.Average), ms(l.StandardDeviation), ms(l.Minimum), ms(l.Maximum)}
}

// LeaderStats describes the followers; false unless this member leads.
func (s *Server) LeaderStats() (LeaderStats, bool) {
	if !s.leading() {
		return LeaderStats{}, false
	}
	stats := LeaderStats{Leader: s.id, Followers: map[membership.ID]FollowerStats{}}
	members := s.cluster.Load()
	for id, l := range s.peers.Links() {
		if _, known := members.Member(id); known {
			stats.Followers[id] = FollowerStats{
				Latency: inMilliseconds(l.Latency),
				Fail:    l.Fail,
				Success: l.Success,
			}
		}
	}
	return stats, true
}

package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"etcd2/membership"
)

// clockDifferenceMax is the difference of clocks that is worth a warning.
const clockDifferenceMax = time.Second

// appendPong answers a ping: with its time, and that of the clock here.
func appendPong(b, ping []byte) []byte {
	start := len(b)
	b = append(beginFrame(b, kindPong), ping...)
	b = binary.LittleEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	return endFrame(b, start)
}

// pong takes in the answer to a ping, whose time counts from began.
func (l *link) pong(payload []byte, began time.Time) error {
	if len(payload) != 16 {
		return fmt.Errorf("%w: pong of %d bytes", errFrame, len(payload))
	}
	now := time.Now()
	took := now.Sub(began) - time.Duration(binary.LittleEndian.Uint64(payload))
	if took < 0 || took > now.Sub(began) {
		return fmt.Errorf("%w: pong for a ping that was not sent", errFrame)
	}
	there := time.Unix(0, int64(binary.LittleEndian.Uint64(payload[8:])))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trip.add(took)
	// The other clock was read half a trip ago, as far as one can know.
	l.trip.clock = there.Sub(now.Round(0)) + took/2
	return nil
}

// roundTrips is what the pings of a stream have told.
type roundTrips struct {
	count         uint64
	last          time.Duration
	least, most   time.Duration
	sum, sumOfSqr float64 // in seconds
	clock         time.Duration
}

func (r *roundTrips) add(took time.Duration) {
	if r.count == 0 || took < r.least {
		r.least = took
	}
	r.most = max(r.most, took)
	r.last = took
	r.count++
	r.sum += took.Seconds()
	r.sumOfSqr += took.Seconds() * took.Seconds()
}

func (r *roundTrips) latency() Latency {
	if r.count == 0 {
		return Latency{}
	}
	n := float64(r.count)
	mean := r.sum / n
	return Latency{
		Current:           r.last,
		Average:           seconds(mean),
		StandardDeviation: seconds(math.Sqrt(max(0, r.sumOfSqr/n-mean*mean))),
		Minimum:           r.least,
		Maximum:           r.most,
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Link is the state and the record of the connection to one other member.
type Link struct {
	Active bool      // there is a stream to it
	Since  time.Time // since when, or since when there is none

	RTT             time.Duration // the last round trip; 0 when none was measured
	ClockDifference time.Duration // how far its clock is ahead of this one's
	Latency         Latency       // the round trips of this stream

	Appends  Traffic // MsgApps that were sent to it
	Received Traffic // MsgApps that it has sent
	Success  uint64  // MsgApps that the network took
	Fail     uint64  // MsgApps that were lost on this side of it
}

// Latency sums up how long round trips took.
type Latency struct {
	Current, Average, StandardDeviation, Minimum, Maximum time.Duration
}

// Traffic counts messages and their bytes on the wire.
type Traffic struct{ Messages, Bytes uint64 }

func (c *counter) traffic() Traffic { return Traffic{c.messages.Load(), c.bytes.Load()} }

// Links returns the state of the connections to all other members.
func (t *Transport) Links() map[membership.ID]Link {
	links := map[membership.ID]Link{}
	for id, l := range *t.routes.Load() {
		links[id] = l.state()
	}
	return links
}

func (l *link) state() Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Link{
		Active: l.active != "", Since: l.since,
		RTT: l.trip.last, ClockDifference: l.trip.clock, Latency: l.trip.latency(),
		Appends: l.sent.traffic(), Received: l.received.traffic(),
		Fail: l.fail.Load(),
	}
	s.Success = s.Appends.Messages
	return s
}

// watch warns of connections that do not work and of clocks that differ.
func (t *Transport) watch(ctx context.Context) {
	tick := time.NewTicker(t.cfg.ProbePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for id, l := range *t.routes.Load() {
			l.announce()
			t.warn(id, l.state())
		}
	}
}

func (t *Transport) warn(id membership.ID, l Link) {
	switch {
	case !l.Active && time.Since(l.Since) >= t.cfg.ProbePeriod:
		if t.seldom.ok("unhealthy " + id.String()) {
			t.log.Warn(fmt.Sprintf("the connection to peer %s is unhealthy", id))
		}
	case l.ClockDifference.Abs() > clockDifferenceMax:
		if t.seldom.ok("clock " + id.String()) {
			t.log.Warn(fmt.Sprintf("the clock difference against peer %s is too high [%s > %s]", id, l.ClockDifference.Abs(), clockDifferenceMax))
		}
	}
}

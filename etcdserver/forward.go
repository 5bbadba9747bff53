package etcdserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/store"
)

// forward hands queued writes to the leader. The loop calls it when another
// member leads.
func (s *Server) forward(leader uint64, data [][]byte) { s.peers.Forward(membership.ID(leader), data) }

// wanted tells whether a request at this member still waits for a write. The loop
// asks about those that have waited for a leader for long. The few among them that
// this member took from others while it led are given up: their clients' deadlines
// end the wait.
func (s *Server) wanted(data []byte) bool {
	id, ok := replica.RequestOf(data)
	return ok && s.waiters.waits(id)
}

// Forwarded takes writes that another member's clients wait for into the log.
// After an error none of them was taken, nor will be. Writes that this member has
// no room for count as taken: the other member is told to refuse them.
func (s *Server) Forwarded(ctx context.Context, from membership.ID, writes [][]byte) error {
	size := 0
	for _, w := range writes {
		if err := replica.AdmitWrite(w); err != nil {
			return fmt.Errorf("etcdserver: a forwarded write is not one: %w", err)
		}
		size += len(w)
	}
	if full := s.space.admit(admissionFactor * size); full != nil {
		if writes = s.takeVital(from, writes, full); len(writes) == 0 {
			return nil
		}
	}
	return s.node.ProposeAsLeader(ctx, writes)
}

// takeVital returns those writes that go on while the disk is nearly full, the
// members' own, and has the others refused.
func (s *Server) takeVital(from membership.ID, writes [][]byte, full *store.Error) [][]byte {
	var vital [][]byte
	refused := refusal{to: from, Cause: full.Cause}
	for _, w := range writes {
		if replica.Vital(w) {
			vital = append(vital, w)
		} else if id, ok := replica.RequestOf(w); ok {
			refused.IDs = append(refused.IDs, id)
		}
	}
	select {
	case s.refusals <- refused:
	default: // the clients' deadlines end their wait
	}
	return vital
}

// refusal tells the member that forwarded some writes why its clients are
// refused.
type refusal struct {
	to    membership.ID
	Cause string   `json:"cause"`
	IDs   []uint64 `json:"ids"` // of the requests
}

// refusalsMax bounds the refusals that wait to be told. Each holds one batch of
// writes, and a leader without room has nothing better to do than to tell them.
const refusalsMax = 64

// tellRefusals tells other members of refused writes until ctx ends.
func (s *Server) tellRefusals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.refusals:
			s.tellRefusal(ctx, r)
		}
	}
}

// tellRefusal gives up after an election timeout; then the clients' deadlines
// end their wait.
func (s *Server) tellRefusal(ctx context.Context, r refusal) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Election)
	defer cancel()
	body, err := json.Marshal(r)
	if err == nil {
		_, err = s.peers.Ask(ctx, r.to, questionRefused, body)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot tell a member that its writes are refused", "member", r.to, "error", err)
	}
}

// learnRefusal answers the requests whose writes the leader has refused.
func (s *Server) learnRefusal(body []byte) error {
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("etcdserver: refusal of writes: %w", err)
	}
	for _, id := range r.IDs {
		s.waiters.answer(id, outcome{err: &store.Error{Code: store.RaftInternal, Cause: r.Cause}})
	}
	return nil
}

// returned are writes that came back from a member that does not lead, or not
// any more, or that has no room in its queues.
type returned struct {
	some bell // something came back

	mu     sync.Mutex // guards the fields below
	writes [][]byte
}

func newReturned() *returned { return &returned{some: newBell()} }

func (r *returned) put(writes [][]byte) {
	r.mu.Lock()
	for _, w := range writes {
		r.writes = append(r.writes, bytes.Clone(w))
	}
	r.mu.Unlock()
	r.some.ring()
}

func (r *returned) take() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes := r.writes
	r.writes = nil
	return writes
}

// Refused takes back writes that this member forwarded and that the other one
// certainly did not take. Those for which a request still waits are proposed
// again after a tick. It does not block.
func (s *Server) Refused(writes [][]byte) { s.returned.put(writes) }

// proposeReturned proposes again what came back, until ctx ends.
func (s *Server) proposeReturned(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.returned.some:
		}
		if pause(ctx, s.cfg.Tick) != nil {
			return nil
		}
		for _, w := range s.returned.take() {
			if s.wanted(w) && s.node.Propose(ctx, w) != nil {
				return nil // the member stops
			}
		}
	}
}

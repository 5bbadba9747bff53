package etcdserver

import (
	"context"
	"fmt"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
)

// Reply is the outcome of a write.
type Reply struct {
	Event    store.Event
	Index    uint64 // etcd index after the write
	Position        // of the write
}

// Position is a place in the raft log, as the X-Raft-* headers show it.
type Position struct {
	RaftIndex uint64
	RaftTerm  uint64
}

// admissionFactor is how many times the bytes of a write may land on the disk:
// once in the log, once in the checkpoint, and its record in the history.
const admissionFactor = 3

// Do carries one write through the log and returns when it is durable on a
// quorum and applied here. Whichever member leads gives it the cluster's time.
// The error is a *store.Error: a refusal of the store, or RaftInternal when the
// log gave no answer in time, in which case the write may still happen.
func (s *Server) Do(ctx context.Context, op store.Op) (Reply, error) {
	if err := s.agreement.refusal(); err != nil {
		return Reply{}, err
	}
	id, data := s.encode(op)
	if refused := s.space.admit(admissionFactor * len(data)); refused != nil {
		return Reply{}, refused
	}
	return s.propose(ctx, id, data)
}

// doInternal is Do for the member's own writes, which go on while the disk is
// nearly full: they are few and small.
func (s *Server) doInternal(ctx context.Context, op store.Op) (Reply, error) {
	id, data := s.encode(op)
	return s.propose(ctx, id, data)
}

// encode makes an operation a log entry under a new request id.
func (s *Server) encode(op store.Op) (id uint64, data []byte) {
	id = s.requestID.Add(1)
	return id, replica.EncodeWrite(id, op)
}

// stamp gives entries that this member is about to propose as the leader the
// cluster's time. The loop calls it.
func (s *Server) stamp(data [][]byte) {
	now := s.clock.now()
	for _, d := range data {
		replica.Stamp(d, now)
	}
}

// propose puts an entry into the log and waits for what the applier makes of it.
func (s *Server) propose(ctx context.Context, id uint64, data []byte) (Reply, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
	defer cancel()
	ch := s.waiters.register(id)
	if s.node.Propose(ctx, data) == nil {
		select {
		case o := <-ch:
			s.waiters.recycle(ch)
			observe(s.cfg.Observe.Proposal, time.Since(start))
			if err := s.agreement.refusal(); err != nil {
				return Reply{}, err // what the applier made of it cannot be trusted
			}
			if o.err != nil {
				return o.reply, o.err
			}
			return o.reply, nil
		case <-ctx.Done():
		case <-s.stopping:
		}
	}
	s.waiters.forget(id)
	if f := s.cfg.Observe.Failed; f != nil {
		f()
	}
	return Reply{}, s.unanswered(ctx, start)
}

// requestContext ends with ctx, with the time that a request may take, or with
// the member.
func (s *Server) requestContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// unanswered says why a request got no answer, in the words of etcd 2.3.
func (s *Server) unanswered(ctx context.Context, start time.Time) *store.Error {
	select {
	case <-s.stopping:
		return &store.Error{Code: store.RaftInternal, Cause: "etcdserver: server stopped"}
	default:
	}
	cause := "etcdserver: request timed out"
	if context.Cause(ctx) == context.Canceled {
		cause = "etcdserver: request cancelled" // by the client, who will not read it
	} else if st := s.node.Status(); st.Leader != 0 && start.Before(st.LeaderSince) &&
		st.LeaderSince.Sub(start) <= 2*s.cfg.Election {
		cause += ", possibly due to previous leader failure"
	} else if st.Leader != 0 && !s.connected(st, start) {
		cause += ", possibly due to connection lost"
	}
	return &store.Error{Code: store.RaftInternal, Cause: cause}
}

// connected tells whether this member has been in contact, all the time since
// start, with its leader or, as the leader, with a quorum.
func (s *Server) connected(st raftnode.Status, start time.Time) bool {
	links := s.peers.Links()
	linked := func(id uint64) bool {
		l := links[membership.ID(id)]
		return id == uint64(s.id) || l.Active && !l.Since.After(start)
	}
	if !s.leading() {
		return linked(st.Leader)
	}
	n := 0
	for _, id := range st.Conf.GetVoters() {
		if linked(id) {
			n++
		}
	}
	return n > len(st.Conf.GetVoters())/2
}

// Get reads the tree of this member, which may lag behind the cluster. The
// error is a *store.Error.
func (s *Server) Get(path string) (store.View, Position, error) {
	if err := s.agreement.refusal(); err != nil {
		return store.View{}, Position{}, err
	}
	pos := s.progress.position()
	v, err := s.store.Get(path)
	return v, pos, err
}

// QuorumGet reads what the cluster has agreed on up to now: it waits until a
// quorum has confirmed the leader (raft thesis §6.4) and until this member has
// applied what was committed by then. The error is a *store.Error.
func (s *Server) QuorumGet(ctx context.Context, path string) (store.View, Position, error) {
	if err := s.agreement.refusal(); err != nil {
		return store.View{}, Position{}, err
	}
	start := time.Now()
	if err := s.confirm(ctx); err != nil {
		return store.View{}, Position{}, s.unanswered(ctx, start)
	}
	return s.Get(path)
}

// confirm returns once a local read is linearizable. It waits no longer than a
// request may.
func (s *Server) confirm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
	defer cancel()
	index, err := s.node.ReadIndex(ctx)
	if err != nil {
		return fmt.Errorf("no leader confirmed by a quorum: %w", err)
	}
	return s.progress.wait(ctx, index)
}

// Watch begins a watch on this member. Position is the place at which it began.
// The error is a *store.Error.
func (s *Server) Watch(path string, o store.WatchOptions) (*store.Watcher, Position, error) {
	pos := s.progress.position()
	w, err := s.store.Watch(path, o)
	if refused := s.agreement.refusal(); refused != nil { // looked for when it is too late for Interrupt to end the watch
		if err == nil {
			w.Close()
		}
		return nil, pos, refused
	}
	return w, pos, err
}

// Now is the cluster time in Unix nanoseconds.
func (s *Server) Now() int64 { return s.clock.now() }

// WallOffset is what to add to cluster time to get the wall time at which it will be
// if the leader stays, in nanoseconds; the same on every member that knows its leader.
func (s *Server) WallOffset() int64 { return s.clock.offset() }

func observe(f func(time.Duration), d time.Duration) {
	if f != nil {
		f(d)
	}
}

// lookAgain is the pause between two looks at what nobody tells of.
const lookAgain = 10 * time.Millisecond

// pause returns nil after d, or the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

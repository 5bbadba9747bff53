package etcdserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
)

// ErrLearner refuses to hand leadership to a member without a vote: it gets one
// once it has caught up.
var ErrLearner = errors.New("etcdserver: the member does not vote yet")

// TransferLeader has another member lead and returns once it does, as far as this
// member knows. Errors are membership.ErrIDNotFound, ErrLearner, or a
// *store.Error that says why it did not happen.
func (s *Server) TransferLeader(ctx context.Context, to membership.ID) error {
	start := time.Now()
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	err := s.toLeader(ctx, func(leader membership.ID) error {
		switch leader {
		case to:
			return nil
		case s.id:
			return s.transfer(ctx, to)
		}
		return s.askForTransfer(ctx, leader, to)
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) || errors.Is(err, errUnknownOutcome) {
		return s.unanswered(ctx, start)
	}
	return err
}

func (s *Server) askForTransfer(ctx context.Context, leader, to membership.ID) error {
	body, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if _, err := s.askLeader(ctx, leader, questionTransfer, body); err != nil {
		return err
	}
	return s.awaitLeader(ctx, to)
}

func (s *Server) answerTransfer(ctx context.Context, body []byte) ([]byte, error) {
	var to membership.ID
	if err := json.Unmarshal(body, &to); err != nil {
		return nil, err
	}
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	return nil, wording(s.transfer(ctx, to))
}

// transfer hands leadership over. It does not try when the other member is out of
// contact, since no write is taken meanwhile.
func (s *Server) transfer(ctx context.Context, to membership.ID) error {
	if to == s.id {
		return nil
	}
	progress, err := s.node.Progress(ctx)
	if errors.Is(err, raftnode.ErrNotLeader) {
		return errNotLeader
	} else if err != nil {
		return err
	}
	p, known := progress[uint64(to)]
	switch {
	case !known:
		return membership.ErrIDNotFound
	case p.Learner:
		return ErrLearner
	case !s.inContact(p):
		return notTransferred("member " + to.String() + " is not in contact")
	}
	if err := s.node.TransferLeader(ctx, uint64(to)); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, 2*s.cfg.Election)
	defer cancel()
	if err := s.awaitLeader(limit, to); err != nil {
		return notTransferred("member " + to.String() + " did not take over in time")
	}
	return nil
}

func notTransferred(why string) *store.Error {
	return &store.Error{Code: store.RaftInternal, Cause: "etcdserver: leadership was not handed over: " + why}
}

// awaitLeader returns once this member knows that one as the leader.
func (s *Server) awaitLeader(ctx context.Context, id membership.ID) error {
	for s.node.Status().Leader != uint64(id) {
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
	return nil
}

// HandOver gives leadership to the voter in contact that has most of the log, if
// this member leads and there is one, and waits until it has taken over, one
// election time-out at most. A member that is about to stop calls it, so that the
// others need no election.
func (s *Server) HandOver(ctx context.Context) { s.stepAside(ctx) }

const (
	// roomPeriod is how often a leader looks whether it has room for writes.
	roomPeriod = time.Second
	// roomRest is the least time between two hand-overs by one member for want of
	// room, so that leadership does not go round for ever when nobody has any.
	roomRest = time.Minute
)

// handOverWhenFull has this member hand leadership over while it has no room for writes,
// until ctx ends: as the leader it would refuse those of the whole cluster. With
// fewer than three voters it does not, since nothing is written without it anyway.
func (s *Server) handOverWhenFull(ctx context.Context) error {
	tick := time.NewTicker(roomPeriod)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !s.leading() || !s.space.low() || len(s.node.Status().Conf.GetVoters()) < 3 ||
			!last.IsZero() && time.Since(last) < roomRest {
			continue
		}
		last = time.Now()
		if s.stepAside(ctx) {
			s.log.Warn("leadership handed over: this member has no room for writes", "dir", s.space.dir())
		}
	}
}

// stepAside is HandOver that tells whether another member leads now.
func (s *Server) stepAside(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Election)
	defer cancel()
	progress, err := s.node.Progress(ctx)
	if err != nil {
		return errors.Is(err, raftnode.ErrNotLeader)
	}
	var heirs []uint64
	for id, p := range progress {
		if membership.ID(id) != s.id && !p.Learner && s.inContact(p) {
			heirs = append(heirs, id)
		}
	}
	if len(heirs) == 0 {
		return false
	}
	heir := slices.MaxFunc(heirs, func(a, b uint64) int { return cmp.Compare(progress[a].Match, progress[b].Match) })
	return s.transfer(ctx, membership.ID(heir)) == nil
}

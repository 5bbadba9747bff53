package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"net"

	"etcd2/membership"
	"etcd2/peer"
	"etcd2/store"
)

// What one member asks another.
const (
	questionChange   = "change"        // of the leader: carry out a change of members
	questionTransfer = "transfer"      // of the leader: have another member lead
	questionRefused  = "refused"       // of a follower: refuse writes for which the leader has no room
	questionDigest   = "digest"        // of anybody: the digest of the tree at a mark
	questionBucket   = "digest-bucket" // of anybody: the nodes of one bucket of it
)

// Answer answers what another member asks. The error's text travels back to it.
func (s *Server) Answer(ctx context.Context, _ membership.ID, question string, body []byte) ([]byte, error) {
	switch question {
	case questionChange:
		return s.answerChange(ctx, body)
	case questionTransfer:
		return s.answerTransfer(ctx, body)
	case questionRefused:
		return nil, s.learnRefusal(body)
	case questionDigest:
		return s.answerDigest(body)
	case questionBucket:
		return s.answerBucket(body)
	}
	return nil, fmt.Errorf("etcdserver: %q is not a question this version knows", question)
}

var (
	// errNotLeader is the answer of a member that does not lead.
	errNotLeader = errors.New("etcdserver: not leader")
	// errUnknownOutcome is that of a question that may have arrived, or not.
	errUnknownOutcome = errors.New("etcdserver: the answer of the leader was lost")
)

// askLeader asks the member that is taken for the leader. The error is what that
// one answered, errUnknownOutcome, or errNotLeader when it could not even be called.
func (s *Server) askLeader(ctx context.Context, leader membership.ID, question string, body []byte) ([]byte, error) {
	answer, err := s.peers.Ask(ctx, leader, question, body)
	var refused *peer.AskError
	var call *net.OpError
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &refused):
		return nil, meaning(refused.Text)
	case errors.As(err, &call) && call.Op == "dial", errors.Is(err, peer.ErrUnknown):
		return nil, errNotLeader // another one may by the next time
	}
	s.log.Warn("no answer from the leader", "leader", leader, "question", question, "error", err)
	return nil, errUnknownOutcome
}

// refusalTexts are the errors that keep their meaning on the way from the leader to
// the member that asked it.
var refusalTexts = []error{
	errNotLeader, ErrUnsafeChange, ErrLearner,
	membership.ErrIDRemoved, membership.ErrIDExists, membership.ErrIDNotFound, membership.ErrPeerURLExists,
}

// wording is an error as meaning reads it.
func wording(err error) error {
	var e *store.Error
	if errors.As(err, &e) {
		return errors.New(e.Cause)
	}
	return err
}

// meaning is the error that another member answered with.
func meaning(text string) error {
	for _, err := range refusalTexts {
		if err.Error() == text {
			return err
		}
	}
	return &store.Error{Code: store.RaftInternal, Cause: text}
}

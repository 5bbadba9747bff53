package etcdserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"etcd2/membership"
	"etcd2/peer"
	"etcd2/raftnode"
	"etcd2/store"
)

// Errors a caller can act on.
var (
	// ErrRemoved ends Run, and Open on the data of such a member, once the cluster
	// has removed this member. It never comes back under its ID.
	ErrRemoved = errors.New("the member has been permanently removed from the cluster")
	// ErrLearner refuses to hand leadership to a member without a vote: it gets one
	// once it has caught up.
	ErrLearner = errors.New("etcdserver: the member does not vote yet")

	errNotLeader = errors.New("etcdserver: not leader")
)

const (
	// removalGrace is how long a removed member still lives, so that the answer to
	// the request for its removal gets out.
	removalGrace = time.Second
	// changeRetry is the pause before a change is tried again that another one is
	// in the way of.
	changeRetry = 10 * time.Millisecond
)

// What one member asks another.
const (
	questionChange   = "change"
	questionTransfer = "transfer"
)

// AddMember adds a member with these peer URLs. It listens at first and has a
// vote as soon as it has caught up. Errors are membership.ErrIDExists,
// membership.ErrPeerURLExists, ErrUnsafeChange, or a *store.Error when there was
// no answer in time, in which case it may still happen.
func (s *Server) AddMember(ctx context.Context, peerURLs []string) (membership.Member, error) {
	now := time.Now()
	m := membership.NewMember("", peerURLs, "", &now)
	err := s.change(ctx, membership.Change{Kind: membership.Add, Member: m})
	if errors.Is(err, membership.ErrIDRemoved) {
		err = membership.ErrIDExists // added again within the second
	}
	return m, err
}

// RemoveMember removes a member for ever, be it this one or the last one. Errors
// are membership.ErrIDRemoved, membership.ErrIDNotFound, ErrUnsafeChange, or a
// *store.Error as with AddMember.
func (s *Server) RemoveMember(ctx context.Context, id membership.ID) error {
	return s.change(ctx, membership.Change{Kind: membership.Remove, Member: membership.Member{ID: id}})
}

// UpdateMember gives a member new peer URLs. Errors are membership.ErrIDRemoved,
// membership.ErrIDNotFound, membership.ErrPeerURLExists, or a *store.Error as
// with AddMember.
func (s *Server) UpdateMember(ctx context.Context, id membership.ID, peerURLs []string) error {
	m := membership.NewMember("", peerURLs, "", nil) // for the order of the URLs
	m.ID = id
	return s.change(ctx, membership.Change{Kind: membership.Update, Member: m})
}

// Leader is the member that leads as far as this one knows; false when none does,
// or when it has just been removed.
func (s *Server) Leader() (membership.Member, bool) {
	return s.cluster.Load().Member(membership.ID(s.node.Status().Leader))
}

// Expelled is told that another member knows this one as removed.
func (s *Server) Expelled() { s.end(ErrRemoved) }

// asked is a change on its way to the leader.
type asked struct {
	Kind membership.ChangeKind `json:"kind"`
	changeContext
}

func (a asked) change() membership.Change {
	return membership.Change{Kind: a.Kind, Member: a.member()}
}

// change carries a change of members through the log and returns once it is
// applied here. Whoever leads proposes it.
func (s *Server) change(ctx context.Context, c membership.Change) error {
	start := time.Now()
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	id := s.requestID.Add(1)
	outcomes := s.waiters.register(id)
	defer s.waiters.forget(id)
	a := asked{c.Kind, changeContext{id, founder{c.Member.ID, c.Member.Name, c.Member.PeerURLs}}}
	err := s.toLeader(ctx, func(leader membership.ID) error {
		if leader == s.id {
			_, err := s.lead(ctx, a, outcomes)
			return err
		}
		return s.askForChange(ctx, leader, a, outcomes)
	})
	select {
	case o := <-outcomes: // knows better than an answer to a question that came twice
		return o.refused
	default:
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return s.unanswered(ctx, start)
	}
	return err
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

// toLeader calls try with the leader, once there is one, and again as long as
// the answer is that it does not lead.
func (s *Server) toLeader(ctx context.Context, try func(leader membership.ID) error) error {
	for {
		if leader := s.node.Status().Leader; leader != 0 {
			if err := try(membership.ID(leader)); !errors.Is(err, errNotLeader) {
				return err
			}
		}
		if err := pause(ctx, s.cfg.Tick); err != nil {
			return err
		}
	}
}

// pause returns nil after d, or the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askForChange passes a change on to the leader. When the answer gets lost, the
// change is not asked for twice: the outcome comes with the log, or never.
func (s *Server) askForChange(ctx context.Context, leader membership.ID, a asked, outcomes <-chan outcome) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	answer, err := s.ask(ctx, leader, questionChange, body)
	switch {
	case errors.Is(err, errUnknownOutcome):
		return await(ctx, outcomes)
	case err != nil:
		return err
	case a.Kind == membership.Remove && a.ID == s.id:
		s.leave() // nobody may be left to tell this member in the log
		return nil
	}
	var at uint64
	if err := json.Unmarshal(answer, &at); err != nil {
		return err
	}
	return s.progress.wait(ctx, at)
}

// await returns what the applier makes of a change.
func await(ctx context.Context, outcomes <-chan outcome) error {
	select {
	case o := <-outcomes:
		return o.refused
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answerChange is the leader's side of askForChange. The answer is the raft index
// of the change.
func (s *Server) answerChange(ctx context.Context, body []byte) ([]byte, error) {
	var a asked
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	if a.Kind < membership.Add || a.Kind > membership.Update {
		return nil, fmt.Errorf("etcdserver: change %d is not known to this version", a.Kind)
	}
	start := time.Now()
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	outcomes := s.waiters.register(a.Request)
	defer s.waiters.forget(a.Request)
	at, err := s.lead(ctx, a, outcomes)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = s.unanswered(ctx, start)
	}
	if err != nil {
		return nil, wording(err)
	}
	return json.Marshal(at)
}

// lead proposes a change as the leader, one at a time, and returns where in the
// log it was applied. errNotLeader means that it was not proposed.
func (s *Server) lead(ctx context.Context, a asked, outcomes <-chan outcome) (at uint64, err error) {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if a.Kind == membership.Remove && a.ID == s.id {
		if moved := s.stepAside(ctx); moved {
			return 0, errNotLeader // the next leader removes this member
		}
	}
	if err := s.proposeChange(ctx, a); err != nil {
		return 0, err
	}
	select {
	case o := <-outcomes:
		if o.refused == nil && a.Kind == membership.Remove && a.ID != s.id {
			s.fixRemoval(ctx)
		}
		return o.reply.RaftIndex, o.refused
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// fixRemoval has those who stay remember that a removal is committed, with one more
// entry in their logs. A member that restarts without that knowledge counts the one
// that is gone, and may wait for its vote for ever.
func (s *Server) fixRemoval(ctx context.Context) {
	if _, err := s.doInternal(ctx, store.Op{Action: store.Expire, Path: "/"}); err != nil {
		s.log.Warn("a member is removed, but a crash right now may let the others wait for its vote", "error", err)
	}
}

// proposeChange waits for its turn and puts a change into the log.
func (s *Server) proposeChange(ctx context.Context, a asked) error {
	cc, err := encodeChange(raftKind(a.Kind), a.changeContext)
	if err != nil {
		return err
	}
	for {
		err := s.allow(ctx, a.change())
		if err == nil {
			err = s.node.ProposeConfChange(ctx, cc)
		}
		switch {
		case errors.Is(err, raftnode.ErrNotLeader):
			return errNotLeader
		case errors.Is(err, raftnode.ErrStopped):
			return context.Canceled
		case !errors.Is(err, raftnode.ErrChangePending) && !errors.Is(err, raftnode.ErrBusy):
			return err
		}
		if err := pause(ctx, changeRetry); err != nil {
			return err
		}
	}
}

// allow refuses what would cost the cluster its quorum. A leader that has just
// been elected may not have heard from everybody yet: raftnode.ErrBusy asks for
// patience.
func (s *Server) allow(ctx context.Context, c membership.Change) error {
	progress, err := s.node.Progress(ctx)
	if err != nil {
		return err
	}
	voters, inContact := 0, 0
	for id, p := range progress {
		if p.Learner || (c.Kind == membership.Remove && membership.ID(id) == c.Member.ID) {
			continue
		}
		voters++
		if s.inContact(p) {
			inContact++
		}
	}
	if c.Kind == membership.Remove && voters == 0 && len(progress) > 1 {
		return s.unsafe(c, 0, 1) // those who listen would never get a vote
	}
	quorum := voters/2 + 1
	if !s.cfg.StrictReconfig || c.Kind == membership.Update || voters == 0 || inContact >= quorum {
		return nil
	}
	if since := s.node.Status().LeaderSince; time.Since(since) < s.cfg.Election {
		return raftnode.ErrBusy
	}
	return s.unsafe(c, inContact, quorum)
}

// inContact tells whether a member was heard of within an election time-out.
func (s *Server) inContact(p raftnode.Progress) bool { return time.Since(p.Heard) < s.cfg.Election }

func (s *Server) unsafe(c membership.Change, inContact, quorum int) error {
	what := "add"
	if c.Kind == membership.Remove {
		what = "remove"
	}
	s.log.Warn(fmt.Sprintf("Reject %s member request: the number of started member (%d) will be less than the quorum number of the cluster (%d)",
		what, inContact, quorum))
	return ErrUnsafeChange
}

// errUnknownOutcome is that of a question that may have arrived, or not.
var errUnknownOutcome = errors.New("etcdserver: the answer of the leader was lost")

// ask asks another member. The error is what that one answered, errUnknownOutcome,
// or errNotLeader when it could not even be called.
func (s *Server) ask(ctx context.Context, to membership.ID, question string, body []byte) ([]byte, error) {
	answer, err := s.peers.Ask(ctx, to, question, body)
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
	s.log.Warn("no answer from the leader", "leader", to, "question", question, "error", err)
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

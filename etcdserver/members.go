package etcdserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
	"etcd2/raftnode"
	"etcd2/store"
)

// AddMember adds a member with these peer URLs. It listens at first and has a
// vote as soon as it has caught up. Errors are membership.ErrIDExists,
// membership.ErrPeerURLExists, ErrUnsafeChange, or a *store.Error when there was
// no answer in time, in which case it may still happen.
func (s *Server) AddMember(ctx context.Context, peerURLs []string) (membership.Member, error) {
	now := time.Now()
	m := membership.NewMember("", peerURLs, "", &now)
	err := s.changeMembers(ctx, membership.Change{Kind: membership.Add, Member: m})
	if errors.Is(err, membership.ErrIDRemoved) {
		err = membership.ErrIDExists // added again within the second
	}
	return m, err
}

// RemoveMember removes a member for good; it may be this one. The strict check refuses to
// remove the last voter. Errors are membership.ErrIDRemoved, membership.ErrIDNotFound,
// ErrUnsafeChange, or a *store.Error as with AddMember.
func (s *Server) RemoveMember(ctx context.Context, id membership.ID) error {
	return s.changeMembers(ctx, membership.Change{Kind: membership.Remove, Member: membership.Member{ID: id}})
}

// UpdateMember gives a member new peer URLs. Errors are membership.ErrIDRemoved,
// membership.ErrIDNotFound, membership.ErrPeerURLExists, or a *store.Error as
// with AddMember.
func (s *Server) UpdateMember(ctx context.Context, id membership.ID, peerURLs []string) error {
	m := membership.NewMember("", peerURLs, "", nil) // for the order of the URLs
	m.ID = id
	return s.changeMembers(ctx, membership.Change{Kind: membership.Update, Member: m})
}

// Leader is the member that leads as far as this one knows; false when none does,
// or when it has just been removed.
func (s *Server) Leader() (membership.Member, bool) {
	return s.cluster.Load().Member(membership.ID(s.node.Status().Leader))
}

// ErrUnsafeChange refuses a change of members that would leave fewer of them in
// contact than the cluster needs to go on.
var ErrUnsafeChange = replica.ErrUnsafeChange

// changeRequest is a change on its way to the leader.
type changeRequest struct {
	Kind    membership.ChangeKind `json:"kind"`
	Request uint64                `json:"request,omitempty"` // id, of the member that asks
	replica.MemberRecord
}

func (r changeRequest) change() membership.Change {
	return membership.Change{Kind: r.Kind, Member: r.Member()}
}

// changeMembers carries a change through the log and returns once it is applied
// here. Whoever leads proposes it.
func (s *Server) changeMembers(ctx context.Context, c membership.Change) error {
	if err := replica.AdmitChange(c); err != nil {
		return err
	}
	start := time.Now()
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	id := s.requestID.Add(1)
	outcomes := s.waiters.register(id)
	defer s.waiters.forget(id)
	r := changeRequest{c.Kind, id, replica.RecordOf(c.Member)}
	err := s.toLeader(ctx, func(leader membership.ID) error {
		if leader == s.id {
			_, err := s.changeAsLeader(ctx, r, outcomes)
			return err
		}
		return s.askForChange(ctx, leader, r, outcomes)
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

// askForChange passes a change on to the leader. When the answer gets lost, the
// change is not asked for twice: the outcome comes with the log, or never.
func (s *Server) askForChange(ctx context.Context, leader membership.ID, r changeRequest, outcomes <-chan outcome) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	answer, err := s.askLeader(ctx, leader, questionChange, body)
	switch {
	case errors.Is(err, errUnknownOutcome):
		return await(ctx, outcomes)
	case err != nil:
		return err
	case r.Kind == membership.Remove && r.ID == s.id:
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
	var r changeRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	if r.Kind == membership.Promote {
		return nil, errors.New("etcdserver: the leader promotes members itself")
	}
	start := time.Now()
	ctx, cancel := s.requestContext(ctx)
	defer cancel()
	outcomes := s.waiters.register(r.Request)
	defer s.waiters.forget(r.Request)
	at, err := s.changeAsLeader(ctx, r, outcomes)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = s.unanswered(ctx, start)
	}
	if err != nil {
		return nil, wording(err)
	}
	return json.Marshal(at)
}

// changeAsLeader proposes a change, one at a time, and returns where in the log it
// was applied. errNotLeader means that it was not proposed.
func (s *Server) changeAsLeader(ctx context.Context, r changeRequest, outcomes <-chan outcome) (at uint64, err error) {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if r.Kind == membership.Remove && r.ID == s.id {
		if moved := s.stepAside(ctx); moved {
			return 0, errNotLeader // the next leader removes this member
		}
	}
	if err := s.proposeChange(ctx, r.Request, r.change()); err != nil {
		return 0, err
	}
	select {
	case o := <-outcomes:
		if o.refused == nil && r.Kind == membership.Remove && r.ID != s.id {
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

// proposeChange waits for its turn and puts a change into the log. Every change of a
// running member passes here.
func (s *Server) proposeChange(ctx context.Context, request uint64, c membership.Change) error {
	if err := replica.AdmitChange(c); err != nil {
		return err
	}
	cc, err := replica.EncodeChange(request, c)
	if err != nil {
		return err
	}
	for {
		err := s.allow(ctx, c)
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
		if err := pause(ctx, lookAgain); err != nil {
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
	if c.Kind == membership.Remove && voters == 0 && (s.cfg.StrictReconfig || len(progress) > 1) {
		return s.unsafe(c, 0, 1) // learners could never be promoted
	}
	quorum := voters/2 + 1
	if !s.cfg.StrictReconfig || c.Kind == membership.Update || c.Kind == membership.Promote || voters == 0 || inContact >= quorum {
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

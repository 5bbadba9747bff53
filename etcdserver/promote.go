package etcdserver

import (
	"context"
	"time"

	"etcd2/membership"
	"etcd2/raftnode"
)

const (
	// promotePeriod is how often the leader looks at the members that have no vote
	// yet, while there are any.
	promotePeriod = 250 * time.Millisecond
	// promoteLag is how many entries behind a member has caught up: what a busy
	// cluster may have on its way to a healthy member.
	promoteLag = 1000
)

// promote has the leader give a vote to every member that has caught up, until
// ctx ends. Clients see nothing of it: to them a member is a member.
func (s *Server) promote(ctx context.Context) error {
	for {
		var look <-chan time.Time // nil, which never comes, without learners
		if s.learners.Load() > 0 {
			look = time.After(promotePeriod)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.newConf:
		case <-look:
			s.promoteReady(ctx)
		}
	}
}

// promoteReady proposes one promotion: raft takes one change at a time, and the
// next look comes soon.
func (s *Server) promoteReady(ctx context.Context) {
	progress, err := s.node.Progress(ctx)
	if err != nil {
		return // another member leads, and does this
	}
	commit := s.node.Status().Commit
	for id, p := range progress {
		if !p.Learner || !s.caughtUp(p, commit) {
			continue
		}
		c := membership.Change{Kind: membership.Promote, Member: membership.Member{ID: membership.ID(id)}}
		limit, cancel := context.WithTimeout(ctx, promotePeriod)
		err := s.proposeChange(limit, 0, c)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Debug("a member waits for its vote", "member", membership.ID(id), "error", err)
		}
		return
	}
}

// caughtUp tells whether a member has nearly all of the log and answers.
func (s *Server) caughtUp(p raftnode.Progress, commit uint64) bool {
	return s.inContact(p) && !p.SendingSnapshot && p.Match > 0 && p.Match+promoteLag >= commit
}

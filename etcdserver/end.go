package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
)

// ErrRemoved ends Run, and Open on the data of such a member, once the cluster has
// removed this member. It never comes back under its ID.
var ErrRemoved = errors.New("the member has been permanently removed from the cluster")

// removalGrace is how long a removed member still lives, so that the answer to the
// request for its removal gets out.
const removalGrace = time.Second

// leave ends Run after this member was removed, once the answer to the request
// for it is out.
func (s *Server) leave() { time.AfterFunc(removalGrace, func() { s.end(ErrRemoved) }) }

// ConflictError ends Run of a member that has never had a leader and finds that
// those it was told are its cluster belong to another one.
type ConflictError struct {
	Remote membership.ID // the cluster of the others
	Local  membership.ID
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflicting cluster ID to the target cluster (%s != %s). Exiting.", e.Remote, e.Local)
}

// Mismatch is told that a member belongs to another cluster. A member that never
// was part of a working cluster ends then: its initial cluster is wrong. One that
// was only has a wrong neighbour.
func (s *Server) Mismatch(_, remote membership.ID) {
	if !s.hadLeader.Load() {
		s.end(&ConflictError{Remote: remote, Local: s.clusterID})
	}
}

// DowngradeError ends Run and Open of a member that is older than what its
// cluster has agreed to speak.
type DowngradeError = replica.DowngradeError

// end has Run return err. Only the first call counts.
func (s *Server) end(err error) {
	select {
	case s.ended <- err:
	default:
	}
}

// awaitEnd is where an end that was asked for takes effect.
func (s *Server) awaitEnd(ctx context.Context) error {
	select {
	case err := <-s.ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

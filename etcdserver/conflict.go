package etcdserver

import (
	"fmt"

	"etcd2/membership"
)

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

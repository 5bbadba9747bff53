package etcdserver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"etcd2/identity"
	"etcd2/membership"
)

const (
	// noticeElections is for how many election timeouts a member has to be without a
	// leader before it believes that it was removed.
	noticeElections = 3
	// noticeKept is how long a notice counts. A member repeats it at each attempt of this
	// one to reach it.
	noticeKept = time.Minute
)

// ExpelledError ends Run of a member that has no leader and is told by the others that
// it was removed. Its own log does not say so, so it may be wrong.
type ExpelledError struct {
	By []string // the members that say so
}

// Error names the members and says what to do.
func (e *ExpelledError) Error() string {
	return fmt.Sprintf("the other members (%s) say that this member was removed from the cluster while it was away. "+
		"Compare GET /v2/members at one of them: if this member is not in that list, it cannot come back under its ID and has to be added as a new one; "+
		"if it is, start it again", strings.Join(e.By, ", "))
}

// notices are the reports of other members that this one was removed.
type notices struct {
	mu      sync.Mutex                  // guards the fields below
	first   map[membership.ID]time.Time // when a member began to report it
	last    map[membership.ID]time.Time // when it did so last, for the same members
	logged  bool                        // there is a line in the log
	leading bool                        // there is a leader
	contact time.Time                   // when there was one last, or the start
	by      []membership.ID             // the members that counted at the last notice
}

// leader records whether there is a leader.
func (n *notices) leader(known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known || n.leading {
		n.contact = time.Now()
	}
	n.leading = known
}

// withdraw forgets the notices of a member that accepts this one.
func (n *notices) withdraw(id membership.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.first, id)
	delete(n.last, id)
}

// verdict is what follows from a notice.
type verdict int

const (
	noticeWaits    verdict = iota // too early, or logged before
	noticeLogged                  // it lasts, and is to be logged
	noticeBelieved                // this member was removed
)

// add records a notice and returns what follows. others are the voters without this
// member.
func (n *notices) add(by membership.ID, others []membership.ID, lasting time.Duration) verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		n.first, n.last = map[membership.ID]time.Time{}, map[membership.ID]time.Time{}
	}
	now := time.Now()
	if last, ok := n.last[by]; !ok || now.Sub(last) > noticeKept {
		n.first[by] = now
	}
	n.last[by] = now
	n.by = nil
	for _, id := range others {
		if last, ok := n.last[id]; ok && now.Sub(last) <= noticeKept {
			n.by = append(n.by, id)
		}
	}
	switch {
	case now.Sub(n.first[by]) < lasting:
		return noticeWaits
	case !n.leading && now.Sub(n.contact) >= lasting && len(n.by) > len(others)/2:
		return noticeBelieved
	case n.logged:
		return noticeWaits
	}
	n.logged = true
	return noticeLogged
}

// Expelled is told that another member knows this one as removed. In an ordinary removal
// this member's own log says so too, at the same time. Otherwise the notice counts only
// after this member was without a leader for noticeElections, and only if most of the
// voters in its configuration agree: a single one may have been made a cluster of its own
// by mistake, and that must not end the others.
func (s *Server) Expelled(by membership.ID, who identity.Identity) {
	if s.Removed(s.id) {
		s.end(ErrRemoved)
		return
	}
	seen := s.Seen(by)
	if seen.Check(who) != nil || seen.Known() && !who.Known() {
		return // not the member that was met
	}
	var others []membership.ID
	for _, v := range s.node.Status().Conf.GetVoters() {
		if id := membership.ID(v); id != s.id {
			others = append(others, id)
		}
	}
	if len(others) == 0 {
		others = s.joinedAt // no log yet: a member that joins knows those that it was told of
	}
	if !slices.Contains(others, by) {
		return
	}
	switch s.notices.add(by, others, noticeElections*s.cfg.Election) {
	case noticeBelieved:
		s.end(&ExpelledError{By: s.notices.names(s.cluster.Load())})
	case noticeLogged:
		s.log.Error(fmt.Sprintf("member %s says that this member was removed from the cluster, but this member's log does not say so; "+
			"compare GET /v2/members at both: was %s started with --force-new-cluster by an earlier version? Then remove it from this cluster", by, by))
	}
}

// names returns the members that counted at the last notice, by name and ID.
func (n *notices) names(c *membership.Cluster) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, id := range n.by {
		m, _ := c.Member(id)
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s %s", m.Name, id)))
	}
	return names
}

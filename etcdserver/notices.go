package etcdserver

import (
	"fmt"
	"strings"
	"sync"
	"time"

	peerid "etcd2/identity"
	"etcd2/membership"
)

const (
	// noticeElections is for how many election timeouts a member has to be without a
	// leader before it believes that it was removed.
	noticeElections = 3
	// noticeKept is how long the word of a member counts. It comes again with each
	// attempt to reach that member.
	noticeKept = time.Minute
)

// ExpelledError ends Run of a member that has no leader and is told by the others that
// it was removed. Its own log does not say so, so it may be wrong.
type ExpelledError struct {
	By []string // the members that say so
}

func (e *ExpelledError) Error() string {
	return fmt.Sprintf("the other members (%s) say that this member was removed from the cluster while it was away. "+
		"Compare GET /v2/members at one of them: if this member is not in that list, it cannot come back under its ID and has to be added as a new one; "+
		"if it is, start it again", strings.Join(e.By, ", "))
}

// notices are what other members say about a removal of this one.
type notices struct {
	mu       sync.Mutex                  // guards the fields below
	heard    map[membership.ID]time.Time // when a member said so last
	first    map[membership.ID]time.Time // when it said so first, of those that are in heard
	told     bool                        // the log has a line about it
	contact  time.Time                   // when there was a leader last, or the start
	leading  bool                        // there is one
	lastWord []membership.ID             // who said so, for a test
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

// withdraw forgets the word of a member that accepts this one.
func (n *notices) withdraw(id membership.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.heard, id)
	delete(n.first, id)
}

// verdict is what follows from a notice.
type verdict int

const (
	wait   verdict = iota // too early, or said before
	doubt                 // it lasts, and is worth a line in the log
	accept                // it is true
)

// take notes the word of a member and says what follows. others are the voters but for
// this member.
func (n *notices) take(by membership.ID, others []membership.ID, lasting time.Duration) verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.heard == nil {
		n.heard, n.first = map[membership.ID]time.Time{}, map[membership.ID]time.Time{}
	}
	now := time.Now()
	if last, ok := n.heard[by]; !ok || now.Sub(last) > noticeKept {
		n.first[by] = now
	}
	n.heard[by] = now
	n.lastWord = nil
	for _, id := range others {
		if at, ok := n.heard[id]; ok && now.Sub(at) <= noticeKept {
			n.lastWord = append(n.lastWord, id)
		}
	}
	switch {
	case now.Sub(n.first[by]) < lasting:
		return wait
	case !n.leading && now.Sub(n.contact) >= lasting && len(n.lastWord) > len(others)/2:
		return accept
	case n.told:
		return wait
	}
	n.told = true
	return doubt
}

// Expelled is told that another member knows this one as removed. In an ordinary removal
// this member's own log says so too, at the same time. The word of the others counts
// only after a lasting time without a leader, and only as that of most of the voters
// that are known here: one of them may have been made a cluster of its own by mistake,
// and that must not end the rest.
func (s *Server) Expelled(by membership.ID, who peerid.Identity) {
	if s.Removed(s.id) {
		s.end(ErrRemoved)
		return
	}
	seen := s.Seen(by)
	if seen.Check(who) != nil || seen.Known() && !who.Known() {
		return // not the member that was met
	}
	var others []membership.ID
	listed := false
	for _, v := range s.node.Status().Conf.GetVoters() {
		if id := membership.ID(v); id != s.id {
			others = append(others, id)
			listed = listed || id == by
		}
	}
	if !listed {
		return
	}
	switch s.notices.take(by, others, noticeElections*s.cfg.Election) {
	case accept:
		s.end(&ExpelledError{By: s.notices.names(s)})
	case doubt:
		s.log.Error(fmt.Sprintf("member %s says that this member was removed from the cluster, but this member's log does not say so; "+
			"compare GET /v2/members at both: was %s started with --force-new-cluster by an earlier version? Then remove it from this cluster", by, by))
	}
}

// names are those of the members whose word was taken last.
func (n *notices) names(s *Server) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, id := range n.lastWord {
		m, _ := s.cluster.Load().Member(id)
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s %s", m.Name, id)))
	}
	return names
}

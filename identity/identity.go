// Package identity decides whether a member still has the data that it had before.
//
// Raft counts on members that remember. A member ID alone does not show that: a
// lost disk, an older copy of a data directory and a second process on such a copy
// all present the ID that the others know. So each member tells the others its
// Identity, and each keeps durably what it has Seen of every other member.
// Seen.Check compares the two. A member that fails the check must not vote, must
// not acknowledge and must not count for a quorum. To meet a member is to check its
// identity and to record it.
//
// The package is pure: values in, values out, no clock and no I/O.
package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Joining is the generation of a member that joins a cluster and does not know
// the cluster's generation yet. It adopts that of the first member it meets.
const Joining = "joining"

// SameGeneration reports whether members of these generations may belong to one
// cluster. A member that is Joining may belong to any.
func SameGeneration(a, b string) bool { return a == b || a == Joining || b == Joining }

// Identity is what a member tells others about itself. The zero Identity is that of a
// member of an earlier version, which tells nothing. A stranger is told the generation
// only.
type Identity struct {
	Incarnation string // random, made together with the data directory: 32 hex digits
	Start       uint64 // how often a process was started on that directory; from 1
	Session     string // random, made at each start: 16 hex digits
	Generation  string // of the cluster: "" as founded, 32 hex digits after --force-new-cluster, or Joining
	Term        uint64 // raft term, as far as it is durable
	Last        uint64 // raft index of the last log entry that is durable
	Committed   uint64 // the committed entries that are durable: the smaller of commit index and Last
	// Past is a list of earlier sessions on that directory, separated by commas: the latest
	// ones, and the latest that each other member has accepted. An older copy of the
	// directory lacks those after it was made, however often it is started.
	Past string
}

// remembers reports whether a session is one that this directory knows.
func (i Identity) remembers(session string) bool {
	return session == i.Session || slices.Contains(strings.Split(i.Past, ","), session)
}

// Known reports whether the member told more than its generation.
func (i Identity) Known() bool { return i.Incarnation != "" }

// Seen is what one member has recorded about another. The zero Seen is that of a member
// that was never met. The names of the fields in JSON are part of a file format.
type Seen struct {
	Incarnation string `json:"incarnation"`
	Start       uint64 `json:"start"`
	Session     string `json:"session"`
	Term        uint64 `json:"term"`
	Committed   uint64 `json:"committed"` // the member has held all entries up to here, and they are committed
}

// Known reports whether the member was met before and told its identity.
func (s Seen) Known() bool { return s.Incarnation != "" }

// readd is what to do with a member whose promises are lost.
const readd = "remove it from the cluster and add it again with an empty data directory"

// Errors of Check. Each says what happened and what to do.
var (
	// ErrLostData: the member has another incarnation.
	ErrLostData = errors.New("the member came back without its data: its disk was lost, or its data directory or local.json was deleted; " + readd)
	// ErrOlderStart: the member counts fewer starts than it did before.
	ErrOlderStart = errors.New("the member runs on an older copy of its data directory, or a second process runs on such a copy; " +
		"if two processes run, stop one of the two, otherwise " + readd)
	// ErrTwoProcesses: two processes run, or ran, as the member.
	ErrTwoProcesses = errors.New("two processes present themselves as this member, on copies of its data directory or on different ones; " +
		"stop one of the two, and if the one that stays is refused nevertheless, " + readd)
	// ErrShorter: the member has lost entries or a term that it had made durable.
	ErrShorter = errors.New("the member's data is older than what it had before: its directory is an older copy, or its log was cut short; " + readd)
)

// Check returns nil when the member may be the one that was seen, and otherwise
// one of the errors of this package with the facts. A member that was never met
// passes, and so does one that tells nothing.
func (s Seen) Check(who Identity) error {
	switch {
	case !s.Known() || !who.Known():
		return nil
	case who.Incarnation != s.Incarnation:
		return ErrLostData // without the facts: an incarnation is a secret of members that have met
	case who.Start < s.Start:
		return fmt.Errorf("%w (start %d, but start %d was seen)", ErrOlderStart, who.Start, s.Start)
	case who.Start == s.Start && who.Session != s.Session:
		return fmt.Errorf("%w (both are start %d)", ErrTwoProcesses, who.Start)
	case who.Session == s.Session:
		return nil // a process that runs loses nothing; what it told may have been overtaken
	case !who.remembers(s.Session):
		return fmt.Errorf("%w (it does not know of the process that was seen last)", ErrOlderStart)
	case who.Term < s.Term:
		return fmt.Errorf("%w (raft term %d, but term %d was seen)", ErrShorter, who.Term, s.Term)
	case who.Last < s.Committed:
		return fmt.Errorf("%w (the log ends at entry %d, but held committed entry %d)", ErrShorter, who.Last, s.Committed)
	}
	return nil
}

// With returns what is known about the member after its identity has passed Check.
// committed is the highest committed index that the member is known from another
// source to hold durably, 0 without one.
func (s Seen) With(who Identity, committed uint64) Seen {
	if who.Known() {
		s.Incarnation, s.Start, s.Session = who.Incarnation, who.Start, who.Session
		s.Term = max(s.Term, who.Term)
		s.Committed = max(s.Committed, who.Committed)
	}
	s.Committed = max(s.Committed, committed)
	return s
}

package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/store"
	"etcd2/version"
)

// Effects is what applying one entry asks the member to do. The zero value asks for
// nothing.
type Effects struct {
	Request uint64      // id of the request that waits for this entry; 0 for none
	Event   store.Event // of a write that was carried out; zero otherwise
	Index   uint64      // etcd index after the entry
	Time    int64       // cluster time of the entry, Unix nanoseconds; 0 when it has none

	// Refused is why the entry changed nothing: a *store.Error, or for a change of
	// members an error of package membership or ErrUnsafeChange. Nil when it was
	// carried out.
	Refused   error
	Malformed bool // with Refused: such an entry may not be proposed; worth a line in the log

	NewLeader bool // the first entry of a leader
	Barrier   bool // the members compare their trees here
	Expiry    bool // an expiry, of however many keys
	Cluster   bool // Replica.Cluster is new

	Change *membership.Change // the change of members that was carried out; nil for none
	Conf   *raftpb.ConfChange // the change that raft has to make now; nil for none
}

// FormatError is returned for an entry of a format that this release does not know.
type FormatError struct {
	Index  uint64 // of the entry
	Format string // such as "format 9"
	Needs  string // the release that introduced it, "" when the entry does not say
}

// Error names the release that is needed.
func (e *FormatError) Error() string {
	needs := "a release later than " + version.Release
	if e.Needs != "" {
		needs = "release " + e.Needs + " or later"
	}
	return fmt.Sprintf("log entry %d is of %s, which release %s does not know: start %s on this data directory",
		e.Index, e.Format, version.Release, needs)
}

// DowngradeError is returned when the cluster has agreed on a version that this
// release does not speak.
type DowngradeError struct {
	Cluster string // the cluster version, such as "2.9.0"
}

// Error is the text of etcd 2.3.
func (e *DowngradeError) Error() string {
	short := e.Cluster
	if n, err := version.Parse(e.Cluster); err == nil && n[2] == 0 {
		short = fmt.Sprintf("%d.%d", n[0], n[1])
	}
	return fmt.Sprintf("cluster cannot be downgraded (current version: %s is lower than determined cluster version: %s).",
		version.Server, short)
}

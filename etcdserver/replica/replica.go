// Package replica is the replicated state machine of a member: the tree, the
// members of the cluster, the raft configuration and the cluster version.
//
// Entries go in, in log order; effects come out, and the caller carries them out.
// The package starts no goroutine, reads no clock and does no I/O, so equal entries
// give equal state on every member, and the simulation runs the same code as the
// server. Applying never fails for an entry of a format that this release knows:
// an entry that is not allowed is refused, on every member alike, and changes nothing.
//
// AdmitWrite and AdmitChange decide what may be proposed. Every way into the log asks
// one of them. Clock is the cluster time by which a leader stamps entries.
//
// One goroutine calls the methods of a Replica. Other goroutines may read the tree and
// the Cluster values at any time.
package replica

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// Position is a place in the log: a raft index, and the term of the entry there.
type Position struct{ Index, Term uint64 }

// Replica is the state of one member after the entry at Position.
type Replica struct {
	tree    *store.Store
	cluster *membership.Cluster
	conf    *raftpb.ConfState // never altered, only replaced
	at      Position
	ahead   ahead
}

// ahead describes the entries that an installed copy already holds and that the log has
// not reached yet.
type ahead struct {
	to   uint64            // raft index of the copy; 0 for none
	conf *raftpb.ConfState // raft's configuration while those entries are passed over
}

// New returns the replica of a checkpoint at this position, or of an empty log at the
// zero Position. conf is the raft configuration there. The error is a *DowngradeError,
// or says that /0 in the tree holds values that this program does not write.
func New(tree *store.Store, at Position, conf *raftpb.ConfState) (*Replica, error) {
	r := &Replica{tree: tree, at: at, conf: raftpb.EnsureConfState(proto.CloneOf(conf))}
	if err := r.readCluster(); err != nil {
		return nil, err
	}
	return r, nil
}

// Tree is the tree. Only the Replica changes it.
func (r *Replica) Tree() *store.Store { return r.tree }

// Cluster is the membership after the last entry. It is never altered.
func (r *Replica) Cluster() *membership.Cluster { return r.cluster }

// Conf is the raft configuration after the last entry. It is never altered.
func (r *Replica) Conf() *raftpb.ConfState { return r.conf }

// Position is that of the last applied entry.
func (r *Replica) Position() Position { return r.at }

// Apply applies the next entry. It panics when an entry is missing before it. The error
// is ErrCopy, or a *FormatError or *DowngradeError: then a later release wrote the entry,
// and nothing was changed. The member must stop.
func (r *Replica) Apply(e *raftpb.Entry) (Effects, error) {
	at := Position{e.GetIndex(), e.GetTerm()}
	if at.Index <= r.ahead.to {
		return r.passOver(e)
	}
	if at.Index != r.at.Index+1 {
		panic(fmt.Sprintf("replica: entry %d applied after entry %d", at.Index, r.at.Index))
	}
	var effects Effects
	var err error
	switch e.GetType() {
	case raftpb.EntryType_EntryNormal:
		effects, err = r.applyNormal(e)
	case raftpb.EntryType_EntryConfChange:
		effects = r.applyChange(e.GetData())
	default:
		err = &FormatError{Index: at.Index, Format: "raft entry type " + e.GetType().String()}
	}
	if err != nil {
		return Effects{}, err
	}
	effects.Index = r.tree.Index()
	r.at = at
	return effects, nil
}

func (r *Replica) applyNormal(e *raftpb.Entry) (Effects, error) {
	data := e.GetData()
	if len(data) == 0 {
		return Effects{NewLeader: true}, nil
	}
	decoded, err := decodeEntry(data)
	var format *FormatError
	if errors.As(err, &format) {
		format.Index = e.GetIndex()
		return Effects{}, format
	}
	switch {
	case err != nil:
		return Effects{Request: decoded.id, Refused: err, Malformed: true}, nil
	case decoded.kind == kindBarrier:
		return Effects{Barrier: true}, nil
	}
	return r.applyWrite(decoded.id, decoded.op)
}

// applyWrite carries out a write, unless it is one that may not be proposed.
func (r *Replica) applyWrite(id uint64, op store.Op) (Effects, error) {
	effects := Effects{Request: id, Expiry: op.Action == store.Expire}
	if err := AdmitOp(op); err != nil {
		effects.Refused, effects.Malformed = err, true
		return effects, nil
	}
	// A leader of an earlier release stamps by a clock of its own. Cluster time does not
	// go back because of that.
	op.Now = max(op.Now, r.tree.Clock())
	effects.Time = op.Now
	own := strings.HasPrefix(op.Path, clusterRoot)
	if own {
		if op.Path == membership.VersionPath {
			if err := checkVersion(op.Value); err != nil {
				return Effects{}, err
			}
		}
		if late := r.late(op); late != "" {
			effects.Refused = &store.Error{Code: store.RaftInternal, Cause: "etcdserver: " + late, Index: r.tree.Index()}
			return effects, nil
		}
	}
	effects.Event, effects.Refused = r.tree.Apply(op)
	if own && effects.Refused == nil {
		r.mustReadCluster()
		effects.Cluster = true
	}
	return effects, nil
}

// Install replaces the state by that of a checkpoint that came from another member.
// Watchers of the tree go on, see store.Replace. The error is as in New; then nothing
// was changed.
func (r *Replica) Install(tree *store.Store, at Position, conf *raftpb.ConfState) error {
	next, err := New(tree, at, conf)
	if err != nil {
		return err
	}
	r.tree.Replace(tree)
	r.cluster, r.conf, r.at, r.ahead = next.cluster, next.conf, at, ahead{}
	return nil
}

// InstallCopy is Install for a copy that raft does not know of: the entries that the
// copy already holds come from the log later, and Apply passes over them.
func (r *Replica) InstallCopy(tree *store.Store, at Position, conf *raftpb.ConfState) error {
	raft := r.conf
	if err := r.Install(tree, at, conf); err != nil {
		return err
	}
	r.ahead = ahead{to: at.Index, conf: raft}
	return nil
}

// passOver handles an entry that the tree already holds. Raft still has to make the
// changes of members. It is not known any more which of them were refused, so raft makes
// those that lead to the configuration of the copy. The error is ErrCopy.
func (r *Replica) passOver(e *raftpb.Entry) (Effects, error) {
	var effects Effects
	if e.GetType() == raftpb.EntryType_EntryConfChange {
		if cc, _, err := decodeChange(e.GetData()); err == nil && leadsTo(cc, r.ahead.conf, r.conf) {
			effects.Conf = cc
			r.ahead.conf = changedConf(r.ahead.conf, cc)
		}
	}
	if e.GetIndex() == r.ahead.to {
		if err := r.ahead.conf.Equivalent(r.conf); err != nil {
			return effects, fmt.Errorf("%w at entry %d: %w", ErrCopy, r.ahead.to, err)
		}
		r.ahead = ahead{}
	}
	return effects, nil
}

// ErrCopy is returned by Apply when the configurations of raft and of an installed copy
// differ once the log has reached the copy. A restart repairs that: raft then starts from
// the copy.
var ErrCopy = errors.New("replica: raft's members are not those of the installed copy, start the member again")

// RaftConf is raft's configuration: that of Conf, except while Apply passes over entries.
func (r *Replica) RaftConf() *raftpb.ConfState {
	if r.ahead.to > 0 {
		return r.ahead.conf
	}
	return r.conf
}

// PassedOver reports whether Apply passes over the entry at this raft index because an
// installed copy already holds it.
func (r *Replica) PassedOver(index uint64) bool { return index <= r.ahead.to }

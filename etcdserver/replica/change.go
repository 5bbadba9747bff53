package replica

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// MemberRecord is a member as the log and the data directory know it.
type MemberRecord struct {
	ID       membership.ID `json:"id"`
	Name     string        `json:"name,omitempty"`
	PeerURLs []string      `json:"peerURLs"`
}

// Member is the member without what it publishes itself.
func (r MemberRecord) Member() membership.Member {
	return membership.Member{ID: r.ID, Name: r.Name, PeerURLs: r.PeerURLs}
}

// RecordOf is the record of a member.
func RecordOf(m membership.Member) MemberRecord { return MemberRecord{m.ID, m.Name, m.PeerURLs} }

// changeContext is the part of a change of members that raft passes on unread.
//
// A change is a log entry whose type raft knows: AddLearnerNode adds a member, which
// has no vote until it has caught up; AddNode promotes it, or adds a founding member;
// RemoveNode and UpdateNode are what they say.
type changeContext struct {
	Request uint64 `json:"request,omitempty"` // id of the request that waits for it; 0 for none
	MemberRecord
}

// EncodeChange returns the change of members that raft proposes for this request, 0
// for none. Callers ask AdmitChange before.
func EncodeChange(request uint64, c membership.Change) (*raftpb.ConfChange, error) {
	return encodeChange(raftType(c.Kind), changeContext{request, RecordOf(c.Member)})
}

func encodeChange(kind raftpb.ConfChangeType, ctx changeContext) (*raftpb.ConfChange, error) {
	context, err := json.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: proto.Uint64(uint64(ctx.ID)), Context: context}, nil
}

// changeEntry returns the log entry of a change that no request waits for.
func changeEntry(kind raftpb.ConfChangeType, m MemberRecord, term, index uint64) (*raftpb.Entry, error) {
	cc, err := encodeChange(kind, changeContext{MemberRecord: m})
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(cc)
	if err != nil {
		return nil, err
	}
	return &raftpb.Entry{
		Type: raftpb.EntryType_EntryConfChange.Enum(), Term: proto.Uint64(term), Index: proto.Uint64(index), Data: data,
	}, nil
}

// decodeChange returns an error for a change that no release proposes:
// membership.ErrIDNotFound for member 0, else one that wraps ErrMalformed. With an error
// the context holds what could be read of it.
func decodeChange(data []byte) (*raftpb.ConfChange, changeContext, error) {
	cc := new(raftpb.ConfChange)
	var ctx changeContext
	if err := proto.Unmarshal(data, cc); err != nil {
		return nil, ctx, fmt.Errorf("%w: change of members: %w", ErrMalformed, err)
	}
	if err := json.Unmarshal(cc.GetContext(), &ctx); err != nil {
		return nil, ctx, fmt.Errorf("%w: change of member %q: %w", ErrMalformed, cc.GetContext(), err)
	}
	switch {
	case ctx.ID == 0:
		return nil, ctx, membership.ErrIDNotFound
	case uint64(ctx.ID) != cc.GetNodeId():
		return nil, ctx, fmt.Errorf("%w: change of member %s that names member %s", ErrMalformed, membership.ID(cc.GetNodeId()), ctx.ID)
	case cc.GetType() < raftpb.ConfChangeType_ConfChangeAddNode || cc.GetType() > raftpb.ConfChangeType_ConfChangeAddLearnerNode:
		return nil, ctx, fmt.Errorf("%w: change of members of type %d", ErrMalformed, cc.GetType())
	}
	return cc, ctx, nil
}

// raftType is how raft names a kind of change.
func raftType(kind membership.ChangeKind) raftpb.ConfChangeType {
	switch kind {
	case membership.Add:
		return raftpb.ConfChangeType_ConfChangeAddLearnerNode
	case membership.Promote:
		return raftpb.ConfChangeType_ConfChangeAddNode
	case membership.Remove:
		return raftpb.ConfChangeType_ConfChangeRemoveNode
	case membership.Update:
		return raftpb.ConfChangeType_ConfChangeUpdateNode
	}
	panic(fmt.Sprintf("replica: unknown kind of change %d", kind))
}

// kindOf is what a change in the log means for this membership.
func kindOf(kind raftpb.ConfChangeType, id membership.ID, c *membership.Cluster) membership.ChangeKind {
	switch kind {
	case raftpb.ConfChangeType_ConfChangeRemoveNode:
		return membership.Remove
	case raftpb.ConfChangeType_ConfChangeUpdateNode:
		return membership.Update
	case raftpb.ConfChangeType_ConfChangeAddNode:
		if _, known := c.Member(id); known {
			return membership.Promote
		}
	}
	return membership.Add
}

// applyChange makes a change of members take effect, in the raft configuration and,
// as ordinary writes, in the directory from which every member reads its cluster.
// What the membership of this moment does not allow is refused.
func (r *Replica) applyChange(data []byte) Effects {
	cc, ctx, err := decodeChange(data)
	effects := Effects{Request: ctx.Request}
	if err != nil {
		effects.Refused, effects.Malformed = err, true
		return effects
	}
	change := membership.Change{Kind: kindOf(cc.GetType(), ctx.ID, r.cluster), Member: ctx.Member()}
	if effects.Refused = r.checkChange(change); effects.Refused != nil {
		return effects
	}
	if change.Kind == membership.Update { // the name stays, whether published or not
		known, _ := r.cluster.Member(ctx.ID)
		change.Member.Name = known.Name
	}
	for _, op := range changeWrites(change.Kind, change.Member) {
		if _, err := r.tree.Apply(op); err != nil {
			// What checkChange allows, the directory of the cluster has room for.
			panic(fmt.Sprintf("replica: a change of member %s was allowed, and %s of %s refused: %v", ctx.ID, op.Action, op.Path, err))
		}
	}
	// Raft cannot be without a voter, so it does not learn that the last member was
	// removed. That member ends.
	if change.Kind != membership.Remove || !lastVoter(r.conf, ctx.ID) {
		effects.Conf = cc
		r.conf = changedConf(r.conf, cc)
	}
	effects.Change = &change
	if change.Kind != membership.Promote {
		r.mustReadCluster()
		effects.Cluster = true
	}
	return effects
}

// checkChange refuses what this membership does not allow.
func (r *Replica) checkChange(c membership.Change) error {
	if err := r.cluster.Check(c); err != nil {
		return err
	}
	if c.Kind == membership.Remove && lastVoter(r.conf, c.Member.ID) && len(r.conf.GetLearners()) > 0 {
		return ErrUnsafeChange // the learners could never be promoted
	}
	return nil
}

// lastVoter reports whether a member is the only voter.
func lastVoter(conf *raftpb.ConfState, id membership.ID) bool {
	voters := conf.GetVoters()
	return len(voters) == 1 && voters[0] == uint64(id)
}

// changeWrites is what a change does to the directory of the cluster. Each write
// moves the etcd index by one, as clients of etcd 2.3 see it.
func changeWrites(kind membership.ChangeKind, m membership.Member) []store.Op {
	attributes := store.Op{Action: store.Create, Path: membership.RaftAttributesPath(m.ID), Value: membership.RaftAttributes(m)}
	switch kind {
	case membership.Promote:
		return nil
	case membership.Remove:
		return []store.Op{
			{Action: store.Delete, Path: membership.MemberPath(m.ID), Dir: true, Recursive: true},
			{Action: store.Create, Path: membership.RemovedPath(m.ID)},
		}
	case membership.Update:
		attributes.Action = store.Update
	}
	return []store.Op{attributes}
}

// changedConf is the configuration after a change, as raft computes it.
func changedConf(conf *raftpb.ConfState, cc *raftpb.ConfChange) *raftpb.ConfState {
	next, id := raftpb.EnsureConfState(proto.CloneOf(conf)), cc.GetNodeId()
	switch cc.GetType() {
	case raftpb.ConfChangeType_ConfChangeAddNode:
		next.Learners, next.Voters = without(next.Learners, id), with(next.Voters, id)
	case raftpb.ConfChangeType_ConfChangeAddLearnerNode:
		next.Voters, next.Learners = without(next.Voters, id), with(next.Learners, id)
	case raftpb.ConfChangeType_ConfChangeRemoveNode:
		next.Voters, next.Learners = without(next.Voters, id), without(next.Learners, id)
	}
	return next
}

func with(ids []uint64, id uint64) []uint64 {
	if at, found := slices.BinarySearch(ids, id); !found {
		return slices.Insert(ids, at, id)
	}
	return ids
}

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(ids, func(other uint64) bool { return other == id })
}

// leadsTo reports whether a change of members is a step from one configuration to a later
// one. The ID of a removed member never returns.
func leadsTo(cc *raftpb.ConfChange, from, to *raftpb.ConfState) bool {
	id := cc.GetNodeId()
	votes := slices.Contains(to.GetVoters(), id)
	stays := votes || slices.Contains(to.GetLearners(), id)
	known := slices.Contains(from.GetVoters(), id) || slices.Contains(from.GetLearners(), id)
	switch cc.GetType() {
	case raftpb.ConfChangeType_ConfChangeAddLearnerNode:
		return stays && !known
	case raftpb.ConfChangeType_ConfChangeAddNode:
		return votes
	case raftpb.ConfChangeType_ConfChangeRemoveNode:
		return known && !stays
	}
	return false
}

package etcdserver

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// ErrUnsafeChange refuses a change of members that would leave fewer of them in
// contact than the cluster needs to go on.
var ErrUnsafeChange = errors.New("etcdserver: re-configuration failed due to not enough started members")

// A change of members is a log entry whose kind raft knows: AddLearnerNode adds
// a member, which listens until it has caught up; AddNode gives it its vote, or
// adds a founding member; RemoveNode and UpdateNode are what they say. The
// context of the entry is what raft does not know of it.
type changeContext struct {
	Request uint64 `json:"request,omitempty"` // id of the request that waits for it; 0 for none
	memberRecord
}

// encodeChange makes the change of members that raft proposes.
func encodeChange(kind raftpb.ConfChangeType, ctx changeContext) (*raftpb.ConfChange, error) {
	context, err := json.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: proto.Uint64(uint64(ctx.ID)), Context: context}, nil
}

// changeEntry makes the log entry of a change that nobody waits for.
func changeEntry(kind raftpb.ConfChangeType, m memberRecord, term, index uint64) (*raftpb.Entry, error) {
	cc, err := encodeChange(kind, changeContext{memberRecord: m})
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

func decodeChange(data []byte) (*raftpb.ConfChange, changeContext, error) {
	cc := new(raftpb.ConfChange)
	var ctx changeContext
	if err := proto.Unmarshal(data, cc); err != nil {
		return nil, ctx, fmt.Errorf("%w: change of members: %w", errEntry, err)
	}
	if err := json.Unmarshal(cc.GetContext(), &ctx); err != nil {
		return nil, ctx, fmt.Errorf("%w: change of member %q: %w", errEntry, cc.GetContext(), err)
	}
	if uint64(ctx.ID) != cc.GetNodeId() || ctx.ID == 0 {
		return nil, ctx, fmt.Errorf("%w: change of member %s that names member %s", errEntry, membership.ID(cc.GetNodeId()), ctx.ID)
	}
	return cc, ctx, nil
}

// raftKind is how raft calls a change that somebody asks for at run time.
func raftKind(kind membership.ChangeKind) raftpb.ConfChangeType {
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
	panic(fmt.Sprintf("etcdserver: unknown kind of change %d", kind))
}

// changeKind is what a change in the log means for this membership.
func changeKind(kind raftpb.ConfChangeType, id membership.ID, c *membership.Cluster) membership.ChangeKind {
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

// applyConfChange makes a change of members take effect: in raft and, as
// ordinary writes, in the directory that every member reads its cluster from.
// What the membership of this moment does not allow is refused, on every member
// alike.
func (s *Server) applyConfChange(data []byte, at Position) error {
	cc, ctx, err := decodeChange(data)
	if err != nil {
		return err
	}
	cluster := s.cluster.Load()
	change := membership.Change{Kind: changeKind(cc.GetType(), ctx.ID, cluster), Member: ctx.member()}
	refused := cluster.Check(change)
	if refused == nil && change.Kind == membership.Remove && s.lastVoter(ctx.ID) && len(s.conf.GetLearners()) > 0 {
		refused = ErrUnsafeChange // nobody could ever give the others a vote
	}
	if refused == nil {
		if err := s.carryOut(cc, change); err != nil {
			return err
		}
	}
	s.progress.set(at.RaftIndex, at.RaftTerm)
	s.waiters.answer(ctx.Request, outcome{reply: Reply{Index: s.store.Index(), Position: at}, refused: refused})
	return nil
}

// lastVoter tells whether nobody else has a vote.
func (s *Server) lastVoter(id membership.ID) bool {
	voters := s.conf.GetVoters()
	return len(voters) == 1 && voters[0] == uint64(id)
}

// carryOut does what a change says that was not refused.
func (s *Server) carryOut(cc *raftpb.ConfChange, change membership.Change) error {
	m := change.Member
	// Raft cannot be without a voter. When the last member goes, it ends before
	// that would matter.
	if change.Kind != membership.Remove || !s.lastVoter(m.ID) {
		conf, err := s.node.ApplyConfChange(cc)
		if err != nil {
			return err
		}
		s.setConf(conf)
	}
	switch change.Kind {
	case membership.Promote:
		s.log.Info(fmt.Sprintf("member %s of cluster %s has caught up and votes from now on", m.ID, s.clusterID))
		return nil
	case membership.Update: // the name stays, whether published or not
		known, _ := s.cluster.Load().Member(m.ID)
		m.Name = known.Name
	}
	for _, op := range changeWrites(change.Kind, m) {
		if _, err := s.store.Apply(op); err != nil {
			return err
		}
	}
	s.logChange(change)
	return s.clusterChanged()
}

// changeWrites is what a change does to the directory of the cluster. Each write
// moves the index by one, as clients of etcd 2.3 see it.
func changeWrites(kind membership.ChangeKind, m membership.Member) []store.Op {
	attributes := store.Op{Action: store.Create, Path: membership.RaftAttributesPath(m.ID), Value: membership.RaftAttributes(m)}
	switch kind {
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

func (s *Server) logChange(change membership.Change) {
	m, which := change.Member, ""
	if m.ID == s.id {
		which = "local "
	}
	switch change.Kind {
	case membership.Add:
		s.log.Info(fmt.Sprintf("added %smember %s %v to cluster %s", which, m.ID, m.PeerURLs, s.clusterID))
	case membership.Remove:
		s.log.Info(fmt.Sprintf("removed %smember %s from cluster %s", which, m.ID, s.clusterID))
	case membership.Update:
		s.log.Info(fmt.Sprintf("update %smember %s %v in cluster %s", which, m.ID, m.PeerURLs, s.clusterID))
	}
}

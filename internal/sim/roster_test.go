package sim_test

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// roster is the membership as the log tells it. It is part of the replicated
// state, travels in checkpoints, and is never altered.
type roster struct{ voters, learners, removed []uint64 }

func (r roster) knows(id uint64) bool {
	return slices.Contains(r.voters, id) || slices.Contains(r.learners, id)
}

// quorum is the number of voters that decides.
func (r roster) quorum() int { return len(r.voters)/2 + 1 }

// with returns the roster after a change, or false when the change is refused:
// changes are proposed by whoever leads, and what two of them have proposed need
// not go together. It is asked when the change is applied, by every member alike.
func (r roster) with(cc *raftpb.ConfChange, founding bool) (roster, bool) {
	id := cc.GetNodeId()
	if slices.Contains(r.removed, id) {
		return r, false
	}
	next := roster{slices.Clone(r.voters), slices.Clone(r.learners), slices.Clone(r.removed)}
	switch cc.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		if r.knows(id) {
			return r, false
		}
		next.learners = append(next.learners, id)
	case raftpb.ConfChangeAddNode:
		if !founding && !slices.Contains(r.learners, id) {
			return r, false
		}
		next.learners = without(next.learners, id)
		next.voters = append(next.voters, id)
	case raftpb.ConfChangeRemoveNode:
		if !r.knows(id) || len(without(next.voters, id)) == 0 {
			return r, false
		}
		next.voters, next.learners = without(next.voters, id), without(next.learners, id)
		next.removed = append(next.removed, id)
	default: // new peer URLs, which mean nothing here
		return r, r.knows(id)
	}
	slices.Sort(next.voters)
	slices.Sort(next.learners)
	return next, true
}

// is tells whether raft has the same members.
func (r roster) is(conf *raftpb.ConfState) bool {
	return slices.Equal(r.voters, slices.Sorted(slices.Values(conf.GetVoters()))) &&
		slices.Equal(r.learners, slices.Sorted(slices.Values(conf.GetLearners()))) &&
		len(conf.GetVotersOutgoing()) == 0 && len(conf.GetLearnersNext()) == 0
}

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(other uint64) bool { return other == id })
}

// newChange is a change of members that carries the number of the request.
func newChange(kind raftpb.ConfChangeType, id, request uint64) *raftpb.ConfChange {
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: new(id), Context: binary.LittleEndian.AppendUint64(nil, request)}
}

// requestOf is the number that newChange was given.
func requestOf(cc *raftpb.ConfChange) uint64 { return binary.LittleEndian.Uint64(cc.GetContext()) }

func decodeChange(t fataler, e *raftpb.Entry) *raftpb.ConfChange {
	cc := new(raftpb.ConfChange)
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		t.Fatalf("entry %d: %v", e.GetIndex(), err)
	}
	return cc
}

// founding are the entries with which every founder's log begins.
func founding(founders []uint64) []*raftpb.Entry {
	var entries []*raftpb.Entry
	for i, id := range founders {
		kind, data, err := raftpb.MarshalConfChange(newChange(raftpb.ConfChangeAddNode, id, 0))
		if err != nil {
			panic(err)
		}
		entries = append(entries, &raftpb.Entry{Type: kind.Enum(), Term: new(uint64(1)), Index: new(uint64(i + 1)), Data: data})
	}
	return entries
}

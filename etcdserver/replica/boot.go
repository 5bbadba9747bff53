package replica

import (
	"cmp"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
)

// Records are members in ascending order of ID, the order in which every founding
// member writes them into its log.
func Records(members []membership.Member) []MemberRecord {
	var list []MemberRecord
	for _, m := range members {
		list = append(list, RecordOf(m))
	}
	slices.SortFunc(list, func(a, b MemberRecord) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// FoundingLog is the log with which every founding member begins, and the hard state
// that commits it: one entry for each of them, the same on all.
func FoundingLog(founders []MemberRecord) ([]*raftpb.Entry, *raftpb.HardState, error) {
	entries := make([]*raftpb.Entry, 0, len(founders))
	for i, f := range founders {
		e, err := changeEntry(raftpb.ConfChangeType_ConfChangeAddNode, f, 1, uint64(i+1))
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	hard := &raftpb.HardState{Term: proto.Uint64(1), Vote: proto.Uint64(0), Commit: proto.Uint64(uint64(len(entries)))}
	return entries, hard, nil
}

// Log is the part of the log in a data directory that ForcedLog needs.
type Log struct {
	Hard        *raftpb.HardState
	Entries     []*raftpb.Entry
	PrevIndex   uint64            // predecessor of Entries[0]
	Applied     Position          // of the checkpoint
	AppliedConf *raftpb.ConfState // the configuration there
	Self        MemberRecord      // as this member would be added, if the log does not name it
}

// Forced says how to make a log that of a cluster with one member.
type Forced struct {
	Drop    int             // entries to drop at the end: this member's own uncommitted removal, and all behind it
	Unsure  int             // entries that are kept and may not have been committed
	Entries []*raftpb.Entry // to be appended
	Hard    *raftpb.HardState
}

// ForcedLog makes this member the only one of its cluster, with all it has: it
// declares its log committed and appends the removal of all others, in a term that no
// other member has entries of. The members that are left out cannot come back: their
// IDs are taken.
//
// Entries that are not known to be committed are kept. The log records with each write
// that the one before was committed, so they may have been acknowledged; and a client
// without a response knows that its write may still happen. Only this member's own
// removal ends the part of the log that is kept.
func ForcedLog(l Log) (Forced, error) {
	votes, end := l.lastMembers()
	have := l.PrevIndex + uint64(len(l.Entries))
	f := Forced{
		Drop:   int(have - end),
		Unsure: int(end - min(end, max(l.Hard.GetCommit(), l.Applied.Index))),
	}
	term := max(l.Hard.GetTerm(), l.Applied.Term) + 1
	add := func(kind raftpb.ConfChangeType, m MemberRecord) error {
		e, err := changeEntry(kind, m, term, end+1+uint64(len(f.Entries)))
		f.Entries = append(f.Entries, e)
		return err
	}
	// A vote for this member first: raft cannot be without a voter.
	if !votes[l.Self.ID] {
		if err := add(raftpb.ConfChangeType_ConfChangeAddNode, l.Self); err != nil {
			return Forced{}, err
		}
	}
	delete(votes, l.Self.ID)
	var others []membership.ID
	for id := range votes {
		others = append(others, id)
	}
	slices.Sort(others)
	for _, id := range others {
		if err := add(raftpb.ConfChangeType_ConfChangeRemoveNode, MemberRecord{ID: id}); err != nil {
			return Forced{}, err
		}
	}
	last := end + uint64(len(f.Entries))
	f.Hard = &raftpb.HardState{Term: proto.Uint64(term), Vote: proto.Uint64(uint64(l.Self.ID)), Commit: proto.Uint64(last)}
	return f, nil
}

// lastMembers returns the members at the end of the log that is kept, with true for a
// voter, and the raft index of that end. It counts changes that will be refused when they
// are applied; a removal too many that follows from that is refused in turn.
func (l Log) lastMembers() (votes map[membership.ID]bool, end uint64) {
	votes = map[membership.ID]bool{}
	for _, id := range l.AppliedConf.GetVoters() {
		votes[membership.ID(id)] = true
	}
	for _, id := range l.AppliedConf.GetLearners() {
		votes[membership.ID(id)] = false
	}
	for _, e := range l.Entries {
		if e.GetIndex() <= l.Applied.Index || e.GetType() != raftpb.EntryType_EntryConfChange {
			continue
		}
		cc, ctx, err := decodeChange(e.GetData())
		if err != nil {
			continue // it is refused when it is applied
		}
		switch kind := cc.GetType(); {
		case kind == raftpb.ConfChangeType_ConfChangeAddNode:
			votes[ctx.ID] = true
		case kind == raftpb.ConfChangeType_ConfChangeAddLearnerNode && !votes[ctx.ID]:
			votes[ctx.ID] = false
		case kind == raftpb.ConfChangeType_ConfChangeRemoveNode && ctx.ID != l.Self.ID:
			delete(votes, ctx.ID)
		case kind == raftpb.ConfChangeType_ConfChangeRemoveNode && e.GetIndex() > l.Hard.GetCommit() && len(votes) > 1:
			return votes, e.GetIndex() - 1 // as the only member it has committed its removal
		}
	}
	return votes, l.PrevIndex + uint64(len(l.Entries))
}

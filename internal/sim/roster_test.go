package sim_test

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/etcdserver/replica"
	"etcd2/membership"
)

// roster is who votes and who learns, as a replica has it.
type roster struct{ voters, learners []uint64 }

func rosterOf(r *replica.Replica) roster {
	return roster{r.Conf().GetVoters(), r.Conf().GetLearners()}
}

func (r roster) knows(id uint64) bool {
	return slices.Contains(r.voters, id) || slices.Contains(r.learners, id)
}

// quorum is the number of voters that decides.
func (r roster) quorum() int { return len(r.voters)/2 + 1 }

// is reports whether raft has the same members.
func (r roster) is(conf *raftpb.ConfState) bool {
	return slices.Equal(r.voters, slices.Sorted(slices.Values(conf.GetVoters()))) &&
		slices.Equal(r.learners, slices.Sorted(slices.Values(conf.GetLearners()))) &&
		len(conf.GetVotersOutgoing()) == 0 && len(conf.GetLearnersNext()) == 0
}

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(other uint64) bool { return other == id })
}

// memberOf is the member of a machine. Its URLs are its own.
func memberOf(id uint64) membership.Member {
	return membership.Member{ID: membership.ID(id), Name: fmt.Sprintf("n%d", id), PeerURLs: []string{fmt.Sprintf("http://10.0.0.%d:2380", id)}}
}

// founding is the log with which every founder begins.
func founding(founders []uint64) ([]*raftpb.Entry, *raftpb.HardState) {
	var members []membership.Member
	for _, id := range founders {
		members = append(members, memberOf(id))
	}
	entries, hard, err := replica.FoundingLog(replica.Records(members))
	if err != nil {
		panic(err)
	}
	return entries, hard
}

package wal_test

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/wal"
)

// A member that forgets its vote can give it twice in one term. Mostly a vote
// comes with the term; here the term came before it.
func TestVoteAloneIsDurable(t *testing.T) {
	d := seededDisk(1)
	log, err := wal.Create(wal.Config{Dir: "/wal", FS: d}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, hard := range []*raftpb.HardState{
		{Term: new(uint64(5)), Vote: new(uint64(0)), Commit: new(uint64(0))},
		{Term: new(uint64(5)), Vote: new(uint64(3)), Commit: new(uint64(0))},
	} {
		if err := log.Save(hard, nil); err != nil {
			t.Fatal(err)
		}
	}
	d.Crash()
	_, found, err := wal.Open(wal.Config{Dir: "/wal", FS: d})
	if err != nil {
		t.Fatal(err)
	}
	if found.Hard.GetTerm() != 5 || found.Hard.GetVote() != 3 {
		t.Errorf("after a crash term %d, vote %d, want 5 and 3", found.Hard.GetTerm(), found.Hard.GetVote())
	}
}

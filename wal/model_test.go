package wal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/internal/sim"
	"etcd2/wal"
)

const dir = "/member/wal"

// entry makes a raft entry.
func entry(index, term uint64, kind raftpb.EntryType, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: data}
}

// hard makes a raft hard state.
func hard(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

// describe writes a state out, for comparing and for failures.
func describe(st wal.State) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "metadata %q, hard %d/%d/%d, after %d/%d:", st.Metadata,
		st.Hard.GetTerm(), st.Hard.GetVote(), st.Hard.GetCommit(), st.PrevIndex, st.PrevTerm)
	for _, e := range st.Entries {
		fmt.Fprintf(&b, " %d/%d/%d:%x", e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData())
	}
	return b.String()
}

// smallConfig keeps a log on a simulated disk, in segments of a few groups.
func smallConfig(d *sim.Disk) wal.Config {
	return wal.Config{Dir: dir, FS: d, SegmentBytes: 2048}
}

func newDisk() *sim.Disk { return sim.NewDisk(rand.New(rand.NewPCG(1, 1))) }

// copyDisk is a disk with the same files, all durable.
func copyDisk(files map[string][]byte) *sim.Disk {
	d := newDisk()
	for name, b := range files {
		d.WriteFile(name, b)
	}
	return d
}

func mustCreate(t testing.TB, cfg wal.Config) *wal.Log {
	t.Helper()
	l, err := wal.Create(cfg, []byte("member 1 of cluster 2"))
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return l
}

func mustOpen(t testing.TB, cfg wal.Config) (*wal.Log, wal.State) {
	t.Helper()
	l, st, err := wal.Open(cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l, st
}

// reopen is the state a fresh Open of the files gives. The files stay as they are.
func reopen(files map[string][]byte, cfg wal.Config) (string, error) {
	cfg.FS = copyDisk(files)
	l, st, err := wal.Open(cfg)
	if err != nil {
		return "", err
	}
	return describe(st), l.Close()
}

// step is a log right after one Save: its files and what it must be reopened as.
type step struct {
	files map[string][]byte
	state string
}

// smallLog saves groups of many shapes: tiny, over several sectors, full of
// zeros, with one bit per sector, replacing a suffix. The result has a step
// for the empty log and one per Save; the segments overflow several times.
func smallLog(t testing.TB) []step {
	d := newDisk()
	cfg := smallConfig(d)
	l := mustCreate(t, cfg)
	var steps []step
	note := func() {
		files := d.Files()
		state, err := reopen(files, cfg)
		if err != nil {
			t.Fatalf("reopen after %d saves: %v", len(steps), err)
		}
		steps = append(steps, step{files, state})
	}
	save := func(hs *raftpb.HardState, es ...*raftpb.Entry) {
		t.Helper()
		if err := l.Save(hs, es); err != nil {
			t.Fatalf("Save: %v", err)
		}
		note()
	}
	bits := make([]byte, 1600)
	for i := 100; i < len(bits); i += 512 {
		bits[i] = 0x10
	}
	note()
	save(hard(1, 7, 0))
	save(nil, entry(1, 1, raftpb.EntryConfChange, []byte("join")))
	save(nil, entry(2, 1, raftpb.EntryNormal, nil))
	save(hard(1, 7, 1), entry(3, 1, raftpb.EntryNormal, bytes.Repeat([]byte("v"), 700)))
	save(nil, entry(4, 1, raftpb.EntryNormal, make([]byte, 1300)))
	save(nil, entry(5, 1, raftpb.EntryNormal, []byte("a")), entry(6, 1, raftpb.EntryNormal, []byte("b")))
	save(hard(2, 0, 3), entry(5, 2, raftpb.EntryConfChangeV2, bits))
	save(nil, entry(6, 2, raftpb.EntryNormal, bytes.Repeat([]byte{0xa5}, 1500)))
	save(nil, entry(7, 2, raftpb.EntryNormal, []byte("last but one")))
	save(hard(3, 1, 7), entry(8, 3, raftpb.EntryNormal, make([]byte, 600)))
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return steps
}

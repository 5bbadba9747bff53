package raftnode

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

func run(term, first, last uint64) (entries []*raftpb.Entry) {
	for i := first; i <= last; i++ {
		entries = append(entries, &raftpb.Entry{Term: new(term), Index: new(i), Data: []byte("0123456789")})
	}
	return entries
}

func positions(entries []*raftpb.Entry) (all [][2]uint64) {
	for _, e := range entries {
		all = append(all, [2]uint64{e.GetIndex(), e.GetTerm()})
	}
	return all
}

func TestMergeKeepsTheLaterRun(t *testing.T) {
	tests := []struct {
		name string
		a, b []*raftpb.Entry
		want []*raftpb.Entry
	}{
		{"nothing", nil, nil, nil},
		{"first only", run(1, 3, 4), nil, run(1, 3, 4)},
		{"second only", nil, run(1, 3, 4), run(1, 3, 4)},
		{"adjacent", run(1, 3, 4), run(1, 5, 6), run(1, 3, 6)},
		{"overlap", run(1, 3, 6), run(2, 5, 5), append(run(1, 3, 4), run(2, 5, 5)...)},
		{"covers", run(1, 3, 6), run(2, 2, 4), run(2, 2, 4)},
	}
	for _, tt := range tests {
		before := positions(tt.a)
		if got := merge(tt.a, tt.b); !slices.Equal(positions(got), positions(tt.want)) {
			t.Errorf("%s: merge = %v, want %v", tt.name, positions(got), positions(tt.want))
		}
		if !slices.Equal(positions(tt.a), before) {
			t.Errorf("%s: merge changed its argument to %v", tt.name, positions(tt.a))
		}
	}
}

func hard(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func TestWriterSavesManyAppendsAtOnce(t *testing.T) {
	log := &recordLog{}
	_, w, err := NewCore(Config{ID: 1}, State{Conf: voters(1, 2)}, log)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(id uint64) []*raftpb.Message { return []*raftpb.Message{{To: new(id)}} }
	responses, err := w.Save([]Append{
		{Hard: hard(1, 2, 0), Entries: run(1, 1, 3), Responses: answer(1)},
		{Entries: run(1, 4, 4), Responses: answer(2)},
		{Hard: hard(1, 2, 1)},
	})
	if err != nil || len(responses) != 2 || responses[0].GetTo() != 1 || responses[1].GetTo() != 2 {
		t.Fatalf("Save() = %v, %v, want both responses in order", responses, err)
	}
	if log.saves != 1 || len(log.entries) != 4 || log.hard.GetCommit() != 1 {
		t.Errorf("log saved %d times: %d entries, commit %d, want once, 4, 1", log.saves, len(log.entries), log.hard.GetCommit())
	}
	if last, _ := w.mem.LastIndex(); last != 4 {
		t.Errorf("raft sees a log up to %d, want 4", last)
	}
}

func TestEmptyAppendIsNoSave(t *testing.T) {
	log := &recordLog{}
	_, w, err := NewCore(Config{ID: 1}, State{Conf: voters(1)}, log)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		a     Append
		saves int
	}{
		{Append{Hard: hard(1, 1, 0), Entries: run(1, 1, 1)}, 1},
		{Append{Hard: hard(1, 1, 1)}, 2}, // the log may keep it for later
		{Append{}, 2},
		{Append{Entries: run(1, 2, 2)}, 3},
	} {
		if _, err := w.Save([]Append{step.a}); err != nil {
			t.Fatal(err)
		}
		if log.saves != step.saves {
			t.Errorf("after step %d the log was given %d saves, want %d", i, log.saves, step.saves)
		}
	}
}

func TestNothingIsAnsweredWhenTheLogFails(t *testing.T) {
	full := errors.New("disk full")
	log := &recordLog{err: full}
	_, w, err := NewCore(Config{ID: 1}, State{Conf: voters(1)}, log)
	if err != nil {
		t.Fatal(err)
	}
	responses, err := w.Save([]Append{{Entries: run(1, 1, 1), Responses: []*raftpb.Message{{}}}})
	if !errors.Is(err, full) || responses != nil {
		t.Errorf("Save() = %v, %v, want no response and the log's error", responses, err)
	}
	if last, _ := w.mem.LastIndex(); last != 0 {
		t.Errorf("raft sees a log up to %d, want nothing", last)
	}
}

func TestCompactKeepsATail(t *testing.T) {
	tests := []struct {
		name                   string
		tailEntries, tailBytes uint64
		index                  uint64
		released               uint64
	}{
		{"by entries", 10, 1 << 20, 50, 40},
		{"by bytes", 1000, 3 * (entryOverhead + 10), 50, 47},
		{"all of it", 1000, 1 << 20, 50, 0},
		{"none of it", 0, 1 << 20, 50, 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &storage{snapshot: &raftpb.SnapshotMetadata{}, entries: run(1, 1, 100)}
			released, err := s.compact(tt.index, voters(1), tt.tailEntries, tt.tailBytes)
			if err != nil || released != tt.released {
				t.Fatalf("compact(%d) = %d, %v, want %d", tt.index, released, err, tt.released)
			}
			first, _ := s.FirstIndex()
			last, _ := s.LastIndex()
			if first != released+1 || last != 100 {
				t.Errorf("log is [%d, %d], want [%d, 100]", first, last, released+1)
			}
			if got, err := s.Entries(first, last+1, 1<<20); err != nil || got[0].GetIndex() != first {
				t.Errorf("Entries(%d, %d) = %v, %v", first, last+1, positions(got), err)
			}
			if _, err := s.Entries(released, last, 1<<20); err != raft.ErrCompacted {
				t.Errorf("Entries(%d) error = %v, want ErrCompacted", released, err)
			}
			snap, err := s.Snapshot()
			if err != nil || snap.GetMetadata().GetIndex() != tt.index || snap.GetMetadata().GetTerm() != 1 {
				t.Errorf("Snapshot() = %v, %v, want index %d of term 1", snap, err, tt.index)
			}
		})
	}
}

func TestCompactOfAnotherAge(t *testing.T) {
	s := &storage{snapshot: &raftpb.SnapshotMetadata{}, entries: run(1, 1, 100)}
	if _, err := s.compact(101, voters(1), 0, 0); !errors.Is(err, ErrState) {
		t.Errorf("compact beyond the log: error = %v, want ErrState", err)
	}
	s.restart(&raftpb.SnapshotMetadata{Index: new(uint64(200)), Term: new(uint64(3))})
	if released, err := s.compact(90, voters(1), 0, 0); err != nil || released != 200 {
		t.Errorf("compact behind an installed snapshot = %d, %v, want 200", released, err)
	}
}

func TestStorageCutsByBytes(t *testing.T) {
	s := &storage{snapshot: &raftpb.SnapshotMetadata{}, entries: run(1, 1, 10)}
	for limit, want := range map[uint64]int{0: 1, 50: 1, 90: 2, 1 << 20: 10} {
		got, err := s.Entries(1, 11, limit)
		if err != nil || len(got) != want {
			t.Errorf("Entries(limit %d) = %d entries, %v, want %d", limit, len(got), err, want)
		}
	}
	if _, err := s.Snapshot(); err != raft.ErrSnapshotTemporarilyUnavailable {
		t.Errorf("Snapshot() without checkpoint: error = %v, want temporarily unavailable", err)
	}
	if _, err := s.Term(11); err != raft.ErrUnavailable {
		t.Errorf("Term(11) error = %v, want ErrUnavailable", err)
	}
}

func TestStorageRemembersTheTermBeforeTheTail(t *testing.T) {
	s := &storage{snapshot: &raftpb.SnapshotMetadata{}, entries: append(run(1, 1, 5), run(2, 6, 10)...)}
	if released, err := s.compact(6, voters(1), 1, 1<<20); released != 5 || err != nil {
		t.Fatalf("compact(6) = %d, %v, want 5", released, err)
	}
	for index, want := range map[uint64]uint64{5: 1, 6: 2} {
		if got, err := s.Term(index); got != want || err != nil {
			t.Errorf("Term(%d) = %d, %v, want %d", index, got, err, want)
		}
	}
	if _, err := s.Term(4); err != raft.ErrCompacted {
		t.Errorf("Term(4) error = %v, want ErrCompacted", err)
	}
}

func TestStorageDoesNotChangeWhatItHandedOut(t *testing.T) {
	s := &storage{snapshot: &raftpb.SnapshotMetadata{}}
	s.append(run(1, 1, 5))
	held, err := s.Entries(1, 6, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s.append(run(2, 3, 4))
	if got := positions(held); got[2] != [2]uint64{3, 1} {
		t.Errorf("entries handed out became %v", got)
	}
	if last, _ := s.LastIndex(); last != 4 {
		t.Errorf("LastIndex() = %d after the suffix was replaced, want 4", last)
	}
}

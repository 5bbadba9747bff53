package raftnode

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

func TestTermIsNotBehindTheCheckpoint(t *testing.T) {
	log := &recordLog{hard: hard(1, 2, 0)}
	m := newMember(t, Config{ID: 1}, log.state(voters(1, 2), 7, 3), log)
	if m.Term() != 3 || log.hard.GetTerm() != 3 || log.hard.GetVote() != 0 {
		t.Errorf("Term() = %d, saved %v, want term 3 without a vote", m.Term(), log.hard)
	}
}

func TestUnusableStateIsRefused(t *testing.T) {
	one := []*raftpb.Entry{{Term: new(uint64(1)), Index: new(uint64(6))}}
	hard := func(term, commit uint64) *raftpb.HardState {
		return &raftpb.HardState{Term: &term, Commit: &commit}
	}
	tests := []struct {
		name string
		st   State
	}{
		{"checkpoint before the log", State{Hard: hard(1, 5), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 4, AppliedTerm: 1}},
		{"checkpoint without term", State{Hard: hard(1, 6), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 6}},
		{"log ends before its commit", State{Hard: hard(1, 7), Entries: one, PrevIndex: 5, PrevTerm: 1, Applied: 5, AppliedTerm: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.st.Conf = voters(1)
			if _, _, err := NewCore(Config{ID: 1}, tt.st, &recordLog{}); !errors.Is(err, ErrState) {
				t.Errorf("NewCore() error = %v, want ErrState", err)
			}
		})
	}
}

func TestLogThatDoesNotReachTheCheckpointIsRestarted(t *testing.T) {
	entries := func(terms ...uint64) (all []*raftpb.Entry) {
		for i, term := range terms {
			all = append(all, &raftpb.Entry{Term: new(term), Index: new(uint64(i + 1))})
		}
		return all
	}
	tests := []struct {
		name    string
		entries []*raftpb.Entry
		restart bool
	}{
		{"log ends before it", entries(1, 1), true},
		{"log contradicts it", entries(1, 1, 1, 1), true},
		{"log contains it", entries(1, 1, 2, 2), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &recordLog{entries: tt.entries}
			st := log.state(voters(1), 3, 2)
			st.Hard = &raftpb.HardState{Term: new(uint64(2)), Vote: new(uint64(1)), Commit: new(uint64(1))}
			m := newMember(t, Config{ID: 1}, st, log)
			if restarted := log.prevIndex == 3 && log.prevTerm == 2; restarted != tt.restart {
				t.Errorf("log behind (%d, %d), want restarted %v", log.prevIndex, log.prevTerm, tt.restart)
			}
			if m.Term() < 2 {
				t.Errorf("Term() = %d, want at least the checkpoint's", m.Term())
			}
			if tt.restart && (log.hard.GetTerm() != 2 || log.hard.GetVote() != 1) {
				t.Errorf("hard state after the restart = %v, want term and vote kept", log.hard)
			}
			g := &group{t: t, members: []*member{m}}
			g.settle()
			m.propose(t, "x")
			g.settle()
			if got := m.data(); !slices.Equal(got, []string{"x"}) || m.applied[0].GetIndex() <= 3 {
				t.Errorf("applied %v, want x behind index 3", m.applied)
			}
		})
	}
}

package sim_test

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/wal"
)

// saved is what a log must still hold after any crash.
type saved struct {
	first      uint64   // index of terms[0]
	terms      []uint64 // of the entries
	term, vote uint64
	commit     uint64 // at least this is known to be committed
}

// last is the index of the last entry.
func (s *saved) last() uint64 { return s.first + uint64(len(s.terms)) - 1 }

// keeper notes what a log has promised.
type keeper struct {
	log   *wal.Log
	saved *saved
}

// Save is raftnode.Log's.
func (k keeper) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	if err := k.log.Save(hard, entries); err != nil {
		return err
	}
	if hard != nil {
		if len(entries) > 0 || k.saved.term != hard.GetTerm() || k.saved.vote != hard.GetVote() {
			k.saved.commit = hard.GetCommit() // on its own it may wait for the next write
		}
		k.saved.term, k.saved.vote = hard.GetTerm(), hard.GetVote()
	}
	if len(entries) > 0 {
		k.saved.terms = k.saved.terms[:entries[0].GetIndex()-k.saved.first]
		for _, e := range entries {
			k.saved.terms = append(k.saved.terms, e.GetTerm())
		}
	}
	return nil
}

// Restart is raftnode.Log's.
func (k keeper) Restart(index, term uint64) error {
	if err := k.log.Restart(index, term); err != nil {
		return err
	}
	k.saved.first, k.saved.terms = index+1, nil
	k.saved.commit = max(k.saved.commit, index)
	return nil
}

// holds reports whether the log has an entry, or a checkpoint that includes it. Of a
// machine that has lost its data that is what it had: others may have counted on it
// before, and the group has been asked whether it can do without it.
func (m *machine) holds(index, term uint64) bool {
	saved, ckpt := m.saved, m.ckpt
	if m.lost != nil {
		saved, ckpt = &m.lost.saved, m.lost.ckpt
	}
	if ckpt != nil && index <= ckpt.index {
		return true
	}
	i := index - saved.first
	return index >= saved.first && i < uint64(len(saved.terms)) && saved.terms[i] == term
}

// check compares what was found in a log with what was promised. A save that
// was under way may have reached the disk as well; then there is more, or other
// entries of a later term in place of a suffix.
func (s *saved) check(st wal.State, ckpt *checkpoint) error {
	if st.Hard.GetTerm() < s.term || st.Hard.GetTerm() == s.term && s.vote != 0 && st.Hard.GetVote() != s.vote {
		return fmt.Errorf("log has term %d and vote %d, saved were %d and %d", st.Hard.GetTerm(), st.Hard.GetVote(), s.term, s.vote)
	}
	if st.Hard.GetCommit() < s.commit {
		return fmt.Errorf("log has commit index %d, saved was %d", st.Hard.GetCommit(), s.commit)
	}
	found := st.PrevIndex + uint64(len(st.Entries))
	replaced := false
	for i, term := range s.terms {
		index := s.first + uint64(i)
		switch {
		case ckpt != nil && index <= ckpt.index:
			continue
		case index > found && !replaced:
			return fmt.Errorf("log ends at %d, saved up to %d", found, s.last())
		case index > found || index <= st.PrevIndex:
			continue
		}
		got := st.Entries[index-st.PrevIndex-1].GetTerm()
		if got < term {
			return fmt.Errorf("log has term %d at %d, saved was %d", got, index, term)
		}
		replaced = replaced || got > term
	}
	*s = saved{first: st.PrevIndex + 1, term: st.Hard.GetTerm(), vote: st.Hard.GetVote(), commit: st.Hard.GetCommit()}
	for _, e := range st.Entries {
		s.terms = append(s.terms, e.GetTerm())
	}
	return nil
}

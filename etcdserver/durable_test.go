package etcdserver

import (
	"math/rand/v2"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/internal/sim"
	"etcd2/wal"
)

// What a member tells about its log is true after any crash, also when another leader
// replaces a tail of it in several writes.
func TestWhatIsDurable(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		disk := sim.NewDisk(rng)
		cfg := wal.Config{Dir: "/wal", FS: disk}
		log, err := wal.Create(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		var d durable
		l := notedLog{patientLog{Log: log}, &d}
		last, commit, term := uint64(0), uint64(0), uint64(1)
		told := identity.Seen{}
		disk.StopAfter(10 + rng.IntN(60))
		for err == nil {
			from := last + 1
			if rng.IntN(3) == 0 {
				from = commit + 1 + uint64(rng.IntN(int(last-commit)+1)) // a new leader
				term++
			}
			n := uint64(1 + rng.IntN(4))
			var entries []*raftpb.Entry
			for i := from; i < from+n; i++ {
				entries = append(entries, &raftpb.Entry{Term: new(term), Index: new(i)})
			}
			next := commit + uint64(rng.IntN(int(from+n-1-commit)+1))
			if err = l.Save(&raftpb.HardState{Term: new(term), Vote: new(uint64(1)), Commit: new(next)}, entries); err == nil {
				last, commit = from+n-1, next
			}
			told = told.With(identity.Identity{
				Incarnation: strings.Repeat("1", 32), Start: 1, Session: strings.Repeat("2", 16),
				Term: d.term.Load(), Last: d.last.Load(), Committed: d.committed(),
			}, 0)
		}
		log.Close()
		disk.Crash()
		again, found, err := wal.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
		who := identity.Identity{
			Incarnation: told.Incarnation, Start: 2, Session: strings.Repeat("3", 16), Past: told.Session,
			Term: found.Hard.GetTerm(), Last: found.PrevIndex + uint64(len(found.Entries)),
		}
		if err := told.Check(who); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

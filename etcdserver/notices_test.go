package etcdserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	peerid "etcd2/identity"
	"etcd2/internal/sim"
	"etcd2/membership"
	"etcd2/wal"
)

// What other members say about a removal counts only from most of the voters, and after
// a lasting time without a leader.
func TestNotices(t *testing.T) {
	const lasting = 3 * time.Second
	type word struct {
		at time.Duration
		by membership.ID
	}
	every := func(from, to time.Duration, by ...membership.ID) (words []word) {
		for at := from; at <= to; at += time.Second {
			for _, id := range by {
				words = append(words, word{at, id})
			}
		}
		return words
	}
	tests := []struct {
		name   string
		others []membership.ID
		words  []word
		leader time.Duration // there is a leader from the start until then
		accept time.Duration // when the removal is believed, 0 for never
		lines  int
	}{
		{"one of two others", []membership.ID{2, 3}, every(0, time.Minute, 2), 0, 0, 1},
		{"both others", []membership.ID{2, 3}, every(0, time.Minute, 2, 3), 0, 3 * time.Second, 0},
		{"the only other", []membership.ID{2}, every(0, time.Minute, 2), 0, 3 * time.Second, 0},
		{"two of four others", []membership.ID{2, 3, 4, 5}, every(0, time.Minute, 2, 5), 0, 0, 1},
		{"three of four others", []membership.ID{2, 3, 4, 5}, every(0, time.Minute, 2, 4, 5), 0, 3 * time.Second, 0},
		{"at once, in an ordinary removal", []membership.ID{2, 3}, every(0, 2*time.Second, 2, 3), 0, 0, 0},
		{"with a leader", []membership.ID{2, 3}, every(0, 30*time.Second, 2, 3), time.Minute, 0, 1},
		{"after a leader", []membership.ID{2, 3}, every(0, time.Minute, 2, 3), 10 * time.Second, 13 * time.Second, 1},
		{"the words are far apart", []membership.ID{2, 3}, []word{{0, 2}, {5 * time.Second, 2}, {3 * time.Minute, 3}, {3*time.Minute + 5*time.Second, 3}}, 0, 0, 1},
		{"of one that is no voter", []membership.ID{2, 3}, every(0, time.Minute, 2, 9, 8), 0, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				n := &notices{contact: start}
				lines, leads := 0, false
				if tt.leader > 0 {
					n.leader(true)
					leads = true
				}
				for _, w := range tt.words {
					time.Sleep(w.at - time.Since(start))
					if leads && time.Since(start) >= tt.leader {
						n.leader(false)
						leads = false
					}
					switch n.take(w.by, tt.others, lasting) {
					case accept:
						if time.Since(start) != tt.accept {
							t.Errorf("believed after %v, want %v", time.Since(start), tt.accept)
						}
						return
					case doubt:
						lines++
					}
				}
				if tt.accept != 0 || lines != tt.lines {
					t.Errorf("not believed, %d lines; want %v, %d lines", lines, tt.accept, tt.lines)
				}
			})
		})
	}
}

// A member that accepts this one takes its word back.
func TestWithdrawnNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notices{contact: time.Now()}
		others := []membership.ID{2, 3}
		n.take(2, others, time.Second)
		time.Sleep(5 * time.Second)
		n.take(3, others, time.Second)
		n.withdraw(2)
		time.Sleep(5 * time.Second)
		if got := n.take(3, others, time.Second); got == accept {
			t.Error("the word of one of two members counts for both")
		}
	})
}

// Three real members, of which one was removed while it was down: it ends once both
// others have said so for a while. It does not when they are not the ones it has met.
func TestRemovedWhileAway(t *testing.T) {
	for _, met := range []bool{true, false} {
		t.Run(fmt.Sprintf("by members that were met: %v", met), func(t *testing.T) {
			story(t, func(t *testing.T, c *cluster) {
				c.writes(1, "k", 3)
				time.Sleep(2 * flushPeriod)
				c.at[0].end()
				c.leader(1, 2)
				if err := c.at[1].r.RemoveMember(t.Context(), c.at[0].self.ID); err != nil {
					t.Fatal(err)
				}
				c.at[0].launch()
				if !met {
					st := &c.at[0].r.standing
					st.mu.Lock()
					for _, i := range []int{1, 2} {
						seen := st.local.Seen(uint64(c.at[i].self.ID))
						seen.Incarnation = strings.Repeat("0", 32)
						st.fresh[c.at[i].self.ID] = seen
					}
					st.mu.Unlock()
				}
				start := time.Now()
				select {
				case err := <-c.at[0].r.done:
					var expelled *ExpelledError
					if !met || !errors.As(err, &expelled) || len(expelled.By) != 2 || time.Since(start) < 3*time.Second {
						t.Errorf("Run = %v after %v", err, time.Since(start))
					}
					c.at[0].r.done <- nil // for the end of the story
				case <-time.After(time.Minute):
					if met {
						t.Errorf("the member does not end:\n%s", c.at[0].out.String())
					}
				}
			})
		})
	}
}

// What a member tells of its log is true after any crash, also when another leader
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
		told := peerid.Seen{}
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
			told = told.With(peerid.Identity{
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
		who := peerid.Identity{
			Incarnation: told.Incarnation, Start: 2, Session: strings.Repeat("3", 16),
			Term: found.Hard.GetTerm(), Last: found.PrevIndex + uint64(len(found.Entries)),
		}
		if err := told.Check(who); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

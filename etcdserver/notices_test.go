package etcdserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
)

// A removal that other members report is believed only from most of the voters, and after
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
					switch n.add(w.by, tt.others, lasting) {
					case noticeBelieved:
						if time.Since(start) != tt.accept {
							t.Errorf("believed after %v, want %v", time.Since(start), tt.accept)
						}
						return
					case noticeLogged:
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

// A member that accepts this one withdraws its notices.
func TestWithdrawnNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notices{contact: time.Now()}
		others := []membership.ID{2, 3}
		n.add(2, others, time.Second)
		time.Sleep(5 * time.Second)
		n.add(3, others, time.Second)
		n.withdraw(2)
		time.Sleep(5 * time.Second)
		if got := n.add(3, others, time.Second); got == noticeBelieved {
			t.Error("the notices of one of two members count for both")
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
					ids := &c.at[0].r.identities
					ids.mu.Lock()
					for _, i := range []int{1, 2} {
						seen := c.at[0].r.local.Seen(uint64(c.at[i].self.ID))
						seen.Incarnation = strings.Repeat("0", 32)
						ids.fresh[c.at[i].self.ID] = seen
					}
					ids.mu.Unlock()
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

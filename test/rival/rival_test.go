// Package rival holds random conversations with this server beside the same ones
// with an installed etcd 3.4, whose v2 API is that of 2.3.8 but for a few points,
// and compares the answers byte for byte. Without an etcd in the PATH it is skipped.
//
// What differs on purpose is kept out of the conversations by the generator, or
// evened out by the comparison, always in one named place.
package rival

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// steps is the length of a conversation.
const steps = 120

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestRival holds RIVAL_RUNS conversations made of RIVAL_SEED and the seeds after it.
func TestRival(t *testing.T) {
	bin, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("no etcd is installed to compare with")
	}
	if proc.Foreign() {
		t.Skip("TEST_ETCD is set: this test is about our own server")
	}
	version, err := exec.Command(bin, "--version").Output()
	if err != nil || !isRival.Match(version) {
		t.Skipf("%s is no etcd 3.4, but %q", bin, version)
	}
	runs, seed := setting(t, "RIVAL_RUNS", 4), setting(t, "RIVAL_SEED", 1)
	theirs := proc.Start(t, proc.Options{Bin: bin, Flags: []string{"--enable-v2"}}).Client
	ours := proc.Start(t, proc.Options{Own: []string{"--history-events", "1000"}}).Client
	for s := seed; s < seed+runs; s++ {
		t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) {
			c := &conversation{
				T: t, ours: &channel{addr: ours}, theirs: &channel{addr: theirs},
				// A wild conversation breaks the rules of HTTP too, which costs connections.
				g: &generator{r: rand.New(rand.NewPCG(s, 0)), wild: s%2 == 0},
			}
			c.hold()
		})
	}
}

// conversation is what is said to both servers.
type conversation struct {
	*testing.T
	ours, theirs *channel
	g            *generator
	watches      []watched
}

// watched is one watch on both servers.
type watched struct {
	message
	ours, theirs *listener
}

func (c *conversation) hold() {
	defer c.ours.close()
	defer c.theirs.close()
	for _, key := range []string{"/f", "/g", "/d", "/_h", "/_y", "/fo", "/foo", "/q"} {
		c.step(-1, message{text: "DELETE /v2/keys" + key + "?recursive=true HTTP/1.1\r\nHost: a\r\n\r\n"})
	}
	for i := range steps {
		switch m := c.g.next(); {
		case c.Failed():
			return // what follows would only repeat it
		case m.watch:
			c.watch(i, m)
		default:
			c.step(i, m)
		}
	}
	for _, w := range c.watches {
		w.compare(c.T)
	}
}

// step says one thing to both and compares the answers.
func (c *conversation) step(i int, m message) {
	ours, theirs := c.ours.say(c.T, m), c.theirs.say(c.T, m)
	if difference := compare(m, ours, theirs); difference != "" {
		c.Errorf("step %d, %q: %s\nours:   %s\ntheirs: %s", i, m.text, difference, ours.describe(), theirs.describe())
	}
	if index, err := strconv.ParseUint(theirs.header.Get("X-Etcd-Index"), 10, 64); err == nil && index > 0 {
		c.g.index = index
	}
}

// watch begins a watch on both and compares the heads.
func (c *conversation) watch(i int, m message) {
	w := watched{m, listen(c.T, c.ours.addr, m), listen(c.T, c.theirs.addr, m)}
	c.watches = append(c.watches, w)
	if difference := compare(m, w.ours.reply, w.theirs.reply); difference != "" {
		c.Errorf("step %d, %q: %s\nours:   %s\ntheirs: %s", i, m.text, difference, w.ours.reply.describe(), w.theirs.reply.describe())
	}
}

// compare waits until both watches have come to the same, or for so long that
// they never will.
func (w watched) compare(t *testing.T) {
	defer w.ours.close()
	defer w.theirs.close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wire.Patience); ; <-tick.C {
		ours, ourEnd := w.ours.heard()
		theirs, theirEnd := w.theirs.heard()
		if sameEvents(w.message, ours, theirs) && (ourEnd == theirEnd || differsFromHistory(w.message, ours, theirs)) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%q:\nours:   %s ended: %t\ntheirs: %s ended: %t", w.text, ours, ourEnd, theirs, theirEnd)
			return
		}
	}
}

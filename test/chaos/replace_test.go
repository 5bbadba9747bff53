package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// replaceFaults are those after which an operator has to replace a member.
func replaceFaults() []fault {
	return []fault{
		{"lost directory", 1, (*world).loseDirectory},
		{"lost directory, all down", 1, (*world).loseDirectoryAlone},
		{"rolled back directory", 1, (*world).rollBackDirectory},
		{"stray force", 1, (*world).strayForce},
	}
}

// loseDirectory starts a killed member on an empty directory, with the flags it had. It
// asks the others before it starts and ends.
func (w *world) loseDirectory(m *proc.Member, _ bool) {
	w.strike(m.Kill)
	w.must(os.RemoveAll(m.Dir))
	w.refused(m, w.begin(m), bootstrapped)
	w.replace(m)
}

// loseDirectoryAlone is loseDirectory while the others are down too: the member cannot
// ask and starts, and they refuse it later. With one of them it must not be a quorum. A
// member that was replaced does not start alone; when all were, this is loseDirectory.
func (w *world) loseDirectoryAlone(m *proc.Member, leads bool) {
	founding := slices.DeleteFunc(slices.Clone(w.members), func(m *proc.Member) bool { return w.replaced[m] })
	if len(founding) == 0 {
		w.loseDirectory(m, leads)
		return
	}
	if w.replaced[m] {
		m = founding[0]
	}
	others := w.others(m)
	w.strike(func() { m.Kill(); others[0].Kill(); others[1].Kill() })
	w.must(os.RemoveAll(m.Dir))
	before := w.begin(m)
	proc.Eventually(w.t, timeout, fmt.Sprintf("%s starts alone, CHAOS_SEED=%d", m.Name, w.seed), func() bool {
		return strings.Contains(m.Log()[before:], "starting server...")
	})
	w.begin(others[0])
	w.pass(2*election + w.outage()) // longer than an election takes
	if put(w.t.Context(), plainHTTP(election), others[0].URL(), "/chaos/pulse", "wrong").done {
		w.t.Fatalf("CHAOS_SEED=%d: %s acknowledges a write with %s, which has lost its data", w.seed, others[0].Name, m.Name)
	}
	w.begin(others[1])
	w.must(others[0].WaitReady(timeout))
	w.must(others[1].WaitReady(timeout))
	reason := refuses
	if len(founding) == 1 { // its flags name none of the others, so that it finds no member and no leader
		reason = ""
	}
	w.refused(m, before, reason)
	w.replace(m)
}

// rollBackDirectory starts a killed member on an older copy of its directory. The
// others refuse it.
func (w *world) rollBackDirectory(m *proc.Member, _ bool) {
	w.stop(m)
	old := filepath.Join(w.t.TempDir(), "old")
	w.must(os.CopyFS(old, os.DirFS(m.Dir)))
	w.again(m)
	w.pass(w.outage())
	w.acknowledged(w.others(m)...) // the copy lacks this
	w.strike(m.Kill)
	w.must(os.RemoveAll(m.Dir))
	w.must(os.Rename(old, m.Dir))
	w.refused(m, w.begin(m), refuses)
	w.replace(m)
}

// strayForce makes a member a cluster of its own by mistake, at its peer address. The
// others continue through changes of their leader. Clients know the member by another
// address, because it would acknowledge what the cluster does not have.
func (w *world) strayForce(m *proc.Member, _ bool) {
	w.stop(m)
	stray := proc.New(w.t, proc.Options{
		Name: m.Name, Dir: m.Dir, Cluster: proc.InitialCluster(w.members), Advertise: w.net.Gate, Flags: []string{"--force-new-cluster"},
	})
	stray.Peer = m.Peer
	w.must(stray.Begin())
	w.must(stray.WaitReady(timeout))
	others := w.others(m)
	for range 2 {
		w.acknowledged(others...)
		leader := proc.Leader(others...)
		if leader == nil {
			continue
		}
		w.stop(leader)
		w.again(leader)
	}
	w.acknowledged(others...)
	if got := len(w.list(others[0])); got != size {
		w.t.Errorf("CHAOS_SEED=%d: the cluster has %d members after another one was forced, want %d", w.seed, got, size)
	}
	stray.Kill()
	w.replace(m)
}

// stop ends a member by SIGTERM.
func (w *world) stop(m *proc.Member) {
	w.t.Helper()
	w.strike(func() { w.must(m.Signal(syscall.SIGTERM)) })
	_, err := m.Wait(timeout)
	w.must(err)
}

// begin starts a member and returns where the log of this start begins.
func (w *world) begin(m *proc.Member) int {
	w.t.Helper()
	before := len(m.Log())
	w.must(m.Begin())
	return before
}

// How a member learns that it has lost its data.
const (
	bootstrapped = "has already been bootstrapped" // and it ends
	refuses      = "refuses this member: "         // and it runs
)

// refused waits until a member that was started has learned that it is refused. It must
// not be ready, and the others must work without it.
func (w *world) refused(m *proc.Member, from int, reason string) {
	w.t.Helper()
	proc.Eventually(w.t, timeout, fmt.Sprintf("%s logs %q, CHAOS_SEED=%d", m.Name, reason, w.seed), func() bool {
		w.notReady(m)
		return strings.Contains(m.Log()[from:], reason)
	})
	w.acknowledged(w.others(m)...)
	w.pass(w.outage())
	w.notReady(m)
}

// notReady fails the test when the member says that it is ready.
func (w *world) notReady(m *proc.Member) {
	w.t.Helper()
	if x, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/readyz"}); err == nil && x.Status == 200 {
		w.t.Fatalf("CHAOS_SEED=%d: %s is ready without its data: %s", w.seed, m.Name, body)
	}
}

// replace does what the operator does: it removes the member from the cluster and adds
// it again with an empty directory.
func (w *world) replace(m *proc.Member) {
	w.t.Helper()
	others := w.others(m)
	w.operate("remove "+m.Name, others, func(at *proc.Member) bool {
		list := w.list(at)
		i := slices.IndexFunc(list, func(l listed) bool { return slices.Contains(l.PeerURLs, m.PeerURL()) })
		if i >= 0 {
			_, _, _ = wire.Do(at.Client, wire.Request{Method: "DELETE", Target: "/v2/members/" + list[i].ID})
		}
		return len(list) > 0 && i < 0 // the next list says whether it was done
	})
	m.Kill()
	w.must(os.RemoveAll(m.Dir))
	w.operate("add "+m.Name, others, func(at *proc.Member) bool {
		x, body, err := wire.Do(at.Client, wire.Request{
			Method: "POST", Target: "/v2/members", Body: []byte(`{"peerURLs":["` + m.PeerURL() + `"]}`),
			Header: []wire.Field{{Name: "Content-Type", Value: "application/json"}},
		})
		return err == nil && (x.Status == 201 || x.Status == 409) && len(body) > 0 // 409: an earlier try has done it
	})
	m.Join(w.members)
	w.replaced[m] = true
	w.again(m)
	w.net.Name(m)
	w.operate(m.Name+" votes", others, func(at *proc.Member) bool { // the next loss may take another one
		_, body, err := wire.Do(at.Client, wire.Request{Method: "GET", Target: "/metrics"})
		return err == nil && bytes.Contains(body, fmt.Appendf(nil, "etcd_server_voters %d\n", size))
	})
}

// operate repeats a request at one member after the other until it is done.
func (w *world) operate(what string, members []*proc.Member, done func(at *proc.Member) bool) {
	w.t.Helper()
	try := 0
	proc.Eventually(w.t, timeout, fmt.Sprintf("%s, CHAOS_SEED=%d", what, w.seed), func() bool {
		try++
		return done(members[try%len(members)])
	})
}

// acknowledged waits until one of the members acknowledges a write.
func (w *world) acknowledged(members ...*proc.Member) {
	w.t.Helper()
	w.operate("a write is acknowledged", members, func(at *proc.Member) bool {
		return put(w.t.Context(), plainHTTP(clientTimeout), at.URL(), "/chaos/pulse", time.Now().String()).done
	})
}

// others are the members but for one.
func (w *world) others(m *proc.Member) []*proc.Member {
	return slices.DeleteFunc(slices.Clone(w.members), func(o *proc.Member) bool { return o == m })
}

// listed is a member as the API lists it.
type listed struct {
	ID       string   `json:"id"`
	PeerURLs []string `json:"peerURLs"`
}

// list returns the members that one of them knows; nil when it does not answer.
func (w *world) list(at *proc.Member) []listed {
	var answer struct{ Members []listed }
	if _, body, err := wire.Do(at.Client, wire.Request{Method: "GET", Target: "/v2/members"}); err != nil || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return answer.Members
}

package peer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
)

// identified is the identity of a member in its n-th start.
func identified(id membership.ID, start uint64) identity.Identity {
	who := identity.Identity{
		Incarnation: fmt.Sprintf("%032x", id), Start: start, Session: fmt.Sprintf("%08x%08x", id, start), Term: 3, Last: 50, Committed: 40,
	}
	var past []string
	for n := uint64(1); n < start; n++ {
		past = append(past, fmt.Sprintf("%08x%08x", id, n))
	}
	who.Past = strings.Join(past, ",")
	return who
}

// give changes the identity of a member.
func (f *fake) give(who identity.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.who = who
}

// withMembers runs a story with members 1 to n that have met.
func withMembers(t *testing.T, n int, story func(t *testing.T, net *network, m []*node)) {
	synctest.Test(t, func(t *testing.T) {
		lan := newNetwork()
		var nodes []*node
		var members []membership.Member
		for id := membership.ID(1); id <= membership.ID(n); id++ {
			nodes = append(nodes, build(lan, id, Config{}))
			members = append(members, memberOf(id))
		}
		for _, m := range nodes {
			m.give(identified(m.id, 1))
			m.fake.members = members
			m.Set(members)
			m.start(lan)
		}
		time.Sleep(2 * time.Second)
		story(t, lan, nodes)
		for _, m := range nodes {
			m.end()
		}
		lan.cut()
		time.Sleep(time.Minute)
	})
}

// replace starts another process as the member, after the one that runs has ended.
func (m *node) replace(net *network, who identity.Identity) *node {
	m.end()
	return another(net, m.id, who, m.fake.members)
}

func another(net *network, id membership.ID, who identity.Identity, members []membership.Member) *node {
	next := build(net, id, Config{})
	next.give(who)
	next.fake.members = members
	next.Set(members)
	return next.start(net)
}

func TestMembersMeet(t *testing.T) {
	withMembers(t, 2, func(t *testing.T, _ *network, m []*node) {
		for i, other := range []membership.ID{2, 1} {
			if got, want := m[i].fake.Seen(other), (identity.Seen{}).With(identified(other, 1), 0); got != want {
				t.Errorf("member %d has seen %+v of %d, want %+v", i+1, got, other, want)
			}
		}
		// How far a member has come is told without another handshake.
		later := identified(2, 1)
		later.Term, later.Last, later.Committed = 4, 100, 90
		m[1].give(later)
		time.Sleep(3 * time.Second)
		if got := m[0].fake.Seen(2); got.Term != 4 || got.Committed != 90 {
			t.Errorf("member 1 has seen %+v, want term 4 and entry 90", got)
		}
	})
}

// A member that is not the one that was met is refused in both directions. The one that
// was met is accepted again.
func TestRefused(t *testing.T) {
	change := func(f func(*identity.Identity)) identity.Identity {
		who := identified(2, 2)
		f(&who)
		return who
	}
	tests := map[string]struct {
		who  identity.Identity
		want error
	}{
		"next start":      {identified(2, 2), nil},
		"lost data":       {change(func(i *identity.Identity) { i.Incarnation = strings.Repeat("f", 32) }), identity.ErrLostData},
		"older start":     {change(func(i *identity.Identity) { i.Start = 0 }), identity.ErrOlderStart}, // as 1 below
		"same start":      {change(func(i *identity.Identity) { i.Start = 1 }), identity.ErrTwoProcesses},
		"older term":      {change(func(i *identity.Identity) { i.Term = 2 }), identity.ErrShorter},
		"shorter log":     {change(func(i *identity.Identity) { i.Last, i.Committed = 39, 39 }), identity.ErrShorter},
		"earlier version": {identity.Identity{}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
				if tt.who.Known() && tt.who.Start == 0 {
					m[1] = m[1].replace(net, identified(2, 5))
					time.Sleep(2 * time.Second)
					tt.who.Start = 3
				}
				m[1] = m[1].replace(net, tt.who)
				time.Sleep(20 * time.Second)
				m[0].Send([]*raftpb.Message{beat(1, 2, 7)})
				m[1].Send([]*raftpb.Message{beat(2, 1, 8)})
				m[1].Forward(1, [][]byte{[]byte("w")})
				_, asked := m[1].Ask(t.Context(), 1, "change", nil)
				_, asks := m[0].Ask(t.Context(), 2, "change", nil)
				synctest.Wait()
				if tt.want == nil {
					equal(t, "messages to the member", m[1].indexes(), []uint64{7})
					equal(t, "messages of the member", m[0].indexes(), []uint64{8})
					if asked != nil || asks != nil {
						t.Errorf("questions: %v, %v", asked, asks)
					}
					return
				}
				equal(t, "messages to the refused member", m[1].indexes(), nil)
				equal(t, "messages of the refused member", m[0].indexes(), nil)
				equal(t, "writes of the refused member", see(m[0].fake, &m[0].forwarded), nil)
				equal(t, "writes that come back to it", see(m[1].fake, &m[1].refused), []string{"w"})
				if asked == nil || asks == nil {
					t.Errorf("a question of the refused member, or to it, is answered: %v, %v", asked, asks)
				}
				if got := see(m[1].fake, &m[1].refusedBy)[1]; !strings.HasPrefix(got, tt.want.Error()) {
					t.Errorf("the refused member was told %q, want %q", got, tt.want)
				}
				if n := m[0].logged("level=ERROR msg=\"member 2 at http://10.0.0.2:2380 is refused: " + tt.want.Error()[:40]); n != 1 {
					t.Errorf("the refusal was logged %d times in 20s, want 1:\n%s", n, m[0].lines())
				}
				if n := m[1].logged("refuses this member: " + tt.want.Error()[:40]); n != 1 {
					t.Errorf("the refused member logs it %d times in 20s, want 1:\n%s", n, m[1].lines())
				}
				if strings.Contains(m[1].lines()+m[0].lines(), fmt.Sprintf("%032x", 2)) {
					t.Error("an incarnation is in the log")
				}
				before := net.dialled(address1(1)) + net.dialled(address1(2))
				time.Sleep(time.Minute)
				if n := net.dialled(address1(1)) + net.dialled(address1(2)) - before; n > 60 {
					t.Errorf("the two dial %d times a minute, want a try each 5s or so", n)
				}
			})
		})
	}
}

// What cannot be recorded durably is not used.
func TestUnrecorded(t *testing.T) {
	withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
		m[0].fake.mu.Lock()
		m[0].record = errors.New("disk full")
		m[0].fake.mu.Unlock()
		m[1] = m[1].replace(net, identified(2, 2))
		time.Sleep(5 * time.Second)
		m[1].Send([]*raftpb.Message{beat(2, 1, 8)})
		synctest.Wait()
		equal(t, "messages", m[0].indexes(), nil)
		m[0].fake.mu.Lock()
		m[0].record = nil
		m[0].fake.mu.Unlock()
		time.Sleep(5 * time.Second)
		m[1].Send([]*raftpb.Message{beat(2, 1, 9)})
		synctest.Wait()
		equal(t, "messages later", m[0].indexes(), []uint64{9})
	})
}

// While a member is connected no other process takes its place. A process that died
// without closing its connections does not block the next one.
func TestRival(t *testing.T) {
	for name, who := range map[string]identity.Identity{
		"copy": identified(2, 2), "no identity": {}, "older copy": func() identity.Identity { i := identified(2, 2); i.Term = 1; return i }(),
	} {
		t.Run(name, func(t *testing.T) {
			withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
				// The rival listens elsewhere, so all that member 1 dials is member 2.
				rival := build(net, 2, Config{})
				rival.give(who)
				rival.fake.members = m[1].fake.members
				rival.Set(m[1].fake.members)
				stopped := rival.startHidden()
				time.Sleep(20 * time.Second)
				rival.Send([]*raftpb.Message{beat(2, 1, 8)})
				m[1].Send([]*raftpb.Message{beat(2, 1, 9)})
				m[0].Send([]*raftpb.Message{beat(1, 2, 7)})
				synctest.Wait()
				equal(t, "messages to member 1", m[0].indexes(), []uint64{9})
				equal(t, "messages to member 2", m[1].indexes(), []uint64{7})
				if who.Known() && m[0].logged("two processes present themselves as this member") == 0 {
					t.Errorf("nothing is said about two processes:\n%s", m[0].lines())
				}
				if got := m[0].fake.Seen(2); got.Start != 1 {
					t.Errorf("seen of member 2: %+v, want its own start", got)
				}
				stopped()
			})
		})
	}
	t.Run("dead", func(t *testing.T) {
		withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
			net.swallow() // the machine of member 2 has lost its power
			m[1].end()
			began := time.Now()
			m[1] = another(net, 2, identified(2, 2), m[1].fake.members)
			for m[0].fake.Seen(2).Start != 2 {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took > 7*time.Second {
				t.Errorf("the next process is let in after %v, want 5s or so", took)
			}
			if n := m[0].logged("two processes"); n > 0 {
				t.Errorf("a dead process is taken for a second one:\n%s", m[0].lines())
			}
		})
	})
}

// startHidden runs a member that cannot be dialled.
func (m *node) startHidden() (stop func()) { return m.start(newNetwork()).end }

// A frame in the name of another member ends the stream, whatever it is.
func TestForgedSender(t *testing.T) {
	for kind := range raftpb.MessageType_name {
		if kind == int32(raftpb.MsgTransferLeader) {
			continue // it is not taken from anybody
		}
		withMembers(t, 3, func(t *testing.T, net *network, m []*node) {
			forged := beat(3, 1, 66)
			forged.Type = new(raftpb.MessageType(kind))
			m[1].link(1).queue.push(item{message: forged})
			time.Sleep(time.Second)
			m[1].Send([]*raftpb.Message{beat(2, 1, 9)})
			synctest.Wait()
			equal(t, "messages", m[0].indexes(), []uint64{9})
			if n := m[0].logged("message from 3 sent by 2"); n != 1 {
				t.Errorf("%v: logged %d times, want 1:\n%s", raftpb.MessageType(kind), n, m[0].lines())
			}
		})
	}
}

// A message sent to a member before it was dropped arrives: it may be its removal.
func TestLastMessages(t *testing.T) {
	withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
		m[0].Send([]*raftpb.Message{app(1, 2, 5, strings.Repeat("x", 5*halfBuffer))})
		m[0].fake.mu.Lock()
		m[0].fake.removed[2] = true
		m[0].fake.mu.Unlock()
		m[0].Set([]membership.Member{memberOf(1)})
		time.Sleep(time.Second)
		equal(t, "messages", m[1].indexes(), []uint64{5})
	})
}

// A member of another generation is another cluster: no member ends, nothing is sent, and
// both sides log it once.
func TestOtherGeneration(t *testing.T) {
	withMembers(t, 2, func(t *testing.T, net *network, m []*node) {
		forced := identified(2, 2)
		forced.Generation = strings.Repeat("a", 32)
		m[1] = m[1].replace(net, forced)
		time.Sleep(10 * time.Minute)
		m[0].Send([]*raftpb.Message{beat(1, 2, 7)})
		m[1].Send([]*raftpb.Message{beat(2, 1, 8)})
		synctest.Wait()
		equal(t, "messages to it", m[1].indexes(), nil)
		equal(t, "messages of it", m[0].indexes(), nil)
		if n := m[0].logged("member 2 at http://10.0.0.2:2380 was made a cluster of its own with --force-new-cluster"); n != 1 {
			t.Errorf("logged %d times in ten minutes, want 1:\n%s", n, m[0].lines())
		}
		if n := m[1].logged("member 1 at http://10.0.0.1:2380 does not belong to this cluster"); n != 1 {
			t.Errorf("logged %d times in ten minutes, want 1:\n%s", n, m[1].lines())
		}
		if see(m[0].fake, &m[0].expelled)+see(m[1].fake, &m[1].expelled) > 0 || see(m[0].fake, &m[0].mismatch) != 0 {
			t.Error("a member was told to end")
		}
		// One that joins knows no generation yet.
		joining := identified(2, 3)
		joining.Generation = identity.Joining
		m[1] = m[1].replace(net, joining)
		time.Sleep(10 * time.Second)
		m[1].Send([]*raftpb.Message{beat(2, 1, 9)})
		synctest.Wait()
		equal(t, "messages of one that joins", m[0].indexes(), []uint64{9})
	})
}

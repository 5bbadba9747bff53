package peer

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
)

func TestMessagesArriveInOrder(t *testing.T) {
	bubble(t, 3, Config{}, func(t *testing.T, _ *network, m []*node) {
		var want []uint64
		sent := map[membership.ID]*raftpb.Message{}
		for i := range uint64(1000) {
			sent[2], sent[3] = app(1, 2, i, "value", ""), app(1, 3, i)
			m[0].Send([]*raftpb.Message{sent[2], sent[3]})
			want = append(want, i)
		}
		synctest.Wait()
		for _, to := range m[1:] {
			equal(t, fmt.Sprintf("member %d got", to.id), to.indexes(), want)
			if got := to.got[999]; !proto.Equal(got, sent[to.id]) {
				t.Errorf("member %d got %v, want %v", to.id, got, sent[to.id])
			}
		}
		link := m[0].Links()[2]
		if !link.Active || link.Appends.Messages != 1000 || link.Success != 1000 || link.Fail != 0 || link.Appends.Bytes == 0 {
			t.Errorf("Links()[2] = %+v, want an active one with 1000 messages", link)
		}
		if got := m[1].Links()[1].Received; got != link.Appends {
			t.Errorf("received %+v, sent %+v", got, link.Appends)
		}
		if n := m[0].logged("the connection with 2 became active"); n != 1 {
			t.Errorf("logged %d times that the connection is active, want 1", n)
		}
	})
}

// TestHeartbeatsOvertakeAppends: otherwise a slow link would cost the leader its
// office.
func TestHeartbeatsOvertakeAppends(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, _ *network, m []*node) {
		m[1].stall = make(chan struct{})
		big := strings.Repeat("x", 600<<10)
		for i := range uint64(20) {
			m[0].Send([]*raftpb.Message{app(1, 2, i, big)})
		}
		synctest.Wait()
		m[0].Send([]*raftpb.Message{beat(1, 2, 100)})
		close(m[1].stall)
		synctest.Wait()
		got := m[1].indexes()
		if at := slices.Index(got, 100); at < 0 || at > 10 || len(got) != 21 {
			t.Errorf("the heartbeat (100) is no. %d of %v", at, got)
		}
		got = slices.DeleteFunc(got, func(i uint64) bool { return i == 100 })
		if !slices.IsSorted(got) {
			t.Errorf("appends arrived as %v, want them in order", got)
		}
	})
}

func TestStalledReceiver(t *testing.T) {
	bubble(t, 2, Config{QueueMessages: 8}, func(t *testing.T, _ *network, m []*node) {
		m[1].stall = make(chan struct{})
		big := strings.Repeat("x", 1<<20)
		for i := range uint64(100) {
			m[0].Send([]*raftpb.Message{app(1, 2, i, big)})
		}
		m[0].Forward(2, [][]byte{[]byte("w")})
		synctest.Wait()
		if n := see(m[0].fake, &m[0].unreachable); n == 0 {
			t.Errorf("dropped messages were not reported")
		}
		if fail := m[0].Links()[2].Fail; fail < 90 {
			t.Errorf("Fail = %d, want 90 or more of 100", fail)
		}
		equal(t, "refused", see(m[0].fake, &m[0].refused), []string{"w"})
		// The write that waits has a deadline.
		time.Sleep(6 * time.Second)
		if n := m[0].logged("the connection with 2 became inactive"); n != 1 {
			t.Errorf("logged %d times that the connection is inactive, want 1", n)
		}
		close(m[1].stall)
	})
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a := build(net, 1, Config{})
		a.Set([]membership.Member{memberOf(1), memberOf(2)})
		a.Forward(2, [][]byte{[]byte("early")})
		a.start(net)
		time.Sleep(time.Minute)
		a.Send([]*raftpb.Message{beat(1, 2, 1), beat(1, 9, 1)})
		a.Forward(2, [][]byte{[]byte("w1"), []byte("w2")})
		a.Forward(7, [][]byte{[]byte("w3")})
		a.Send([]*raftpb.Message{{Type: new(raftpb.MsgSnap), To: new(uint64(9))}})
		synctest.Wait()
		if n := see(a.fake, &a.unreachable); n != 2 {
			t.Errorf("unreachable members reported %d times, want 2", n)
		}
		equal(t, "refused", see(a.fake, &a.refused), []string{"early", "w1", "w2", "w3"})
		equal(t, "snapshots", see(a.fake, &a.snapshots), []string{"9 false"})
		if n := net.dialled(address1(2)); n < 60 || n > 70 {
			t.Errorf("dialled %d times in a minute, want about 62", n)
		}
		if n := a.logged("failed to dial 2"); n != 2 {
			t.Errorf("failed dials were logged %d times in a minute, want 2", n)
		}
		if n := a.logged("the connection to peer 2 is unhealthy"); n != 2 {
			t.Errorf("the connection was called unhealthy %d times in a minute, want 2", n)
		}
		b := build(net, 2, Config{}).start(net)
		b.Set([]membership.Member{memberOf(1)})
		synctest.Wait() // b dials a, and so a dials b
		if !a.Links()[2].Active || !b.Links()[1].Active {
			t.Errorf("links after the start of the other: %+v, %+v", a.Links()[2], b.Links()[1])
		}
		a.end()
		b.end()
	})
}

func TestBlackHole(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		net.swallow()
		began := time.Now()
		time.Sleep(7 * time.Second)
		if link := m[0].Links()[2]; !link.Active || !link.Since.After(began) {
			t.Errorf("7s after the connection went dead the link is %+v, want a new one", link)
		}
		m[0].Send([]*raftpb.Message{beat(1, 2, 5)})
		synctest.Wait()
		equal(t, "messages on the next connection", m[1].indexes(), []uint64{5})
	})
}

// TestFlappingConnection: the log does not fill, and its last line is true.
func TestFlappingConnection(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		time.Sleep(time.Minute)
		for range 50 {
			net.cut()
			time.Sleep(2 * time.Second)
		}
		lines := m[0].logged("the connection with 2 became ")
		if lines < 10 || lines > 25 {
			t.Errorf("%d lines about 50 cuts in 100s, want about 20", lines)
		}
		time.Sleep(20 * time.Second)
		log := strings.TrimSpace(m[0].lines())
		if last := log[strings.LastIndex(log, "\n")+1:]; !strings.Contains(last, "became active") {
			t.Errorf("the last line is %q, want that the connection is active", last)
		}
	})
}

// TestQuietStreamStays: signs of life keep a stream on which nothing is sent.
func TestQuietStreamStays(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		before := net.dialled(address1(2))
		time.Sleep(time.Hour)
		if n := net.dialled(address1(2)); n != before {
			t.Errorf("dialled %d times in a quiet hour, want 0", n-before)
		}
		if link := m[0].Links()[2]; link.Latency.Minimum != 0 || link.ClockDifference != 0 {
			t.Errorf("Links()[2] = %+v on a network that takes no time", link)
		}
	})
}

func TestForward(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		writes := [][]byte{[]byte("a"), {}, []byte("b")}
		m[0].Forward(2, writes)
		clear(writes) // the outer slice is good during the call only
		synctest.Wait()
		equal(t, "forwarded", see(m[1].fake, &m[1].forwarded), []string{"1:a", "1:", "1:b"})
		equal(t, "refused", see(m[0].fake, &m[0].refused), nil)

		m[1].decline = errors.New("not the leader")
		m[0].Forward(2, [][]byte{[]byte("c"), []byte("d")})
		synctest.Wait()
		equal(t, "refused by the other", see(m[0].fake, &m[0].refused), []string{"c", "d"})

		// Many are cut into frames, and all of them arrive.
		m[1].decline = nil
		many := make([][]byte, 3*writesMax/2)
		for i := range many {
			many[i] = []byte("many")
		}
		m[0].Forward(2, many)
		synctest.Wait()
		if n := len(see(m[1].fake, &m[1].forwarded)); n != 3+len(many) {
			t.Errorf("%d writes arrived, want %d", n-3, len(many))
		}
	})
}

// TestUnsentForwardsComeBack: what had not left when the connection broke was
// certainly not taken.
func TestUnsentForwardsComeBack(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		m[1].stall = make(chan struct{})
		m[0].Send([]*raftpb.Message{app(1, 2, 1), app(1, 2, 2, strings.Repeat("x", 5*halfBuffer))})
		synctest.Wait()
		m[0].Forward(2, [][]byte{[]byte("a"), []byte("b")})
		synctest.Wait()
		equal(t, "refused while it waits", see(m[0].fake, &m[0].refused), nil)
		net.cut()
		synctest.Wait()
		equal(t, "refused", see(m[0].fake, &m[0].refused), []string{"a", "b"})
		close(m[1].stall)
	})
}

func TestURLs(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		other := net.listen("10.9.9.9:1")
		go func() { _ = m[1].server.Serve(other) }()

		// A URL more changes nothing.
		moved := memberOf(2)
		moved.PeerURLs = append([]string{"http://10.9.9.9:1"}, moved.PeerURLs...)
		m[0].Set([]membership.Member{moved})
		time.Sleep(time.Second)
		if n := net.dialled("10.9.9.9:1"); n != 0 {
			t.Errorf("the added URL was dialled %d times, want 0", n)
		}
		// Without the one in use the other is dialled at once.
		moved.PeerURLs = []string{"http://10.9.9.9:1"}
		m[0].Set([]membership.Member{moved})
		synctest.Wait()
		m[0].Send([]*raftpb.Message{beat(1, 2, 7)})
		synctest.Wait()
		equal(t, "messages at the new URL", m[1].indexes(), []uint64{7})

		// When one URL does not answer the next one is tried.
		moved.PeerURLs = []string{"http://10.9.9.9:2", "http://10.9.9.9:3", "http://" + address1(2)}
		m[0].Set([]membership.Member{moved})
		synctest.Wait()
		m[0].Send([]*raftpb.Message{beat(1, 2, 8)})
		synctest.Wait()
		equal(t, "messages at the third URL", m[1].indexes(), []uint64{7, 8})
	})
}

func TestRemovedMember(t *testing.T) {
	bubble(t, 3, Config{}, func(t *testing.T, _ *network, m []*node) {
		m[0].fake.mu.Lock()
		m[0].removed[2] = true
		m[0].fake.mu.Unlock()
		m[0].Set([]membership.Member{memberOf(1), memberOf(3)})
		time.Sleep(5 * time.Second)
		if n := see(m[1].fake, &m[1].expelled); n == 0 {
			t.Errorf("the removed member was not told")
		}
		if _, known := m[0].Links()[2]; known {
			t.Errorf("there still is a link to the removed member")
		}
		m[1].Send([]*raftpb.Message{beat(2, 1, 1), beat(2, 3, 2)})
		synctest.Wait()
		equal(t, "messages to who knows of the removal", m[0].indexes(), nil)
		equal(t, "messages to who does not", m[2].indexes(), []uint64{2})
		if n := m[0].logged("rejected the stream from peer 2 since it was removed"); n != 1 {
			t.Errorf("the refusal was logged %d times, want 1", n)
		}
	})
}

// What is no member of this cluster cannot say who was removed from it.
func TestGoneElsewhere(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, _ *network, m []*node) {
		for _, cluster := range []string{"", "no ID", "dd"} {
			m[0].judge(2, &refusal{status: http.StatusGone, cluster: cluster})
		}
		if see(m[0].fake, &m[0].expelled) != 0 {
			t.Errorf("a stranger's 410 made the member leave")
		}
	})
}

func TestOtherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := build(net, 1, Config{}), build(net, 2, Config{})
		b.cluster = 0xdd
		a.Set([]membership.Member{memberOf(2)})
		a.start(net)
		b.start(net)
		time.Sleep(10 * time.Second)
		if got := see(a.fake, &a.mismatch); got != 0xdd {
			t.Errorf("Mismatch got %s, want dd", got)
		}
		if n := b.logged("cluster ID mismatch"); n != 1 {
			t.Errorf("the mismatch was logged %d times in ten seconds, want 1", n)
		}
		if see(a.fake, &a.expelled) != 0 {
			t.Errorf("a member of another cluster was told that it was removed")
		}
		a.end()
		b.end()
	})
}

// TestUnlistedPeer: a member that lags does not know a new one yet, but must answer it.
func TestUnlistedPeer(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
		unlisted := build(net, 2, Config{})
		unlisted.Set([]membership.Member{memberOf(1)})
		unlisted.start(net)
		time.Sleep(time.Second)
		m[0].Send([]*raftpb.Message{beat(1, 2, 4)})
		synctest.Wait()
		equal(t, "messages to the unlisted peer", unlisted.indexes(), []uint64{4})

		m[0].Set([]membership.Member{memberOf(1)}) // says nothing about unlisted peers
		m[0].Send([]*raftpb.Message{beat(1, 2, 5)})
		synctest.Wait()
		equal(t, "messages to the unlisted peer", unlisted.indexes(), []uint64{4, 5})

		m[0].Set([]membership.Member{memberOf(1), memberOf(2)})
		unlisted.end()
		synctest.Wait()
		if len(m[0].Links()) != 1 {
			t.Errorf("a member that was unlisted is forgotten when its stream ends")
		}

		stranger := build(net, 3, Config{})
		stranger.Set([]membership.Member{memberOf(1)})
		stranger.start(net)
		time.Sleep(time.Second)
		stranger.end()
		time.Sleep(time.Second)
		if _, known := m[0].Links()[3]; known {
			t.Errorf("an unlisted peer stays after its stream has ended")
		}
	})
}

func TestUnlistedPeerWithoutURLs(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
		unlisted := build(net, 2, Config{})
		unlisted.members = nil
		unlisted.Set([]membership.Member{memberOf(1)})
		unlisted.start(net)
		time.Sleep(time.Second)
		if unlisted.Links()[1].Active {
			t.Errorf("a member that cannot be answered has a stream")
		}
		if n := m[0].logged("failed to find member 2 in cluster c"); n != 1 {
			t.Errorf("the unknown member was logged %d times, want 1", n)
		}
		unlisted.end()
	})
}

// TestReplacedStream: a member that was restarted before its old connection was
// given up has one stream, the new one.
func TestReplacedStream(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		again := build(net, 2, Config{})
		again.Set([]membership.Member{memberOf(1)})
		net.swallow()
		again.start(net)
		synctest.Wait()
		again.Send([]*raftpb.Message{beat(2, 1, 9)})
		synctest.Wait()
		equal(t, "messages of the second life", m[0].indexes(), []uint64{9})
		again.end()
	})
}

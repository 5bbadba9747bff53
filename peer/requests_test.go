package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
)

func snap(from, to membership.ID, index uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: new(raftpb.MsgSnap), From: new(uint64(from)), To: new(uint64(to)), Term: new(uint64(4)),
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(uint64(2))}},
	}
}

// content is a checkpoint that differs everywhere.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}

func TestSnapshotArrives(t *testing.T) {
	for _, size := range []int{0, 1, chunkBytes, 5<<20 + 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bubble(t, 2, Config{}, func(t *testing.T, _ *network, m []*node) {
				m[0].checkpoint = content(size)
				given := snap(1, 2, 100)
				m[0].Send([]*raftpb.Message{given})
				time.Sleep(time.Second)
				// Index, term and voters are those of the checkpoint, which is newer.
				want := fmt.Sprintf("index 105, term 3, voters [1 2], %d bytes, sum %d", size, sum(content(size)))
				equal(t, "received", see(m[1].fake, &m[1].received), []string{want})
				equal(t, "reported", see(m[0].fake, &m[0].snapshots), []string{"2 true"})
				if given.GetSnapshot().GetMetadata().GetIndex() != 100 {
					t.Errorf("the message given to Send was changed to %v", given)
				}
			})
		})
	}
}

func TestSnapshotFails(t *testing.T) {
	bubble(t, 2, Config{SnapshotBytesPerSecond: 1 << 20}, func(t *testing.T, net *network, m []*node) {
		// None to send.
		m[0].Send([]*raftpb.Message{snap(1, 2, 1)})
		time.Sleep(200 * time.Millisecond)
		equal(t, "reported without a checkpoint", see(m[0].fake, &m[0].snapshots), []string{"2 false"})

		// Cut in the middle. Another message for it changes nothing meanwhile.
		m[0].checkpoint = content(10 << 20)
		m[0].Send([]*raftpb.Message{snap(1, 2, 2)})
		time.Sleep(5 * time.Second)
		m[0].Send([]*raftpb.Message{snap(1, 2, 3)})
		net.cut()
		time.Sleep(2 * time.Second)
		equal(t, "reported after a cut", see(m[0].fake, &m[0].snapshots), []string{"2 false", "2 false"})
		equal(t, "received after a cut", see(m[1].fake, &m[1].received), nil)

		// Into a black hole.
		m[0].Send([]*raftpb.Message{snap(1, 2, 4)})
		time.Sleep(3 * time.Second)
		net.swallow()
		time.Sleep(20 * time.Second)
		equal(t, "received after a black hole", see(m[1].fake, &m[1].received), nil)

		// Not wanted.
		m[0].checkpoint = content(100)
		m[1].decline = errors.New("disk full")
		time.Sleep(5 * time.Minute) // the answer that the hole has swallowed is given up
		equal(t, "reported after a black hole", see(m[0].fake, &m[0].snapshots), []string{"2 false", "2 false", "2 false"})
		m[0].Send([]*raftpb.Message{snap(1, 2, 5)})
		time.Sleep(time.Second)
		if n := m[0].logged("disk full"); n != 1 {
			t.Errorf("the reason was logged %d times by the sender, want 1", n)
		}

		// Once more from the beginning.
		m[1].decline = nil
		m[0].Send([]*raftpb.Message{snap(1, 2, 6)})
		time.Sleep(time.Second)
		equal(t, "reported in the end", see(m[0].fake, &m[0].snapshots), []string{"2 false", "2 false", "2 false", "2 false", "2 true"})
		if n := len(see(m[1].fake, &m[1].received)); n != 1 {
			t.Errorf("%d checkpoints received, want 1", n)
		}
	})
}

// A member that takes no checkpoint, as when its disk is full, is not sent one after
// the other, however often raft wants to; one that connects anew is.
func TestSnapshotIsNotSentInVainForEver(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		m[0].checkpoint = content(100)
		m[1].decline = errors.New("disk full")
		send := func(d time.Duration) (attempts int) {
			before := m[0].logged("disk full")
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				m[0].Send([]*raftpb.Message{snap(1, 2, 1)})
			}
			return m[0].logged("disk full") - before
		}
		if n := send(10 * time.Minute); n < 10 || n > 20 {
			t.Errorf("%d attempts in ten minutes, want some in the first and then one each minute", n)
		}
		net.cut()
		if n := send(5 * time.Second); n < 2 {
			t.Errorf("%d attempts in the first seconds of a new connection, want several", n)
		}
	})
}

// What is under way to a member that leaves is given up.
func TestSnapshotToGoneMember(t *testing.T) {
	bubble(t, 2, Config{SnapshotBytesPerSecond: 1 << 20}, func(t *testing.T, _ *network, m []*node) {
		m[0].checkpoint = content(100 << 20)
		m[0].Send([]*raftpb.Message{snap(1, 2, 2)})
		time.Sleep(2 * time.Second)
		m[0].Set([]membership.Member{memberOf(1)})
		time.Sleep(time.Second)
		equal(t, "reported", see(m[0].fake, &m[0].snapshots), []string{"2 false"})
	})
}

func TestSnapshotRate(t *testing.T) {
	tests := []struct {
		rate int64
		size int
		want time.Duration
	}{
		{1 << 20, 20 << 20, 20 * time.Second},
		{1000, 100_000, 100 * time.Second},
		{-1, 20 << 20, 0},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.rate), func(t *testing.T) {
			bubble(t, 2, Config{SnapshotBytesPerSecond: tt.rate}, func(t *testing.T, _ *network, m []*node) {
				m[0].checkpoint = content(tt.size)
				began := time.Now()
				err := m[1].Fetch(t.Context(), 1, 7, func(r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				})
				if took := time.Since(began).Round(time.Second); err != nil || (took-tt.want).Abs() > tt.want/20 {
					t.Errorf("Fetch took %v, error %v, want %v", took, err, tt.want)
				}
				if lines := m[0].logged("checkpoint on its way"); lines != int(max(0, tt.want/progressPeriod-1)) {
					t.Errorf("progress was logged %d times in %v", lines, tt.want)
				}
			})
		})
	}
}

func TestFetch(t *testing.T) {
	bubble(t, 2, Config{SnapshotBytesPerSecond: 1 << 20}, func(t *testing.T, net *network, m []*node) {
		var got []byte
		keep := func(r io.Reader) (err error) {
			got, err = io.ReadAll(r)
			return err
		}
		if err := m[1].Fetch(t.Context(), 1, 7, keep); err == nil || !strings.Contains(err.Error(), "no checkpoint") {
			t.Errorf("Fetch without a checkpoint = %v, want the reason", err)
		}
		m[0].checkpoint = content(3 << 20)
		if err := m[1].Fetch(t.Context(), 1, 7, keep); err != nil || !bytes.Equal(got, m[0].checkpoint) {
			t.Errorf("Fetch = %d bytes, error %v, want all %d", len(got), err, len(m[0].checkpoint))
		}
		if err := m[1].Fetch(t.Context(), 9, 7, keep); !errors.Is(err, ErrUnknown) {
			t.Errorf("Fetch from an unknown member = %v, want ErrUnknown", err)
		}
		part := func(r io.Reader) error {
			_, err := io.CopyN(io.Discard, r, 1000)
			return err
		}
		if err := m[1].Fetch(t.Context(), 1, 7, part); err == nil {
			t.Errorf("Fetch of a part succeeds")
		}
		time.AfterFunc(time.Second, net.cut)
		if err := m[1].Fetch(t.Context(), 1, 7, keep); err == nil {
			t.Errorf("Fetch over a connection that is cut succeeds with %d bytes", len(got))
		}
		time.AfterFunc(time.Second, net.swallow)
		began := time.Now()
		if err := m[1].Fetch(t.Context(), 1, 7, keep); err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("Fetch from a black hole = %v after %v", err, time.Since(began))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m[1].Fetch(short, 1, 7, keep); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Fetch = %v, want the context's error", err)
		}
		time.Sleep(time.Minute) // the other end notices
	})
}

func TestAsk(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		answer, err := m[0].Ask(t.Context(), 2, "change", []byte("body"))
		if want := "1 asks change with body"; err != nil || string(answer) != want {
			t.Errorf("Ask = %q, %v, want %q", answer, err, want)
		}
		m[1].decline = errors.New("etcdserver: ID removed")
		_, err = m[0].Ask(t.Context(), 2, "change", nil)
		var refused *AskError
		if !errors.As(err, &refused) || refused.Text != "etcdserver: ID removed" {
			t.Errorf("Ask = %v, want the error of the other member as *AskError", err)
		}
		if _, err = m[0].Ask(t.Context(), 9, "change", nil); !errors.Is(err, ErrUnknown) {
			t.Errorf("Ask of an unknown member = %v, want ErrUnknown", err)
		}
		if _, err = m[0].Ask(t.Context(), 2, "change", make([]byte, askBytesMax+1)); err == nil || errors.As(err, &refused) {
			t.Errorf("Ask with too much = %v, want an error that is no answer", err)
		}
		_ = m[1].server.Close()
		if _, err = m[0].Ask(t.Context(), 2, "change", nil); err == nil || errors.As(err, &refused) {
			t.Errorf("Ask of a member that is down = %v, want an error that is no answer", err)
		}
		m[0].end()
		if _, err = m[0].Ask(t.Context(), 2, "change", nil); !errors.Is(err, ErrStopped) {
			t.Errorf("Ask after the end = %v, want ErrStopped", err)
		}
	})
}

func TestVersion(t *testing.T) {
	bubble(t, 2, Config{}, func(t *testing.T, net *network, m []*node) {
		old := &http.Server{Handler: http.NotFoundHandler()}
		defer old.Close()
		on := net.listen("10.0.0.8:1")
		go func() { _ = old.Serve(on) }()

		tests := []struct {
			urls            []string
			server, cluster string
		}{
			{[]string{"http://" + address1(2)}, "2.3.8", "2.3.0"},
			{[]string{"http://10.0.0.9:1", "http://" + address1(2)}, "2.3.8", "2.3.0"},
			{[]string{"http://10.0.0.8:1"}, "2.0.0", "2.0.0"},
			{[]string{"http://10.0.0.9:1"}, "", ""},
			{[]string{"https://10.0.0.8:1"}, "", ""},
			{nil, "", ""},
		}
		for _, tt := range tests {
			server, cluster, err := m[0].Version(t.Context(), membership.Member{ID: 7, PeerURLs: tt.urls})
			if server != tt.server || cluster != tt.cluster || (err != nil) != (server == "") {
				t.Errorf("Version(%v) = %q, %q, %v, want %q, %q", tt.urls, server, cluster, err, tt.server, tt.cluster)
			}
		}
		if n := m[0].logged("failed to reach the peerURL(http://10.0.0.9:1) of member 7 (connection refused)"); n != 1 {
			t.Errorf("the unreachable URL was logged %d times, want 1", n)
		}
		if n := m[0].logged("cannot get the version of member 7 ("); n != 1 {
			t.Errorf("the unreachable member was logged %d times, want 1", n)
		}
	})
}

// TestPeerPort asks what other programs, and members with something wrong, ask.
func TestPeerPort(t *testing.T) {
	f := &fake{id: 1, cluster: cluster, removed: map[membership.ID]bool{5: true}}
	tr := New(Config{Dial: newNetwork().dial}, f)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		_ = tr.Run(ctx)
		close(ended)
	}()
	defer func() {
		stop()
		<-ended
	}()
	for !tr.spawn(func(context.Context) {}) {
		time.Sleep(time.Millisecond) // until Run runs
	}
	tr.Set([]membership.Member{{ID: 4, PeerURLs: []string{"http://10.0.0.4:1"}}})
	tests := []struct {
		name, method, path, headers string
		status                      int
		body                        string
	}{
		{"members", "GET", "/members", "", 200, "[]"},
		{"client API", "GET", "/v2/keys", "", 404, "404 page not found"},
		{"message of another program", "POST", "/raft", "", 412, "incompatible version"},
		{"raft, other method", "GET", "/raft", "", 405, "Method Not Allowed"},
		{"stream of another program", "GET", "/raft/stream/message/2", "", 404, "invalid path"},
		{"stream, other method", "POST", "/raft/stream/2", "", 405, "Method Not Allowed"},
		{"stream of nobody", "GET", "/raft/stream/xyz", "", 404, "invalid from"},
		{"stream of itself", "GET", "/raft/stream/1", "", 404, "invalid from"},
		{"stream of a removed member", "GET", "/raft/stream/5", "", 410, "removed member"},
		{"stream without upgrade", "GET", "/raft/stream/2", "", 426, "the stream needs an upgrade to etcd2-raft/1"},
		{"stream of an unknown member", "GET", "/raft/stream/2", "Upgrade: etcd2-raft/1", 404, "error sender not found"},
		{"stream that cannot be taken over", "GET", "/raft/stream/2", "Upgrade: etcd2-raft/1|X-PeerURLs: http://a:1", 500, "no streams here"},
		{"other cluster", "GET", "/raft/stream/2", "X-Etcd-Cluster-ID: dd", 412, "cluster ID mismatch"},
		{"other member", "GET", "/raft/stream/2", "X-Raft-To: 3", 412, "to field mismatch"},
		{"old version", "GET", "/raft/stream/2", "X-Server-Version: 2.1.9", 412, "incompatible version"},
		{"no version", "GET", "/raft/stream/2", "X-Server-Version:", 412, "incompatible version"},
		{"senseless version", "GET", "/raft/stream/2", "X-Server-Version: x", 412, "incompatible version"},
		{"new version", "GET", "/raft/stream/2", "X-Server-Version: 4.0.0|X-Min-Cluster-Version: 3.0.0", 412, "incompatible version"},
		{"version comes first", "GET", "/raft/stream/2", "X-Server-Version: 2.1.0|X-Etcd-Cluster-ID: dd", 412, "incompatible version"},
		{"no checkpoint", "GET", "/raft/snapshot?index=3", "X-Server-From: 4", 500, "no checkpoint"},
		{"no index", "GET", "/raft/snapshot", "X-Server-From: 4", 400, "invalid index"},
		{"senseless checkpoint", "POST", "/raft/snapshot", "X-Server-From: 4", 400, "failed to decode raft message (EOF)"},
		{"checkpoint, other method", "PUT", "/raft/snapshot", "", 405, "Method Not Allowed"},
		{"checkpoint of a removed member", "POST", "/raft/snapshot", "X-Server-From: 5", 410, "removed member"},
		{"question", "POST", "/raft/ask/it", "X-Server-From: 4", 200, "4 asks it with"},
		{"question about a member", "POST", "/raft/ask/member", "X-Server-From: 4", 200, "no"},
		{"question of an unlisted peer", "POST", "/raft/ask/it", "", 403, "error sender not found"},
		{"checkpoint for an unlisted peer", "GET", "/raft/snapshot?index=3", "", 403, "error sender not found"},
		{"checkpoint of an unlisted peer", "POST", "/raft/snapshot", "", 403, "error sender not found"},
		{"malformed identity", "POST", "/raft/ask/it", "X-Server-From: 4|X-Etcd2-Identity: x", 400, `identity: malformed: field "x"`},
		{"other generation", "POST", "/raft/ask/it", "X-Server-From: 4|X-Etcd2-Identity: generation=00112233445566778899aabbccddeeff", 412, "cluster generation mismatch"},
		{"cluster comes before generation", "POST", "/raft/ask/it", "X-Etcd-Cluster-ID: dd|X-Etcd2-Identity: generation=00112233445566778899aabbccddeeff", 412, "cluster ID mismatch"},
		{"generation comes before the receiver", "POST", "/raft/ask/it", "X-Raft-To: 3|X-Etcd2-Identity: generation=00112233445566778899aabbccddeeff", 412, "cluster generation mismatch"},
		{"generation comes before removal", "POST", "/raft/ask/it", "X-Server-From: 5|X-Etcd2-Identity: generation=00112233445566778899aabbccddeeff", 412, "cluster generation mismatch"},
		{"question, other method", "GET", "/raft/ask/it", "", 405, "Method Not Allowed"},
		{"question of a removed member", "POST", "/raft/ask/it", "X-Server-From: 5", 410, "removed member"},
		{"question of nobody", "POST", "/raft/ask/it", "X-Server-From:", 404, "invalid from"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.path, nil)
			r.Header = http.Header{}
			for line := range strings.SplitSeq("X-Etcd-Cluster-ID: c|X-Server-From: 2|X-Raft-To: 1|X-Server-Version: 2.3.8|X-Min-Cluster-Version: 2.2.0|"+tt.headers, "|") {
				name, value, _ := strings.Cut(line, ":")
				r.Header.Set(name, strings.TrimSpace(value))
			}
			rec := httptest.NewRecorder()
			tr.Handler().ServeHTTP(rec, r)
			if got := strings.TrimSpace(rec.Body.String()); rec.Code != tt.status || got != tt.body {
				t.Errorf("%s %s = %d %q, want %d %q", tt.method, tt.path, rec.Code, got, tt.status, tt.body)
			}
			if got := rec.Header().Get("X-Etcd-Cluster-Id"); got != "c" && rec.Code != 405 && tt.path != "/v2/keys" {
				t.Errorf("%s %s: X-Etcd-Cluster-ID = %q, want c", tt.method, tt.path, got)
			}
		})
	}
}

// TestNotRunning: a member that begins or ends asks the others to wait.
func TestNotRunning(t *testing.T) {
	tr := New(Config{}, &fake{id: 1, cluster: cluster})
	for _, path := range []string{"/raft/stream/2", "/raft/ask/it", "/raft/snapshot"} {
		r := httptest.NewRequest("POST", path, nil)
		if strings.Contains(path, "stream") {
			r.Method = "GET"
		}
		r.Header = tr.header(1)
		r.Header.Set(headerFrom, "2")
		r.Header.Set("Upgrade", protocol)
		rec := httptest.NewRecorder()
		tr.Handler().ServeHTTP(rec, r)
		if rec.Code != http.StatusServiceUnavailable {
			t.Errorf("%s before Run = %d %s, want 503", path, rec.Code, rec.Body)
		}
	}
}

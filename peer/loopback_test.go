package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
)

// loopback runs two members over real connections, with TLS or without, and
// returns them once both streams are there.
func loopback(t testing.TB, secure bool) []*node {
	var nodes []*node
	var members []membership.Member
	pool := x509.NewCertPool()
	for id := membership.ID(1); id <= 2; id++ {
		m := &node{fake: &fake{id: id, cluster: cluster, removed: map[membership.ID]bool{}}, ended: make(chan struct{})}
		cfg := Config{Logger: slog.New(slog.NewTextHandler(m.fake, nil)), TLS: func() *tls.Config { return &tls.Config{RootCAs: pool} }}
		m.Transport = New(cfg, m.fake)
		server := httptest.NewUnstartedServer(m.Handler())
		if secure {
			server.StartTLS()
			pool.AddCert(server.Certificate())
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		members = append(members, membership.Member{ID: id, PeerURLs: []string{server.URL}})
		nodes = append(nodes, m)
	}
	for _, m := range nodes {
		ctx, stop := context.WithCancel(context.Background())
		m.Set(members)
		go func() {
			_ = m.Run(ctx)
			close(m.ended)
		}()
		t.Cleanup(func() {
			stop()
			<-m.ended
		})
	}
	until(t, "streams", func() bool { return nodes[0].Links()[2].Active && nodes[1].Links()[1].Active })
	return nodes
}

// until waits for what the network is to bring about.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 10_000 {
		if holds() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no %s in 10s", what)
}

func TestLoopback(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", secure), func(t *testing.T) {
			m := loopback(t, secure)
			const count = 2000
			var want []uint64
			for i := range uint64(count) {
				m[0].Send([]*raftpb.Message{app(1, 2, i, "a value")})
				want = append(want, i)
			}
			until(t, "messages", func() bool { return len(m[1].indexes()) == count })
			equal(t, "messages", m[1].indexes(), want)

			m[0].Forward(2, [][]byte{[]byte("w"), make([]byte, 3<<20)})
			until(t, "writes", func() bool { return len(see(m[1].fake, &m[1].forwarded)) == 2 })

			m[0].checkpoint = content(3 << 20)
			m[0].Send([]*raftpb.Message{snap(1, 2, 9)})
			until(t, "checkpoint", func() bool { return len(see(m[0].fake, &m[0].snapshots)) == 1 })
			equal(t, "reported", see(m[0].fake, &m[0].snapshots), []string{"2 true"})
			var got []byte
			err := m[1].Fetch(t.Context(), 1, 3, func(r io.Reader) (err error) {
				got, err = io.ReadAll(r)
				return err
			})
			if err != nil || !bytes.Equal(got, m[0].checkpoint) {
				t.Errorf("Fetch = %d bytes, %v, want the checkpoint", len(got), err)
			}
			if answer, err := m[0].Ask(t.Context(), 2, "it", []byte("x")); err != nil || string(answer) != "1 asks it with x" {
				t.Errorf("Ask = %q, %v", answer, err)
			}
			if link := m[0].Links()[2]; link.RTT <= 0 || link.RTT > 5*time.Second || link.ClockDifference.Abs() > time.Second {
				t.Errorf("Links()[2] = %+v, want a short round trip and equal clocks", link)
			}
			if n := m[0].logged("level=WARN"); n > 0 {
				t.Errorf("%d warnings:\n%s", n, m[0].lines())
			}
		})
	}
}

// TestUntrustedPeer: a certificate that no known authority has signed is no peer's.
func TestUntrustedPeer(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	for name, settings := range map[string]func() *tls.Config{"untrusted": func() *tls.Config { return &tls.Config{RootCAs: x509.NewCertPool()} }, "no TLS": nil} {
		f := &fake{id: 1, cluster: cluster}
		tr := New(Config{TLS: settings}, f)
		conn, _, err := tr.openStream(t.Context(), 2, server.URL)
		var unknown x509.UnknownAuthorityError
		if conn != nil || !errors.As(err, &unknown) && !errors.Is(err, ErrNoTLS) {
			t.Errorf("%s: openStream = %v, %v", name, conn, err)
		}
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	m := loopback(t, false)
	url := m[0].link(2).targets()[0]
	both := []membership.Member{{ID: 1, PeerURLs: []string{url}}, {ID: 2, PeerURLs: []string{url}}}
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			for n := range uint64(300) {
				switch (n + uint64(i)) % 4 {
				case 0:
					m[0].Set(both)
				case 1:
					m[0].Set(both[:1])
				default:
					m[0].Forward(2, [][]byte{[]byte("w")})
					_ = m[0].Links()
				}
				m[0].Send([]*raftpb.Message{app(1, 2, n, "v"), beat(1, 2, n)})
			}
		})
	}
	working.Wait()
	m[0].Set(both)
	until(t, "stream", func() bool { return m[0].Links()[2].Active })
}

// BenchmarkStream sends appends of 100 entries over a real connection.
func BenchmarkStream(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, entries := range []int{1, 100} {
			b.Run(fmt.Sprintf("tls=%t/entries=%d", secure, entries), func(b *testing.B) {
				m := loopback(b, secure)
				m[1].forget = true
				message := appMessage(entries)
				message.From, message.To = new(uint64(1)), new(uint64(2))
				b.ReportAllocs()
				b.ResetTimer()
				sent := uint64(0)
				for b.Loop() {
					m[0].Send([]*raftpb.Message{message})
					for sent++; sent-m[1].Links()[1].Received.Messages > 200; {
						time.Sleep(20 * time.Microsecond) // raft waits for acknowledgements, too
					}
				}
			})
		}
	}
}

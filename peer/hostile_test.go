package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
)

// openRaw opens a stream by hand from member 9 to the node, sending more with the
// request, and returns it behind the answer.
func openRaw(t *testing.T, net *network, to *node, more []byte) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.dial(t.Context(), "tcp", address1(to.id))
	if err != nil {
		t.Fatal(err)
	}
	request := "GET /raft/stream/9 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n" +
		"X-Etcd-Cluster-ID: c\r\nX-Server-From: 9\r\nX-Server-Version: 2.3.8\r\nX-PeerURLs: http://10.0.0.9:2380\r\n\r\n"
	if _, err := conn.Write(append([]byte(request), more...)); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	answer, err := http.ReadResponse(from, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer to the opening of a stream = %v, %v, want 101", answer, err)
	}
	return conn, from
}

func TestHostileStreams(t *testing.T) {
	header := func(length uint32, k kind) []byte {
		b := binary.LittleEndian.AppendUint32(nil, length)
		return append(b, byte(k), 1, 2, 3, 4)
	}
	good := appendFrame(nil, kindPing, make([]byte, 8))
	tests := map[string][]byte{
		"length bomb":          header(0xffffffff, kindMessage),
		"wrong checksum":       append(header(1, kindPing), 0),
		"unknown kind":         appendFrame(nil, 99, nil),
		"kind of the way back": appendFrame(nil, kindPong, make([]byte, 16)),
		"short ping":           appendFrame(nil, kindPing, nil),
		"broken message":       appendFrame(nil, kindMessage, []byte{1}),
		"broken writes":        appendFrame(nil, kindWrites, []byte{200}),
		"message to another":   appendFrame(nil, kindMessage, appendMessage(nil, beat(9, 4, 1))),
		"behind a good frame":  append(bytes.Clone(good), appendFrame(nil, 99, nil)...),
		"HTTP":                 []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	for name, sent := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
				conn, from := openRaw(t, net, m[0], nil)
				if _, err := conn.Write(sent); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if _, err := io.Copy(io.Discard, from); err != nil || time.Since(began) > 0 {
					t.Errorf("the stream ended after %v with %v, want the end at once", time.Since(began), err)
				}
				if n := m[0].logged("lost the stream from a member"); n != 1 {
					t.Errorf("logged %d times, want 1", n)
				}
				equal(t, "messages", m[0].indexes(), nil)
			})
		})
	}
}

// TestSlowSender: who sends a byte now and then keeps a stream, who is silent
// within a frame does not.
func TestSlowSender(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
		message := appendFrame(nil, kindMessage, appendMessage(nil, beat(9, 1, 3)))
		m[0].Set([]membership.Member{memberOf(9)})
		conn, from := openRaw(t, net, m[0], message) // with the request, as if it could not wait
		for _, b := range message {
			time.Sleep(4 * time.Second)
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "messages", m[0].indexes(), []uint64{3, 3})
		if _, err := conn.Write(message[:5]); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _ = io.Copy(io.Discard, from)
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("half a frame and silence: the stream ended after %v, want 5s", took)
		}
	})
}

// TestSlowLink: a message that takes a minute to arrive does not look like silence.
func TestSlowLink(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
		m[0].Set([]membership.Member{memberOf(9)})
		conn, from := openRaw(t, net, m[0], nil)
		message := appendFrame(nil, kindMessage, appendMessage(nil, app(9, 1, 3, strings.Repeat("x", 1<<20))))
		for piece := range slices.Chunk(message, len(message)/60) {
			time.Sleep(time.Second)
			if _, err := conn.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "messages", m[0].indexes(), []uint64{3})
		alive := 0
		for back := newFrames(from); ; alive++ {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if f, err := back.next(); err != nil || f.kind != kindAlive {
				break
			}
		}
		if alive < 15 {
			t.Errorf("%d signs of life in a minute, want 15 or more", alive)
		}
	})
}

// TestUnreadAnswers: a sender that reads nothing cannot hold the stream for ever.
func TestUnreadAnswers(t *testing.T) {
	bubble(t, 1, Config{}, func(t *testing.T, net *network, m []*node) {
		conn, _ := openRaw(t, net, m[0], nil)
		pings := bytes.Repeat(appendFrame(nil, kindPing, make([]byte, 8)), 1000)
		began := time.Now()
		for time.Since(began) < time.Minute {
			if _, err := conn.Write(pings); err != nil {
				return
			}
		}
		t.Errorf("the stream lives after a minute of unread answers")
	})
}

// TestMemoryComesWithBytes: a header alone gets no room for what it announces.
func TestMemoryComesWithBytes(t *testing.T) {
	frame := appendFrame(nil, kindChunk, make([]byte, frameBytesMax))
	var tooLarge [frameHeader]byte
	binary.LittleEndian.PutUint32(tooLarge[:], frameBytesMax+1)
	if _, err := newFrames(bytes.NewReader(tooLarge[:])).next(); err == nil || err == io.ErrUnexpectedEOF {
		t.Errorf("a frame beyond the limit: %v, want it refused", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := newFrames(bytes.NewReader(frame[:frameHeader+1000])).next(); err != io.ErrUnexpectedEOF {
		t.Errorf("a cut frame: %v, want io.ErrUnexpectedEOF", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*trustedBytes {
		t.Errorf("the header of a frame of %d bytes took %d bytes of memory", frameBytesMax, took)
	}
	got, err := newFrames(bytes.NewReader(frame)).next()
	if err != nil || len(got.payload) != frameBytesMax {
		t.Errorf("the largest frame: %d bytes, %v", len(got.payload), err)
	}
}

// answerer is another end that answers as the test likes.
func answerer(net *network, addr string, serve func(conn net.Conn, from *bufio.Reader)) *listener {
	on := net.listen(addr)
	go func() {
		for {
			conn, err := on.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				from := bufio.NewReader(conn)
				if _, err := http.ReadRequest(from); err == nil {
					serve(conn, from)
				}
			}()
		}
	}()
	return on
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"

func TestClockDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newNetwork()
		a := build(lan, 1, Config{})
		on := answerer(lan, address1(2), func(conn net.Conn, from *bufio.Reader) {
			_, _ = io.WriteString(conn, switching)
			in := newFrames(from)
			for {
				f, err := in.next()
				if err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond) // there
				pong := appendPong(nil, f.payload)
				binary.LittleEndian.PutUint64(pong[frameHeader+8:], uint64(time.Now().Add(-3*time.Second).UnixNano()))
				time.Sleep(100 * time.Millisecond) // and back
				_, _ = conn.Write(endFrame(pong, 0))
			}
		})
		a.Set([]membership.Member{memberOf(2)})
		a.start(lan)
		time.Sleep(70 * time.Second)
		link := a.Links()[2]
		if link.RTT != 200*time.Millisecond || link.ClockDifference != -3*time.Second {
			t.Errorf("Links()[2] = %+v, want 200ms there and back, and a clock 3s behind", link)
		}
		if l := link.Latency; l.Minimum != l.Maximum || (l.Average-link.RTT).Abs() > time.Microsecond || l.StandardDeviation > time.Millisecond {
			t.Errorf("Latency = %+v, want 200ms always", l)
		}
		if n := a.logged("the clock difference against peer 2 is too high [3s > 1s]"); n != 3 {
			t.Errorf("the difference was logged %d times in 70s, want 3", n)
		}
		a.end()
		_ = on.Close()
		time.Sleep(time.Second) // the other end notices
	})
}

// TestSenselessAnswers: none of them makes a stream, and each attempt ends.
func TestSenselessAnswers(t *testing.T) {
	tests := map[string]string{
		"nothing":           "",
		"no HTTP":           "hello\r\n\r\n",
		"endless head":      "HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: y\r\n", 100_000),
		"no switch":         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"kind of a message": switching + string(appendFrame(nil, kindMessage, nil)),
		"future pong":       switching + string(appendFrame(nil, kindPong, bytes.Repeat([]byte{255}, 16))),
		"short pong":        switching + string(appendFrame(nil, kindPong, nil)),
		"broken writes":     switching + string(appendFrame(nil, kindRefused, []byte{9})),
		"garbage":           switching + "HTTP/1.1 200 OK\r\n\r\n",
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lan := newNetwork()
				a := build(lan, 1, Config{})
				on := answerer(lan, address1(2), func(conn net.Conn, from *bufio.Reader) {
					_, _ = io.WriteString(conn, answer)
					_, _ = io.Copy(io.Discard, from) // until the other end gives up
				})
				a.Set([]membership.Member{memberOf(2)})
				a.start(lan)
				time.Sleep(2 * time.Minute)
				if n := lan.dialled(address1(2)); n < 18 {
					t.Errorf("dialled %d times in two minutes, want 18 or more", n)
				}
				if n := a.logged("became active"); n > 13 {
					t.Errorf("a connection that comes and goes was logged %d times in two minutes", n)
				}
				equal(t, "refused", see(a.fake, &a.refused), nil)
				a.end()
				_ = on.Close()
				lan.cut()
			})
		})
	}
}

// TestEndIsPrompt: whatever goes on, Run returns at once, and a bubble ends only
// when every goroutine has.
func TestEndIsPrompt(t *testing.T) {
	bubble(t, 3, Config{SnapshotBytesPerSecond: 1000}, func(t *testing.T, net *network, m []*node) {
		m[1].stall = make(chan struct{})
		m[0].checkpoint = content(1 << 20)
		for i := range uint64(100) {
			m[0].Send([]*raftpb.Message{app(1, 2, i, strings.Repeat("x", 1<<20))})
		}
		m[0].Send([]*raftpb.Message{snap(1, 3, 9)})
		fetched := make(chan error, 1)
		go func() {
			fetched <- m[2].Fetch(t.Context(), 1, 1, func(r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
		}()
		time.Sleep(time.Second)
		began := time.Now()
		for _, n := range m {
			n.end()
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the end took %v of simulated time, want none", took)
		}
		if err := <-fetched; err == nil {
			t.Errorf("Fetch succeeds although the other end has stopped")
		}
	})
}

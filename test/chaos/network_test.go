package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// network is the wires between the members. Each member is reached through a gate,
// which reads from the head of a connection's first request who dials. What a cut
// holds back is not lost but waits, as in a network whose packets are sent again.
type network struct {
	t *testing.T

	mu    sync.Mutex         // guards the fields below
	names map[string]string  // of members, by their ID in hex and by their peer port
	gates map[string]string  // address of the gate, by the peer port behind it
	cuts  map[[2]string]bool // from, to: names
	moved chan struct{}      // closed at every change
}

func newNetwork(t *testing.T) *network {
	return &network{
		t: t, names: map[string]string{}, gates: map[string]string{}, cuts: map[[2]string]bool{}, moved: make(chan struct{}),
	}
}

// gate opens a gate to a peer port and returns its address.
func (n *network) gate(peer string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.gates[peer]; ok {
		return at
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	n.gates[peer] = l.Addr().String()
	go n.accept(l, peer)
	return n.gates[peer]
}

func (n *network) accept(l net.Listener, peer string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go n.carry(c, peer)
	}
}

// carry connects one dialler with the member behind the gate.
func (n *network) carry(c net.Conn, peer string) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 16<<10)
	head := firstHead(br)
	n.mu.Lock()
	link := [2]string{n.names[head], n.names[peer]}
	n.mu.Unlock()
	n.passable(link)
	to, err := net.Dial("tcp", peer)
	if err != nil {
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { n.copy(to, br, link); to.Close(); c.Close() })
	both.Go(func() { n.copy(c, to, link); to.Close(); c.Close() })
	both.Wait()
}

// firstHead returns the member that the first request on a connection says it is
// from, without taking anything from the connection; "" when it does not say.
func firstHead(br *bufio.Reader) string {
	for size := 1; ; {
		if _, err := br.Peek(size); err != nil {
			return ""
		}
		b, _ := br.Peek(br.Buffered())
		if bytes.Contains(b, []byte("\r\n\r\n")) {
			req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
			if err != nil {
				return ""
			}
			return req.Header.Get("X-Server-From")
		}
		size = len(b) + 1
	}
}

func (n *network) copy(to io.Writer, from io.Reader, link [2]string) {
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			n.passable(link)
			if _, werr := to.Write(buf[:k]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passable waits until the link is not cut.
func (n *network) passable(link [2]string) {
	for {
		n.mu.Lock()
		cut, moved := n.cuts[link], n.moved
		n.mu.Unlock()
		if !cut {
			return
		}
		<-moved
	}
}

// name tells whose ID and peer port is whose.
func (n *network) name(name, id, peer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[id], n.names[peer] = name, name
}

// cut holds back what from sends to another.
func (n *network) cut(from, to string) {
	n.change(func() { n.cuts[[2]string{from, to}] = true })
}

// isolate cuts one member off from the others, in both directions.
func (n *network) isolate(name string, others []*proc.Member) {
	for _, m := range others {
		if m.Name != name {
			n.cut(name, m.Name)
			n.cut(m.Name, name)
		}
	}
}

// mend lets everything through again.
func (n *network) mend() { n.change(func() { clear(n.cuts) }) }

func (n *network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.moved)
	n.moved = make(chan struct{})
}

// self is what a member says about itself.
type self struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

// ask returns what a member says about itself; a zero one when it does not answer.
func ask(m *proc.Member) self {
	var s self
	if _, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/stats/self"}); err == nil {
		_ = json.Unmarshal(body, &s) // what is not JSON says nothing
	}
	return s
}

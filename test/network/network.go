// Package network connects the members of a cluster through gates of the test, so
// that a test can cut them off from each other.
//
// Each member is reached through a gate. A gate learns from the head of the first
// request on a connection which member dials. A cut holds data back and loses none:
// what was sent during the cut arrives after it, as from a network that retransmits.
// Clients do not pass the gates.
//
// Any goroutine may call a Network.
package network

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"etcd2/test/proc"
)

// Network is the links between the members of one cluster.
type Network struct {
	t testing.TB

	mu      sync.Mutex         // guards the fields below
	names   map[string]string  // of members, by their ID in hex and by their peer port
	gates   map[string]string  // address of the gate, by the peer port behind it
	cuts    map[[2]string]bool // from, to: names
	changed chan struct{}      // closed at every change of cuts
	conns   map[net.Conn][2]string
}

// New returns a network without gates. Its gates close when the test ends.
func New(t testing.TB) *Network {
	return &Network{
		t: t, names: map[string]string{}, gates: map[string]string{}, cuts: map[[2]string]bool{}, changed: make(chan struct{}),
		conns: map[net.Conn][2]string{},
	}
}

// Gate opens a gate to a peer port and returns its address; see proc.Options.Advertise.
func (n *Network) Gate(peer string) string {
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

// Name tells the gates the names of members that run.
func (n *Network) Name(members ...*proc.Member) {
	for _, m := range members {
		id := m.Self().ID
		n.mu.Lock()
		n.names[id], n.names[m.Peer] = m.Name, m.Name
		n.mu.Unlock()
	}
}

// Cut holds back what one member sends to another.
func (n *Network) Cut(from, to string) {
	n.change(func() { n.cuts[[2]string{from, to}] = true })
}

// Isolate cuts one member off from the others, in both directions.
func (n *Network) Isolate(name string, members []*proc.Member) {
	for _, m := range members {
		if m.Name != name {
			n.Cut(name, m.Name)
			n.Cut(m.Name, name)
		}
	}
}

// Break closes all connections of a member, in both directions. What a cut holds back
// of them is lost.
func (n *Network) Break(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c, link := range n.conns {
		if link[0] == name || link[1] == name {
			c.Close()
		}
	}
}

// Mend ends all cuts.
func (n *Network) Mend() { n.change(func() { clear(n.cuts) }) }

func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) accept(l net.Listener, peer string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go n.carry(c, peer)
	}
}

// carry connects one dialler with the member behind the gate. A member sends on the
// streams that it dials, so a cut holds back a whole connection by its dialler.
func (n *Network) carry(c net.Conn, peer string) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 16<<10)
	id := dialler(br)
	n.mu.Lock()
	link := [2]string{n.names[id], n.names[peer]}
	n.mu.Unlock()
	n.await(link)
	behind, err := net.Dial("tcp", peer)
	if err != nil {
		return
	}
	defer behind.Close()
	defer n.hold(link, c, behind)()
	var both sync.WaitGroup
	both.Go(func() { n.copy(behind, br, link); behind.Close(); c.Close() })
	both.Go(func() { n.copy(c, behind, link); behind.Close(); c.Close() })
	both.Wait()
}

// hold lets Break find the two connections of a link until release is called.
func (n *Network) hold(link [2]string, conns ...net.Conn) (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range conns {
		n.conns[c] = link
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, c := range conns {
			delete(n.conns, c)
		}
	}
}

// dialler returns the ID of the member that the first request on a connection names
// as its sender, and takes nothing from the connection; "" when it names none.
func dialler(br *bufio.Reader) string {
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

func (n *Network) copy(w io.Writer, r io.Reader, link [2]string) {
	buf := make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		if k > 0 {
			n.await(link)
			if _, werr := w.Write(buf[:k]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until the link is not cut.
func (n *Network) await(link [2]string) {
	for {
		n.mu.Lock()
		cut, changed := n.cuts[link], n.changed
		n.mu.Unlock()
		if !cut {
			return
		}
		<-changed
	}
}

package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// network is a network in memory. Its connections buffer a little, as real ones
// do, and can lose everything without telling.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	dials     map[string]int
	conns     []*end
}

func newNetwork() *network {
	return &network{listeners: map[string]*listener{}, dials: map[string]int{}}
}

// listen opens an address, host and port.
func (n *network) listen(addr string) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{addr: addr, network: n, accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

// dial connects to an address that is listened on.
func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.dials[addr]++
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	here, there := pipe(addr)
	n.mu.Lock()
	n.conns = append(n.conns, here, there)
	n.mu.Unlock()
	select {
	case l.accepted <- there:
		return here, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dialled returns how often an address was dialled.
func (n *network) dialled(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[addr]
}

// swallow makes every connection of now a black hole.
func (n *network) swallow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.out.mu.Lock()
		c.out.hole = true
		c.out.mu.Unlock()
	}
}

// cut closes every connection of now.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

type listener struct {
	addr     string
	network  *network
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listeners[l.addr] == l {
			delete(l.network.listeners, l.addr)
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.addr) }

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

// halfBuffer is what one direction of a connection holds before a write waits.
const halfBuffer = 1 << 20

// half is one direction of a connection.
type half struct {
	mu      sync.Mutex
	changed *sync.Cond
	bytes   []byte
	hole    bool // what is written is lost, and nobody hears of the end
	closed  bool // no more is read or written

	readBy, writeBy time.Time // deadlines
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.bytes) == 0 {
		if h.closed {
			return 0, io.EOF
		}
		if past(h.readBy) {
			return 0, os.ErrDeadlineExceeded
		}
		h.changed.Wait()
	}
	n := copy(b, h.bytes)
	h.bytes = h.bytes[n:]
	h.changed.Broadcast()
	return n, nil
}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(b) {
		switch {
		case h.closed:
			return n, io.ErrClosedPipe
		case past(h.writeBy):
			return n, os.ErrDeadlineExceeded
		case h.hole && len(h.bytes) < halfBuffer:
			return len(b), nil
		case len(h.bytes) >= halfBuffer:
			h.changed.Wait()
		default:
			took := min(len(b)-n, halfBuffer-len(h.bytes))
			h.bytes = append(h.bytes, b[n:n+took]...)
			n += took
			h.changed.Broadcast()
		}
	}
	return n, nil
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) deadline(field *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*field = t
	h.changed.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.changed.Broadcast()
}

// end is one end of a connection.
type end struct {
	in, out *half
	addr    address
}

func pipe(addr string) (here, there *end) {
	a, b := newHalf(), newHalf()
	return &end{a, b, address(addr)}, &end{b, a, address(addr)}
}

func (e *end) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error) { return e.out.write(b) }

// Close ends both directions. Over a black hole the other end hears nothing.
func (e *end) Close() error {
	e.in.close()
	e.out.mu.Lock()
	hole := e.out.hole
	e.out.mu.Unlock()
	if !hole {
		e.out.close()
	}
	return nil
}

func (e *end) LocalAddr() net.Addr                { return e.addr }
func (e *end) RemoteAddr() net.Addr               { return e.addr }
func (e *end) SetReadDeadline(t time.Time) error  { e.in.deadline(&e.in.readBy, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.out.deadline(&e.out.writeBy, t); return nil }
func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

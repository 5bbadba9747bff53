package peer

import (
	"crypto/tls"
	"net"
	"time"
)

// patient is a connection that is given up when the other end is silent, or takes
// nothing in, for too long. One goroutine reads and one writes.
type patient struct {
	net.Conn
	silence     time.Duration
	read, wrote time.Time // when the deadlines were last moved
}

func newPatient(conn net.Conn, silence time.Duration) *patient {
	return &patient{Conn: conn, silence: silence}
}

// Read moves its deadline only now and then: that costs as much as a small read.
func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.read) > p.silence/8 {
		p.read = now
		if err := p.SetReadDeadline(now.Add(p.silence)); err != nil {
			return 0, err
		}
	}
	return p.Conn.Read(b)
}

// Write has the time of silence for each piece, so that a slow link is no dead one.
func (p *patient) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		if now := time.Now(); now.Sub(p.wrote) > p.silence/8 {
			p.wrote = now
			if err := p.SetWriteDeadline(now.Add(p.silence)); err != nil {
				return n, err
			}
		}
		var wrote int
		wrote, err = p.Conn.Write(b[n:min(len(b), n+pieceBytes)])
		n += wrote
	}
	return n, err
}

// abort closes the connection at once. TLS would say good-bye first and wait for
// an end that may be dead.
func (p *patient) abort() { abort(p.Conn) }

func abort(conn net.Conn) {
	switch c := conn.(type) {
	case *rest:
		abort(c.Conn)
	case *tls.Conn:
		abort(c.NetConn())
	default:
		_ = conn.Close()
	}
}

package v2

import (
	"crypto/tls"
	"net"
)

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	net.Conn
	read []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	r.read = r.read[n:]
	return n, nil
}

// replayedTLS is one that came over TLS. net/http fills in the TLS field of
// requests when a connection has this method.
type replayedTLS struct {
	replayed
	state func() tls.ConnectionState
}

func (r *replayedTLS) ConnectionState() tls.ConnectionState { return r.state() }

// replay returns c as it was before the bytes were read.
func replay(c net.Conn, read []byte) net.Conn {
	r := replayed{Conn: c, read: read}
	if t, ok := c.(*tls.Conn); ok {
		return &replayedTLS{r, t.ConnectionState}
	}
	return &r
}

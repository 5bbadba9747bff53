package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"etcd2/internal/tlsconf"
)

var errNoTLS = errors.New("https, but no TLS settings to dial with")

// newTransport returns the way to the members. It follows no redirects, unpacks
// nothing and heeds no variables that name an HTTP proxy: members are asked
// directly. idle is how many connections to an endpoint are kept for reuse.
func newTransport(cfg *Config, idle int) *http.Transport {
	d := &dialer{
		dial:  cfg.Dial,
		tls:   cfg.TLS,
		limit: cfg.DialTimeout,
		write: max(0, cfg.WriteTimeout),
		read:  max(0, cfg.ReadTimeout),
	}
	if d.read > 0 {
		idle = -1 // the time for which a connection rests would count against the next answer
	}
	return &http.Transport{
		DialContext:         d.Plain,
		DialTLSContext:      d.Secure,
		DisableCompression:  true,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     idleTimeout,
	}
}

// dialer opens connections to members.
type dialer struct {
	dial        func(ctx context.Context, network, addr string) (net.Conn, error)
	tls         func() *tls.Config
	limit       time.Duration // of dialling; negative for none
	write, read time.Duration // of one call; 0 for none
}

// Plain opens a connection without TLS.
func (d *dialer) Plain(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.limit)
		defer cancel()
	}
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &timedConn{Conn: conn, write: d.write, read: d.read}, nil
}

// Secure opens a connection with TLS, with the settings of this moment.
func (d *dialer) Secure(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.tls == nil {
		return nil, errNoTLS
	}
	conn, err := d.Plain(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return tlsconf.Handshake(ctx, conn, addr, d.tls())
}

// timedConn limits the time of each read and write, and counts what is written.
type timedConn struct {
	net.Conn
	write, read time.Duration // 0 for none

	mu      sync.Mutex // held during a write; guards the field below
	written int64      // bytes
}

// Written returns how many bytes the system has taken. It waits for a write that is
// under way, which ends at once when the connection is closed.
func (c *timedConn) Written() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

func (c *timedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.write > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(b)
	c.written += int64(n)
	return n, err
}

func (c *timedConn) Read(b []byte) (int, error) {
	if c.read > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

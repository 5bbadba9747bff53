package tlsconf

import (
	"context"
	"crypto/tls"
	"net"
)

// Handshake begins TLS on a connection that was dialled to addr, host:port, with
// settings for it alone. The other end has to prove that it is the host, or whom the
// settings name in its place. An error closes the connection.
func Handshake(ctx context.Context, conn net.Conn, addr string, settings *tls.Config) (net.Conn, error) {
	if settings.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			conn.Close()
			return nil, err
		}
		settings.ServerName = host
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

package v2

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// greet does the TLS handshake of a connection that is to have one. It returns
// nil when there is nobody to talk to.
func (f *Front) greet(c net.Conn) net.Conn {
	t, ok := c.(*tls.Conn)
	if !ok {
		return c
	}
	err := t.SetDeadline(time.Now().Add(readHeaderTimeout))
	if err == nil && f.closing.Load() {
		err = net.ErrClosed // close may have set its deadline before this one
	}
	if err == nil {
		err = t.HandshakeContext(f.ctx)
	}
	if err == nil {
		err = t.SetDeadline(time.Time{})
	}
	if err != nil {
		f.refuse(t, err)
		return nil
	}
	return c
}

// notTLS answers who speaks HTTP where TLS is spoken, in the words of net/http.
const notTLS = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// refuse ends a connection whose handshake failed, and logs it as net/http does.
func (f *Front) refuse(c *tls.Conn, err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		io.WriteString(header.Conn, notTLS)
		cut(c)
		err = errors.New("client sent an HTTP request to an HTTPS server")
	}
	if !f.closing.Load() {
		f.http.ErrorLog.Printf("http: TLS handshake error from %s: %v", c.RemoteAddr(), err)
	}
}

// looksLikeHTTP recognises the first five bytes of a request.
func looksLikeHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

// cut closes a connection without a word. A TLS connection says goodbye when it is
// closed, which can take long if the other end does not read.
func cut(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close()
}

package v2

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"etcd2/store"
)

const (
	// readBytes is the room for requests of one connection, and the most that a
	// plain head may have.
	readBytes = 4 << 10
	// plainBodyMax is the longest body read here. Longer ones are rare and make
	// the cost of net/http small beside their own.
	plainBodyMax = 64 << 10
	// headRoom is what is left free before a body for the head of its answer.
	headRoom = 512
	// bodyPatience is how long the front waits for the rest of a body. Slower
	// senders are for net/http.
	bodyPatience = time.Second
	// deadlineStep is how late an idle connection may be found out, or one that does
	// not read: setting a deadline for every request would cost more than parsing it.
	deadlineStep = 15 * time.Second

	// The chunked coding (RFC 9112 §7.1).
	chunked   = "Transfer-Encoding: chunked"
	lastChunk = "0\r\n\r\n"
)

// frontConn is one connection at the front.
type frontConn struct {
	*Front
	conn  net.Conn
	buf   []byte    // read and not consumed
	until time.Time // read deadline

	writeUntil time.Time // write deadline
	date       httpDate

	waits *frontWatch // serve has come to a watch that is not over
	first [1]byte     // room for the first byte after a rest
}

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// start greets the client and leaves the rest to others: a handshake makes the
// stack grow.
func (c *frontConn) start() {
	left := c.greet(c.conn)
	if left == nil || len(c.h.cfg.CORS) > 0 { // every answer has headers that are not known here
		c.leaveTo(left)
		return
	}
	c.running.Go(c.await)
}

// await rests with a connection that is new or watches, which may take days: it
// has a stack that has not grown yet, and one byte to read into. Then it serves.
func (c *frontConn) await() {
	var err error
	if c.waits == nil {
		err = c.allow(idleTimeout)
	}
	var n int
	if err == nil {
		n, err = c.conn.Read(c.first[:])
	}
	c.buf = append(c.buf, c.first[:n]...)
	if w := c.waits; w != nil {
		if err != nil {
			w.Close() // the client has left, or the connection was cut
		}
		<-w.done
		c.waits = nil
		c.discharge()
		if w.over {
			c.buf = nil
		}
	}
	if len(c.buf) == 0 {
		c.leaveTo(nil)
		return
	}
	left := c.serve()
	if c.waits != nil {
		c.running.Go(c.await)
		return
	}
	c.leaveTo(left)
}

// leaveTo hands the connection to net/http as left, or closes it when that is nil.
func (c *frontConn) leaveTo(left net.Conn) {
	if left == nil {
		c.conn.Close() // known until then, so that a stop can cut a long goodbye of TLS
		c.forget(c)
		return
	}
	c.forget(c)
	c.rest.give(left)
}

// serve answers plain requests until the client leaves or a watch waits, and
// returns nil, or until a request comes that is not plain, and returns the
// connection as that request found it.
func (c *frontConn) serve() net.Conn {
	room := readBuffers.Get().(*[readBytes]byte)
	defer readBuffers.Put(room)
	c.buf = append(room[:0], c.buf...) // what await has read
	if len(c.buf) > 0 && !bytes.Contains(c.buf, headEnd) {
		c.fill(bodyPatience) // if that fails, the beginning is for net/http
	}
	for {
		if len(c.buf) == 0 {
			c.buf = room[:0] // a long body may have been read elsewhere
			if c.fill(idleTimeout) != nil {
				return nil
			}
		}
		end := bytes.Index(c.buf, headEnd)
		if end < 0 {
			return c.leave()
		}
		head := c.buf[:end+len(headEnd)]
		p, ok := parsePlain(head)
		if !ok || p.length > plainBodyMax {
			return c.leave()
		}
		for len(c.buf) < len(head)+p.length {
			if err := c.fill(bodyPatience); errors.Is(err, os.ErrDeadlineExceeded) {
				return c.leave()
			} else if err != nil {
				return nil
			}
		}
		body := c.buf[len(head) : len(head)+p.length]
		c.buf = c.buf[len(head)+p.length:]
		done := c.request(&p, body)
		switch {
		case done:
			return nil
		case c.waits != nil:
			c.buf = bytes.Clone(c.buf) // which leaves nothing of the room
			return nil
		}
	}
}

// fill reads what has come, or waits for it no longer than timeout.
func (c *frontConn) fill(timeout time.Duration) error {
	if cap(c.buf)-len(c.buf) < readBytes/4 {
		c.buf = append(make([]byte, 0, 2*cap(c.buf)+readBytes), c.buf...)
	}
	if err := c.allow(timeout); err != nil {
		return err
	}
	n, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// allow gives the client timeout to send something.
func (c *frontConn) allow(timeout time.Duration) error {
	until := time.Now().Add(timeout)
	if !until.Before(c.until) && until.Sub(c.until) <= deadlineStep {
		return nil
	}
	if err := c.conn.SetReadDeadline(until); err != nil {
		return err
	}
	c.until = until
	if c.closing.Load() {
		return net.ErrClosed // close may have set its deadline before this one
	}
	return nil
}

// leave makes the connection ready for net/http.
func (c *frontConn) leave() net.Conn {
	if c.conn.SetDeadline(time.Time{}) != nil {
		c.conn.Close()
		return nil
	}
	return replay(c.conn, bytes.Clone(c.buf))
}

// request answers one request, or sets c.waits when it is a watch that goes on.
// done says that the connection is at its end.
func (c *frontConn) request(p *plainRequest, body []byte) (done bool) {
	s := newScratch()
	defer s.release()
	if cap(s.buf) < headRoom {
		s.buf = make([]byte, 0, 2*headRoom)
	}
	dst := s.buf[:headRoom]
	q, e := c.parse(p, body)
	var a answer
	switch {
	case e != nil:
		a = refused(e, dst)
	case q.kind == watches:
		return c.watch(&q, s, p.last)
	default:
		a = c.h.answer(c.ctx, p.method, &q, dst)
	}
	s.buf = a.body
	var err error
	if a.dir.Node != nil {
		err = c.list(s, &a, q.recursive, p.last)
	} else {
		err = c.send(s.buf, &a, p.last)
	}
	return p.last || err != nil
}

func (c *frontConn) parse(p *plainRequest, body []byte) (request, *store.Error) {
	form, cause := carriesForm(p.method, p.contentType)
	if cause != "" {
		return request{}, refuse(store.InvalidForm, cause)
	}
	if !form {
		body = nil
	}
	return parseKeys(p.method, p.key, p.query, string(body))
}

// send writes an answer whose body begins at headRoom. The head goes right before
// it, so that both leave in one write.
func (c *frontConn) send(buf []byte, a *answer, last bool) error {
	var room [headRoom]byte
	head := c.appendHead(room[:0], a)
	if size := len(buf) - headRoom; size <= lengthBytesMax {
		head = append(head, "Content-Length: "...)
		head = endHead(strconv.AppendInt(head, int64(size), 10), last)
	} else {
		head = endHead(append(head, chunked...), last)
		head = append(strconv.AppendInt(head, int64(size), 16), "\r\n"...)
		buf = append(append(buf, "\r\n"...), lastChunk...)
	}
	if err := c.patience(); err != nil {
		return err
	}
	start := headRoom - len(head)
	copy(buf[start:], head)
	_, err := c.conn.Write(buf[start:])
	return err
}

// patience gives the next write WriteTimeout at least. A client that takes longer
// over an answer is left.
func (c *frontConn) patience() error {
	until := time.Now().Add(c.h.cfg.WriteTimeout)
	if until.Sub(c.writeUntil) <= 0 {
		return nil
	}
	c.writeUntil = until.Add(deadlineStep)
	return c.conn.SetWriteDeadline(c.writeUntil)
}

// write sends the parts of one chunk.
func (c *frontConn) write(parts ...[]byte) error {
	if err := c.patience(); err != nil {
		return err
	}
	out := net.Buffers(parts)
	_, err := out.WriteTo(c.conn)
	return err
}

// appendHead appends the head of an answer but for what says where its body ends,
// in the order of net/http.
func (c *frontConn) appendHead(b []byte, a *answer) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.status)...)
	b = append(b, "\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: "...)
	b = append(b, c.h.clusterID[0]...)
	b = append(b, "\r\nX-Etcd-Index: "...)
	b = strconv.AppendUint(b, a.index, 10)
	if a.read.mode != unread {
		b = a.read.append(append(b, "\r\nX-Etcd-Read: "...))
	}
	if !a.refused {
		b = append(b, "\r\nX-Raft-Index: "...)
		b = strconv.AppendUint(b, a.pos.RaftIndex, 10)
		b = append(b, "\r\nX-Raft-Term: "...)
		b = strconv.AppendUint(b, a.pos.RaftTerm, 10)
	}
	b = append(b, "\r\nDate: "...)
	b = c.date.append(b, time.Now())
	return append(b, "\r\n"...)
}

// endHead completes a head after the value of its last header.
func endHead(b []byte, last bool) []byte {
	if last {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
}

// list writes the listing of a directory: in one piece when it is short, in
// chunks as it is made when it is not.
func (c *frontConn) list(s *scratch, a *answer, recursive, last bool) error {
	out := &frontChunks{c: c, a: a, last: last}
	l := listing{out: out, buf: s.buf, at: c.h.moment()}
	l.get(a.dir, recursive)
	s.buf = l.buf
	switch {
	case l.err != nil:
		return l.err
	case !out.begun:
		return c.send(s.buf, a, last)
	}
	return out.end(s.buf)
}

// frontChunks writes a long answer in the chunked coding.
type frontChunks struct {
	c     *frontConn
	a     *answer
	last  bool
	begun bool
}

// Write sends one chunk. The first one begins at headRoom.
func (f *frontChunks) Write(b []byte) (int, error) {
	var room [headRoom]byte
	head := room[:0]
	body := b
	if !f.begun {
		f.begun = true
		body = b[headRoom:]
		head = endHead(append(f.c.appendHead(head, f.a), chunked...), f.last)
	}
	head = append(strconv.AppendInt(head, int64(len(body)), 16), "\r\n"...)
	return len(b), f.c.write(head, body, []byte("\r\n"))
}

// end sends what is left and says that nothing follows.
func (f *frontChunks) end(b []byte) error {
	if len(b) > 0 { // an empty chunk would be the end already
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return f.c.write([]byte(lastChunk))
}

// httpDate is the value of a Date header, kept for the second it is true.
type httpDate struct {
	second int64
	text   [len(http.TimeFormat)]byte
}

func (d *httpDate) append(b []byte, now time.Time) []byte {
	if s := now.Unix(); s != d.second {
		d.second = s
		now.UTC().AppendFormat(d.text[:0], http.TimeFormat)
	}
	return append(b, d.text[:]...)
}

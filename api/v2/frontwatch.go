package v2

import (
	"net/http"
	"time"

	"etcd2/store"
)

// frontWatch is a watch at the front.
//
// While it waits there is one goroutine with a small stack and no buffer, which
// reads, so as to notice a client that leaves. A second one lives from an event
// until there is nothing more to write. The applier only starts it, and a slow
// client holds up nobody else's.
type frontWatch struct {
	*store.Watcher
	conn   *frontConn
	stream bool
	last   bool // the client asks to close the connection
	more   bool // the next request is there already

	done chan struct{} // closed when the answer is written, or never will be
	over bool          // nothing can follow on the connection; to be read after done
}

// watch begins a watch and writes what is there already. If the watch then waits,
// it is in c.waits, and the connection is for await. done says that the connection
// is at its end.
func (c *frontConn) watch(q *request, s *scratch, last bool) (done bool) {
	w := &frontWatch{conn: c, stream: q.stream, last: last, more: len(c.buf) > 0, done: make(chan struct{})}
	watcher, pos, e := c.h.beginWatch(q, w.wake)
	if e != nil {
		a := refused(e, s.buf[:headRoom])
		s.buf = a.body
		return c.send(s.buf, &a, last) != nil || last
	}
	w.Watcher = watcher
	a := answer{status: http.StatusOK, index: watcher.Index(), pos: pos}
	// Clients wait for the head before they do what they then expect to see.
	if c.sendHead(&a, last) != nil || !c.enlist(w) {
		w.Close()
		return true
	}
	if !w.deliver() {
		c.waits = w
		return false
	}
	c.discharge()
	return w.over
}

// sendHead sends the head of an answer whose body comes in chunks later.
func (c *frontConn) sendHead(a *answer, last bool) error {
	var room [headRoom]byte
	head := endHead(append(c.appendHead(room[:0], a), chunked...), last)
	return c.writeChunk(head)
}

// enlist makes the connection one that may rest for ever and is cut when the server
// stops. It returns false when the server stops already.
func (c *frontConn) enlist(w *frontWatch) bool {
	c.until = time.Time{}
	if c.conn.SetReadDeadline(c.until) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() || c.h.cfg.Stop.Err() != nil {
		return false
	}
	c.conns[c] = w
	return true
}

// discharge makes the connection an ordinary one again.
func (c *frontConn) discharge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[c] = nil
}

// wake starts to write.
func (w *frontWatch) wake() { w.conn.running.Go(func() { w.deliver() }) }

// deliver writes what there is, and reports whether that was all. If not, wake is
// called when there is more. The watch belongs to one deliver at a time.
func (w *frontWatch) deliver() (all bool) {
	for {
		d, err := w.Poll()
		switch {
		case err != nil:
			w.end(w.conn.writeChunk([]byte(lastChunk)))
			return true
		case d == nil:
			return false
		}
		b := d.Encoded(w.conn.h.encodeEvent)
		if !w.stream {
			w.end(w.conn.writeChunk(b))
			return true
		}
		if err := w.conn.writeChunk(eventChunk(b)); err != nil {
			w.Close()
			w.end(err)
			return true
		}
	}
}

// end ends the answer; err is that of the last write. Then await reads on: what
// comes next is the next request.
func (w *frontWatch) end(err error) {
	c := w.conn
	switch {
	case err != nil:
		cut(c.conn)
		w.over = true
	case w.last:
		w.over = true
	case w.more: // await need not read first
		c.until = longAgo
		w.over = c.conn.SetReadDeadline(longAgo) != nil
	default:
		w.over = c.allow(idleTimeout) != nil
	}
	if w.over {
		c.conn.Close() // wakes await
	}
	close(w.done)
}

// writeChunk writes a piece that the client has WriteTimeout to take.
func (c *frontConn) writeChunk(b []byte) error {
	c.writeUntil = time.Now().Add(c.h.cfg.WriteTimeout)
	if err := c.conn.SetWriteDeadline(c.writeUntil); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

package v2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"etcd2/etcdserver"
	"etcd2/store"
)

const keysAllow = "HEAD,GET,PUT,POST,DELETE"

// typeJSON is shared by all answers; nothing appends to it.
var typeJSON = []string{"application/json"}

// lengthBytesMax is the size up to which a body is announced by its length. Longer
// ones are chunked, as net/http does it for a handler that names no length.
const lengthBytesMax = 2048

// scratch is memory for one body or one short answer.
type scratch struct{ buf []byte }

// scratchBytesMax is the largest buffer kept for reuse.
const scratchBytesMax = 2 * chunkBytes

var scratches = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 1024)} }}

func newScratch() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) release() {
	if cap(s.buf) <= scratchBytesMax {
		s.buf = s.buf[:0]
		scratches.Put(s)
	}
}

// serveKeys answers a request on /v2/keys. key is the rest of its path.
func (h *handler) serveKeys(w http.ResponseWriter, r *http.Request, key string) {
	switch r.Method {
	case "GET", "HEAD", "PUT", "POST", "DELETE":
	default:
		methodNotAllowed(w, keysAllow)
		return
	}
	body, cause := h.readForm(w, r)
	if cause != "" {
		h.writeError(w, refuse(store.InvalidForm, cause))
		return
	}
	q, refused := parseKeys(r.Method, key, r.URL.RawQuery, body)
	if refused != nil {
		h.writeError(w, refused)
		return
	}
	if q.kind == watches {
		h.watch(w, r, &q)
		return
	}
	s := newScratch()
	defer s.release()
	// A client may say that it has nothing more to send and still wait for its
	// answer; net/http takes that for a client who left. The Server has a deadline.
	a := h.answer(context.WithoutCancel(r.Context()), r.Method, &q, s.buf[:0])
	s.buf = a.body
	if a.read.mode != unread {
		w.Header()["X-Etcd-Read"] = []string{string(a.read.append(nil))}
	}
	switch {
	case a.refused:
		h.setRefusal(w.Header(), a.index)
		send(w, a.status, a.body)
	case a.dir.Node != nil:
		h.setIndexes(w.Header(), a.index, a.pos)
		h.list(w, s, a.dir, q.recursive)
	default:
		h.setIndexes(w.Header(), a.index, a.pos)
		send(w, a.status, a.body)
	}
}

// list answers the get of a directory, in chunks if it is long.
func (h *handler) list(w http.ResponseWriter, s *scratch, v store.View, recursive bool) {
	w.Header()["Content-Type"] = typeJSON
	out := &chunks{w: w, timeout: h.cfg.WriteTimeout}
	l := listing{out: out, buf: s.buf[:0], at: h.moment()}
	l.get(v, recursive)
	s.buf = l.buf
	switch {
	case l.err != nil: // the client has gone; let the connection say so
		panic(http.ErrAbortHandler)
	case out.begun:
		out.Write(s.buf)
	default:
		send(w, http.StatusOK, s.buf)
	}
}

// chunks sends a long answer piece by piece. A client that takes too long over
// one piece is left.
type chunks struct {
	w       http.ResponseWriter
	timeout time.Duration
	begun   bool
}

func (c *chunks) Write(b []byte) (int, error) {
	c.begun = true
	extendWrite(c.w, c.timeout)
	return c.w.Write(b)
}

// extendWrite gives the next write of an answer time. A connection that knows no
// deadlines is one of a test.
func extendWrite(w http.ResponseWriter, timeout time.Duration) {
	err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		panic(http.ErrAbortHandler) // the connection is closed
	}
}

// send writes a whole answer.
func send(w http.ResponseWriter, code int, body []byte) {
	w.Header()["Content-Type"] = typeJSON
	w.WriteHeader(code)
	w.Write(body)
}

// writeError sends a refusal.
func (h *handler) writeError(w http.ResponseWriter, e *store.Error) {
	s := newScratch()
	defer s.release()
	h.setRefusal(w.Header(), e.Index)
	s.buf = appendError(s.buf[:0], e)
	send(w, status(e.Code), s.buf)
}

// setRefusal sets the headers of a refusal.
func (h *handler) setRefusal(header http.Header, index uint64) {
	header["X-Etcd-Cluster-Id"] = h.clusterID
	header["X-Etcd-Index"] = []string{strconv.FormatUint(index, 10)}
}

// setIndexes sets the headers of a success. The three numbers share their memory.
func (h *handler) setIndexes(header http.Header, index uint64, pos etcdserver.Position) {
	var b [60]byte
	digits := strconv.AppendUint(b[:0], index, 10)
	i := len(digits)
	digits = strconv.AppendUint(digits, pos.RaftIndex, 10)
	j := len(digits)
	digits = strconv.AppendUint(digits, pos.RaftTerm, 10)
	text := string(digits)
	values := []string{text[:i], text[i:j], text[j:]}
	header["X-Etcd-Cluster-Id"] = h.clusterID
	header["X-Etcd-Index"] = values[0:1:1]
	header["X-Raft-Index"] = values[1:2:2]
	header["X-Raft-Term"] = values[2:3:3]
}

// readForm returns the body if it carries a form, else "". The cause of a
// store.InvalidForm is not "" when it cannot be read.
func (h *handler) readForm(w http.ResponseWriter, r *http.Request) (body, cause string) {
	var contentType string
	if v := r.Header["Content-Type"]; len(v) > 0 {
		contentType = v[0]
	}
	ok, cause := carriesForm(r.Method, contentType)
	if r.ContentLength == 0 {
		return "", cause
	}
	// A sender that stalls must not hold the connection for ever, neither here nor
	// when net/http skips what was not read. After a body that came in full the
	// deadline goes: net/http reads on, to notice when the client leaves.
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(h.cfg.ReadTimeout))
	if !ok {
		return "", cause
	}
	if r.ContentLength > bodyBytesMax {
		// Take as much as the reference server would, so that the client can
		// finish sending and read the answer.
		if _, err := io.CopyN(io.Discard, r.Body, bodyBytesMax+1); err != nil {
			return "", err.Error()
		}
		return "", causeTooLarge
	}
	s := newScratch()
	defer s.release()
	b, err := readAll(r.Body, s.buf[:0], int(r.ContentLength))
	s.buf = b
	switch {
	case err != nil:
		return "", err.Error()
	case len(b) > bodyBytesMax:
		return "", causeTooLarge
	}
	rc.SetReadDeadline(time.Time{})
	return string(b), ""
}

// readAll appends r to b, to its end or until b is longer than bodyBytesMax. size
// is how much is announced, negative when nobody knows.
func readAll(r io.Reader, b []byte, size int) ([]byte, error) {
	if size >= cap(b) {
		// One more, so that the end is found without growing; but no memory for
		// mere announcements.
		b = make([]byte, 0, min(size+1, scratchBytesMax))
	}
	for len(b) <= bodyBytesMax {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
	return b, nil
}

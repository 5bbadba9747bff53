package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Where a member tells its etcd index, and which cluster it belongs to.
const (
	indexHeader   = "X-Etcd-Index"
	clusterHeader = "X-Etcd-Cluster-Id"
)

// wholeBytesMax is the longest body that is taken whole before any of it is sent.
const wholeBytesMax = 64 << 10

// answer is what a member says, without the headers of the connection.
type answer struct {
	*http.Response
	whole []byte // the body, if it was read already
}

// begunWriter knows whether an answer has begun.
type begunWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *begunWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *begunWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *begunWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reply passes an answer to the client as it comes. An answer that is cut short takes
// the connection along, so that nobody takes its end for an ordinary one. ctx is that
// of the request to the member.
func (p *Proxy) reply(ctx context.Context, w http.ResponseWriter, r *http.Request, a *answer) {
	p.begin(w, r, a.StatusCode, a.Header)
	err := relay(w, a)
	switch {
	case err == nil:
	case errors.Is(err, errGone), errors.Is(context.Cause(ctx), errGone):
		p.logGone(r)
		panic(http.ErrAbortHandler)
	case isTimeout(err) && watches(r): // what waits longer than the read time-out is over, and no failure
	default:
		p.cfg.Logger.Warn("answer of " + a.Request.URL.Host + " cut short: " + err.Error())
		panic(http.ErrAbortHandler)
	}
}

// begin sends the head of an answer.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request, status int, header http.Header) {
	own := w.Header()
	for name, values := range header {
		own[name] = values
	}
	p.cors.Allow(own, r.Header.Get("Origin")) // ours count where the member has some too
	extendWrite(w)
	w.WriteHeader(status)
}

// buffers are for one read each.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay copies the body and holds nothing back: events of a stream leave as they
// come, and the head of a long poll tells the client that its watch has begun. The
// error is nil at the end of the body, and otherwise errGone or that of the member.
func relay(w http.ResponseWriter, a *answer) error {
	rc := http.NewResponseController(w)
	if a.whole != nil {
		if _, err := w.Write(a.whole); err != nil {
			return errGone
		}
		return nil
	}
	if a.ContentLength < 0 {
		if rc.Flush() != nil {
			return errGone
		}
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := a.Body.Read(buf[:])
		if n > 0 {
			extendWrite(w)
			if _, err := w.Write(buf[:n]); err != nil || rc.Flush() != nil {
				return errGone
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// extendWrite gives the next write to a client time. A connection that is closed
// shows when it is written to.
func extendWrite(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout))
}

// isTimeout reports whether the read time-out ended an answer. A connection that the
// system gave up is another matter.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// refuse answers a request that no member answers. err is a *refusal, or says that
// the client has left, which gets no answer.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		p.logGone(r)
		return
	}
	text, _ := json.Marshal(struct { // of a string, which cannot fail
		Message string `json:"message"`
	}{"proxy: " + no.text})
	w.Header().Set("Content-Type", "application/json")
	extendWrite(w)
	w.WriteHeader(no.status)
	w.Write(text)
}

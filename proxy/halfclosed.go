package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"etcd2/internal/pause"
)

// errGone ends the work for a client that reads no more.
var errGone = errors.New("the client has gone")

// errStopping ends the requests that the proxy has when it stops.
var errStopping = &refusal{http.StatusServiceUnavailable, "the proxy is stopping"}

// halfClosed counts the long polls and streams of clients that have closed their sending
// half of the connection.
type halfClosed struct{ watches atomic.Int64 }

// requestContext returns a context for the work on a request. It outlives that of the
// request: a client may close its sending half (shutdown, "nc -N") and still wait for the
// response, and net/http takes that for a client that left. The two look the same, so the
// context ends some time later, with errGone. Call done at the end of the work.
func (p *Proxy) requestContext(r *http.Request) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	unbindStop := context.AfterFunc(p.running, func() { cancel(errStopping) })
	unbindClient := context.AfterFunc(r.Context(), func() {
		p.halfClosed.wait(ctx, watches(r))
		cancel(errGone)
	})
	return ctx, func() {
		unbindStop()
		unbindClient()
		cancel(nil)
	}
}

// wait returns when the request of a half-closed client has had its time, or ctx ends.
func (h *halfClosed) wait(ctx context.Context, watch bool) {
	timeout := goneTimeout
	if watch {
		timeout = goneWatchTimeout
		defer h.watches.Add(-1)
		if h.watches.Add(1) > goneWatchesMax {
			return
		}
	}
	_ = pause.For(ctx, timeout)
}

// watches reports whether a request is a long poll or a stream, which may wait without
// a limit.
func watches(r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/v2/keys") || !strings.Contains(r.URL.RawQuery, "wait") {
		return false
	}
	wait, _ := strconv.ParseBool(r.URL.Query().Get("wait"))
	return wait
}

// logGone logs that a client left before its response.
func (p *Proxy) logGone(r *http.Request) {
	p.cfg.Logger.Info("client " + r.RemoteAddr + " closed request prematurely")
}

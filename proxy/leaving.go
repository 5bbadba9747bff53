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

// errGone says that the client takes no more.
var errGone = errors.New("the client has gone")

// errStopping ends the requests that the proxy has when it stops.
var errStopping = &refusal{http.StatusServiceUnavailable, "the proxy is stopping"}

// leaving counts the long polls and streams whose clients send nothing more.
type leaving struct{ watches atomic.Int64 }

// lasting returns a context for the work on a request. It does not end with that of the
// request: a client may say that it sends nothing more (shutdown, "nc -N") and still wait
// for its answer, and net/http takes that for a client who left. A client that left looks
// the same, so the context ends some time later, with errGone. Call done at the end of
// the work.
func (p *Proxy) lasting(r *http.Request) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	unbindStop := context.AfterFunc(p.running, func() { cancel(errStopping) })
	unbindClient := context.AfterFunc(r.Context(), func() {
		p.leaving.await(ctx, watches(r))
		cancel(errGone)
	})
	return ctx, func() {
		unbindStop()
		unbindClient()
		cancel(nil)
	}
}

// await returns when a request of a client that sends nothing more has had its time, or
// is over.
func (l *leaving) await(ctx context.Context, watch bool) {
	timeout := goneTimeout
	if watch {
		timeout = goneWatchTimeout
		defer l.watches.Add(-1)
		if l.watches.Add(1) > goneWatchesMax {
			return
		}
	}
	_ = pause.For(ctx, timeout)
}

// watches reports whether a request is a long poll or a stream, which may wait without
// end.
func watches(r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/v2/keys") || !strings.Contains(r.URL.RawQuery, "wait") {
		return false
	}
	wait, _ := strconv.ParseBool(r.URL.Query().Get("wait"))
	return wait
}

// logGone says that a client left before its answer.
func (p *Proxy) logGone(r *http.Request) {
	p.cfg.Logger.Info("client " + r.RemoteAddr + " closed request prematurely")
}

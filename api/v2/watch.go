package v2

import (
	"context"
	"errors"
	"io"
	"net/http"

	"etcd2/etcdserver"
	"etcd2/store"
)

// watch sends the head at once and then the events, each as it comes. A watch
// that is no stream ends after its first.
func (h *handler) watch(w http.ResponseWriter, r *http.Request, q *request) {
	watcher, pos, refused := h.beginWatch(q, nil)
	if refused != nil {
		h.writeError(w, refused)
		return
	}
	defer watcher.Close()
	header := w.Header()
	h.setIndexes(header, watcher.Index(), pos)
	header["Content-Type"] = typeJSON
	w.WriteHeader(http.StatusOK)
	// Clients wait for the head before they do what they then expect to see.
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.cfg.Stop, cancel)()
	for {
		d, err := watcher.Next(ctx)
		switch {
		case errors.Is(err, io.EOF), r.Context().Err() != nil && h.cfg.Stop.Err() == nil:
			return // the watch has ended, or the client says that it has
		case err != nil:
			// The member stops. The connection is cut, so that nobody takes the end
			// for an ordinary one.
			panic(http.ErrAbortHandler)
		}
		extendWrite(w, h.cfg.WriteTimeout)
		if _, err := w.Write(eventText(d.Encoded(h.encodeEvent))); err != nil {
			return
		}
		if !q.stream {
			return
		}
		if rc.Flush() != nil {
			return
		}
	}
}

// beginWatch begins the watch of a request; wake is for Poll, and nil for Next.
func (h *handler) beginWatch(q *request, wake func()) (*store.Watcher, etcdserver.Position, *store.Error) {
	h.metrics.watchRequests.Inc()
	watcher, pos, err := h.Watch(q.path, store.WatchOptions{
		Recursive: q.recursive,
		Stream:    q.stream,
		Since:     q.since,
		Wake:      wake,
	})
	if err != nil {
		e := refusal(err)
		h.metrics.requestFailed("GET", status(e.Code))
		return nil, pos, e
	}
	return watcher, pos, nil
}

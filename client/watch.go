package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"etcd2/internal/pause"
)

// Pauses between polls that a server ends without an event, so that one that does
// it at once is not asked as fast as it can answer.
const (
	pauseMin = 50 * time.Millisecond
	pauseMax = 5 * time.Second
	// pollCalm is how long a poll has to last to end the pauses.
	pollCalm = time.Second
)

// WatcherOptions say what a Watcher waits for.
type WatcherOptions struct {
	AfterIndex uint64 // events with a greater modifiedIndex, past ones too; 0: from the first call on
	Recursive  bool   // events below the key too
}

// Watcher waits for events, one after the other. One goroutine at a time may use
// it.
type Watcher struct {
	keys  Keys
	key   string
	query url.Values
	next  uint64 // waitIndex; 0: from now on
}

// Watcher makes a Watcher of a key. Nothing is asked before Next.
func (k Keys) Watcher(key string, o WatcherOptions) *Watcher {
	w := &Watcher{keys: k, key: key, query: url.Values{"wait": {"true"}, "recursive": {strconv.FormatBool(o.Recursive)}}}
	if o.AfterIndex > 0 {
		w.next = o.AfterIndex + 1
	}
	return w
}

// Next waits for the next event. A poll that the server ends without one is begun
// again. The error is that of ctx, or one of Keys.Get; Error code 401 says that the
// history no longer reaches back to where the Watcher is, so the caller has to read
// the keys and begin with a new one.
func (w *Watcher) Next(ctx context.Context) (*Response, error) {
	idle := pause.Growing{Min: pauseMin, Max: pauseMax}
	for {
		w.query.Set("waitIndex", strconv.FormatUint(w.next, 10))
		began := time.Now()
		r, err := w.keys.do(ctx, Request{Method: http.MethodGet, Path: w.keys.path(w.key), Query: w.query, Waits: true})
		if err == nil {
			w.next = max(w.next, r.Node.ModifiedIndex+1)
			return r, nil
		}
		if !errors.Is(err, ErrEmptyBody) {
			return nil, err
		}
		if time.Since(began) >= pollCalm {
			idle.Reset()
		}
		if err := idle.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

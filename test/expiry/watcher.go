package expiry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// retryPause is the pause after a poll that failed.
const retryPause = 5 * time.Millisecond

// Watcher receives the expire events of a directory at one member, by one long poll
// after the other. It waits for that member while it does not answer.
type Watcher struct {
	url  func() string
	dir  string
	http http.Client

	mu     sync.Mutex // guards the fields below
	next   uint64     // index from which it waits
	events []Expired
	grown  chan struct{} // closed at the next event
}

// NewWatcher returns a watcher of the events of dir from an index on. url is the base
// URL of the member, asked before each poll.
func NewWatcher(url func() string, dir string, from uint64) *Watcher {
	return &Watcher{url: url, dir: dir, next: from, grown: make(chan struct{})}
}

// Run polls until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	w.http.Transport = &http.Transport{}
	defer w.http.CloseIdleConnections()
	tick := time.NewTicker(retryPause)
	defer tick.Stop()
	for ctx.Err() == nil {
		if w.poll(ctx) != nil {
			<-tick.C
		}
	}
}

// Events returns what has arrived so far of the keys that begin with prefix.
func (w *Watcher) Events(prefix string) []Expired {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Expired
	for _, e := range w.events {
		if strings.HasPrefix(e.Key, prefix) {
			out = append(out, e)
		}
	}
	return out
}

// Await waits until the key has expired and returns the first event of it that follows
// the write at index last or a later one.
func (w *Watcher) Await(ctx context.Context, key string, last uint64) (Expired, error) {
	for {
		w.mu.Lock()
		i := slices.IndexFunc(w.events, func(e Expired) bool { return e.Key == key && e.Last >= last })
		grown := w.grown
		if i >= 0 {
			defer w.mu.Unlock()
			return w.events[i], nil
		}
		w.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return Expired{}, fmt.Errorf("no expire event of %s at %s: %w", key, w.url(), ctx.Err())
		}
	}
}

// poll waits for one event.
func (w *Watcher) poll(ctx context.Context) error {
	target := fmt.Sprintf("%s/v2/keys%s?wait=true&recursive=true&waitIndex=%d", w.url(), w.dir, w.next)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	at := time.Now()
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusBadRequest { // the member's history does not reach back so far
		index, err := strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
		if err == nil && index >= w.next {
			w.next = index + 1
		}
		return err
	}
	var e struct {
		Action string `json:"action"`
		Node   node   `json:"node"`
		Prev   node   `json:"prevNode"`
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	w.next = e.Node.Modified + 1
	if e.Action != "expire" {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, Expired{Key: e.Node.Key, Index: e.Node.Modified, Last: e.Prev.Modified, At: at})
	close(w.grown)
	w.grown = make(chan struct{})
	return nil
}

// node is what the watcher reads of a node.
type node struct {
	Key      string `json:"key"`
	Modified uint64 `json:"modifiedIndex"`
}

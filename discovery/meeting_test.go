package discovery

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// meeting is a server of the v2 API, as far as members that meet need it. As a
// RoundTripper it works inside a bubble.
type meeting struct {
	mu      sync.Mutex // guards the fields below
	nodes   []note
	events  []note
	index   uint64
	changed chan struct{} // closed and replaced by each change
	asked   []string      // method and URI of every request
	times   []time.Time   // of every request
	// fail may answer in place of the server, before the request takes effect or,
	// with late, after it. It is called with the number of the request, from 1.
	fail func(n int, r *http.Request) (status int, late bool, err error)
}

type note struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Dir      bool   `json:"dir,omitempty"`
	Created  uint64 `json:"createdIndex"`
	Modified uint64 `json:"modifiedIndex"`
	Nodes    []note `json:"nodes,omitempty"`
}

// newMeeting begins with these pairs of key and value.
func newMeeting(pairs ...string) *meeting {
	m := &meeting{index: 10, changed: make(chan struct{})}
	for i := 0; i < len(pairs); i += 2 {
		m.put(pairs[i], pairs[i+1])
	}
	return m
}

// put writes a key.
func (m *meeting) put(key, value string) note {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index++
	n := note{Key: key, Value: value, Created: m.index, Modified: m.index}
	m.nodes = slices.DeleteFunc(m.nodes, func(o note) bool { return o.Key == key })
	m.nodes = append(m.nodes, n)
	m.event(n)
	return n
}

func (m *meeting) event(n note) {
	m.events = append(m.events, n)
	close(m.changed)
	m.changed = make(chan struct{})
}

// drop deletes a key.
func (m *meeting) drop(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index++
	m.nodes = slices.DeleteFunc(m.nodes, func(o note) bool { return o.Key == key })
	m.event(note{Key: key, Modified: m.index})
}

// find returns a key or a directory.
func (m *meeting) find(key string) (note, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := note{Key: key, Dir: true}
	found := false
	for _, n := range m.nodes {
		rest, below := strings.CutPrefix(n.Key, key+"/")
		switch {
		case n.Key == key:
			return n, true
		case below && !strings.HasPrefix(rest, "_"):
			dir.Nodes = append(dir.Nodes, n)
		}
		found = found || below
	}
	slices.SortFunc(dir.Nodes, func(a, b note) int { return cmp.Compare(a.Key, b.Key) }) // not the order of arrival
	return dir, found
}

// RoundTrip answers a request as etcd 2.3 does, or as fail says.
func (m *meeting) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.mu.Lock()
	m.asked = append(m.asked, r.Method+" "+r.URL.RequestURI())
	m.times = append(m.times, time.Now())
	n, fail := len(m.asked), m.fail
	m.mu.Unlock()
	if fail == nil {
		return m.answer(r)
	}
	status, late, err := fail(n, r)
	if late {
		if _, err := m.answer(r); err != nil {
			return nil, err
		}
	}
	switch {
	case err != nil:
		return nil, err
	case status != 0:
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return m.answer(r)
}

func (m *meeting) answer(r *http.Request) (*http.Response, error) {
	key := strings.TrimPrefix(r.URL.Path, "/v2/keys")
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut:
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		if n, ok := m.find(key); ok && query.Get("prevExist") == "false" {
			return m.reply(412, map[string]any{"errorCode": 105, "message": "Key already exists", "cause": n.Key})
		}
		return m.reply(201, map[string]any{"action": "create", "node": m.put(key, r.PostForm.Get("value"))})
	case query.Get("wait") == "true":
		return m.wait(r, key)
	}
	n, ok := m.find(key)
	if !ok {
		return m.reply(404, map[string]any{"errorCode": 100, "message": "Key not found", "cause": key})
	}
	return m.reply(200, map[string]any{"action": "get", "node": n})
}

// wait answers with the next event.
func (m *meeting) wait(r *http.Request, key string) (*http.Response, error) {
	after, err := strconv.ParseUint(r.URL.Query().Get("waitIndex"), 10, 64)
	if err != nil || after == 0 {
		return nil, errors.New("a wait without an index")
	}
	for {
		m.mu.Lock()
		changed, events := m.changed, m.events
		m.mu.Unlock()
		for _, e := range events {
			if e.Modified >= after && (e.Key == key || strings.HasPrefix(e.Key, key+"/")) {
				return m.reply(200, map[string]any{"action": "set", "node": e})
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func (m *meeting) reply(status int, v any) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, err := json.Marshal(v)
	header := http.Header{"X-Etcd-Index": {strconv.FormatUint(m.index, 10)}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, err
}

// ServeHTTP makes a meeting that listens.
func (m *meeting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := m.RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Etcd-Index", answer.Header.Get("X-Etcd-Index"))
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

// logged collects lines as "LEVEL text".
type logged struct {
	slog.Handler
	mu    sync.Mutex // guards lines
	lines []string
}

func newLogged() *logged { return &logged{Handler: slog.DiscardHandler} }

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// all returns what was logged, a line each.
func (l *logged) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

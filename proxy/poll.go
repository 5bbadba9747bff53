package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"etcd2/internal/pause"
)

const (
	// joinWindow is how long others may join a poll. It is limited because a member
	// decides who may watch when a watch begins: a change of what guests may see
	// counts for all who come later than this.
	joinWindow = time.Minute
	// resumePause keeps a member that cuts all polls from being asked without a break.
	resumePause = 100 * time.Millisecond
	// lagPause is the same for a member that has yet to learn what another one has told
	// clients.
	lagPause = 500 * time.Millisecond
	// lagMax is how long that may take: when a leader dies the others go on from its
	// last writes once they have elected another one.
	lagMax = 10 * time.Second
	// eventBytesMax is more than a member ever sends as one event.
	eventBytesMax = 64 << 20
)

// pollKey is what polls have in common that may share a request to a member.
type pollKey struct {
	path      string // escaped
	recursive bool
	sorted    bool
	since     uint64 // waitIndex; 0 for "from now on"

	accept, encoding, origin string // headers on which an answer may depend

	hops string // proxies passed; those in a ring would wait for each other
}

// pollOf tells whether a request is a long poll that may be shared, and its key.
// Streams are not: each reader is at a place of its own. Nor are requests with
// credentials, for only a member can tell what those are worth at this moment.
func pollOf(r *http.Request, body []byte) (pollKey, bool) {
	path := r.URL.EscapedPath()
	if r.Method != http.MethodGet || len(body) > 0 || !strings.HasPrefix(path, "/v2/keys") ||
		!strings.Contains(r.URL.RawQuery, "wait") || len(r.Header["Authorization"]) > 0 {
		return pollKey{}, false
	}
	key := pollKey{
		path:     path,
		accept:   strings.Join(r.Header.Values("Accept"), ","),
		encoding: strings.Join(r.Header.Values("Accept-Encoding"), ","),
		origin:   r.Header.Get("Origin"),
		hops:     strings.Join(hops(r.Header), ","),
	}
	return key, key.parse(r.URL.RawQuery)
}

// parse reads the parameters. It is false for all but long polls of which every
// parameter is known and plain.
func (k *pollKey) parse(query string) bool {
	form, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	var wait, stream, quorum bool
	flags := map[string]*bool{"wait": &wait, "stream": &stream, "quorum": &quorum, "recursive": &k.recursive, "sorted": &k.sorted}
	for name, values := range form {
		if len(values) != 1 {
			return false
		}
		if name == "waitIndex" {
			k.since, err = strconv.ParseUint(values[0], 10, 64)
		} else if flag, ok := flags[name]; ok {
			*flag, err = strconv.ParseBool(values[0])
		} else {
			return false
		}
		if err != nil {
			return false
		}
	}
	return wait && !stream && !quorum
}

// since returns the poll for events of this index or later.
func (o *outgoing) since(index uint64) *outgoing {
	next := *o
	form := o.url.Query()
	form.Set("waitIndex", strconv.FormatUint(index, 10))
	next.url.RawQuery = form.Encode()
	return &next
}

// poll is one request to a member on behalf of one client or more.
type poll struct {
	key    pollKey
	begun  time.Time
	cancel context.CancelFunc

	lagging time.Time // since when the poll cannot go on for that; of run alone

	clients int                      // that wait; guarded by polls.mu
	at      atomic.Pointer[endpoint] // who is asked

	headed chan struct{} // closed once head is set, if that is to be sent before the rest
	head   *head
	done   chan struct{} // closed once the fields below are set
	body   []byte
	event  uint64 // the index of the event in the body; 0 for none
	err    error  // no answer; a *refusal while anybody waits
}

// head is the beginning of an answer.
type head struct {
	status int
	header http.Header
	index  uint64 // how far the member was when the poll began; 0 if it did not tell
}

// errCut says that an answer which has begun has no end.
var errCut = &refusal{http.StatusBadGateway, "the answer of the endpoint was cut short"}

// polls are the long polls that wait at members.
type polls struct {
	ctx     context.Context // of all polls; ends by Close
	stop    context.CancelCauseFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	closed bool
	open   map[pollKey]*poll // those that may be joined
	count  int               // of all
}

func newPolls() *polls {
	s := &polls{open: make(map[pollKey]*poll)}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	return s
}

// Close cuts all polls, refuses others from now on, and returns when none is left.
func (s *polls) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop(errStopping)
	s.running.Wait()
}

// Len is how many polls wait at members.
func (s *polls) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// join returns the poll that answers the key, which is a new one if there is none
// to join. It is nil after Close. Each call is followed by one of leave.
//
// Events up to the index known are not for this client: they are older than its
// request. An answer with such an event may be on its way to us right now.
func (p *Proxy) join(o *outgoing, key pollKey) (shared *poll, known uint64) {
	s := p.polls
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0
	}
	if open := s.open[key]; open != nil && time.Since(open.begun) < joinWindow {
		open.clients++
		p.metrics.joined.Inc()
		if key.since == 0 {
			known = p.known(open)
		}
		return open, known
	}
	ctx, cancel := context.WithCancel(s.ctx)
	next := &poll{
		key: key, begun: time.Now(), cancel: cancel, clients: 1,
		headed: make(chan struct{}), done: make(chan struct{}),
	}
	s.open[key] = next
	s.count++
	s.running.Go(func() {
		next.run(ctx, p, o)
		p.polls.end(next)
	})
	return next, 0
}

// known is the index that clients may have seen: that of the endpoint which is asked,
// and that of the one to which their other requests go.
func (p *Proxy) known(w *poll) uint64 {
	at := w.at.Load()
	if at == nil {
		return 0 // the poll has not been sent
	}
	index := at.index.Load()
	if usable := p.endpoints.Available(); len(usable) > 0 {
		index = max(index, usable[0].index.Load())
	}
	return index
}

// leave is the end of a client's interest in a poll.
func (s *polls) leave(w *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.clients--; w.clients == 0 {
		s.forget(w)
		w.cancel()
	}
}

// end publishes the outcome of a poll.
func (s *polls) end(w *poll) {
	s.mu.Lock()
	s.forget(w)
	s.count--
	s.mu.Unlock()
	w.cancel()
	close(w.done)
}

// close keeps others from joining a poll that goes on.
func (s *polls) close(w *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(w)
}

// forget keeps others from joining. The caller holds mu.
func (s *polls) forget(w *poll) {
	if s.open[w.key] == w {
		delete(s.open, w.key)
	}
}

// run asks members until one has answered. When the connection breaks while the
// poll waits, it goes on at another member where it stopped, for that is what
// clients would do next.
func (w *poll) run(ctx context.Context, p *Proxy, o *outgoing) {
	for {
		a, err := p.send(ctx, o, func(e *endpoint) { w.at.Store(e) })
		if err != nil {
			w.err = err
			return
		}
		more := w.take(ctx, a)
		if !more {
			return
		}
		if w.key.since == 0 {
			p.polls.close(w) // the next member's first events may be older than who joins now
		}
		rest := lagPause
		if w.lagging.IsZero() {
			p.cfg.Logger.Info("endpoint " + a.Request.URL.Host + " broke off a watch, resuming it")
			rest = resumePause
		}
		if pause.For(ctx, rest) != nil {
			w.err = context.Cause(ctx)
			return
		}
		if w.key.since == 0 {
			o = o.since(w.head.index + 1)
		}
	}
}

// take reads an answer. more is true when the poll is to be sent again.
func (w *poll) take(ctx context.Context, a *answer) (more bool) {
	defer a.Body.Close()
	switch {
	case w.head == nil:
		w.head = newHead(a)
		if a.StatusCode == http.StatusOK {
			close(w.headed)
		}
	case !w.head.continues(a): // and clients have been told otherwise
		if w.head.lags(a) && w.patient() {
			return true
		}
		w.err = errCut
		return false
	}
	w.lagging = time.Time{}
	body, err := a.readAll()
	switch {
	case err == nil:
		w.body, w.event = body, eventIndex(body)
	case ctx.Err() != nil:
		w.err = context.Cause(ctx)
	case isTimeout(err): // over after the read time-out: an empty answer
	case a.StatusCode == http.StatusOK && w.head.index > 0 && !errors.Is(err, errTooLong):
		return true
	default:
		w.err = errCut
	}
	return false
}

func newHead(a *answer) *head {
	h := &head{status: a.StatusCode, header: a.Header}
	h.index, _ = strconv.ParseUint(a.Header.Get(indexHeader), 10, 64)
	h.header.Del("Content-Length") // another member may send the rest
	return h
}

// continues tells whether the poll can wait here for what comes after the first
// answer. A member of another cluster cannot serve it, nor can one that is behind.
func (h *head) continues(a *answer) bool {
	return h.same(a) && newHead(a).index >= h.index
}

// lags tells whether only that is missing, which may be a matter of a moment.
func (h *head) lags(a *answer) bool {
	return h.same(a) && newHead(a).index < h.index
}

func (h *head) same(a *answer) bool {
	return a.StatusCode == h.status && a.Header.Get(clusterHeader) == h.header.Get(clusterHeader)
}

// patient tells whether to wait for members that lag. It is limited because one that
// has begun anew looks the same, and there the poll would wait for ever.
func (w *poll) patient() bool {
	if w.lagging.IsZero() {
		w.lagging = time.Now()
	}
	return time.Since(w.lagging) < lagMax
}

var errTooLong = errors.New("the event is too long")

func (a *answer) readAll() ([]byte, error) {
	if a.whole != nil {
		return a.whole, nil
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, eventBytesMax+1))
	if err == nil && len(body) > eventBytesMax {
		err = errTooLong
	}
	return body, err
}

// eventIndex is the index at which an event happened, 0 when body is no event.
func eventIndex(body []byte) uint64 {
	var event struct {
		Node struct {
			ModifiedIndex uint64 `json:"modifiedIndex"`
		} `json:"node"`
	}
	if json.Unmarshal(body, &event) != nil {
		return 0
	}
	return event.Node.ModifiedIndex
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
)

// link is the way to one other member: its URLs, the stream to it and its record.
type link struct {
	t     *Transport
	id    membership.ID
	queue *queue
	// again has capacity 1: one wake-up ends the pause between two dials.
	again chan struct{}

	gone  context.Context // ends when the member is to be reached no longer
	leave context.CancelFunc

	name     atomic.Pointer[string] // as Set has it; nil for an unlisted peer
	unlisted bool                   // not named by Set: it told its URLs itself
	vouched  atomic.Bool            // unlisted, but a listed member knows it as a member

	confirming atomic.Bool // it is being asked for its session
	dropped    atomic.Bool // Set does not name it any more: no further stream is opened
	rival      rival       // guarded by Transport.mu

	mu      sync.Mutex // guards the fields below
	urls    []string
	pick    int                     // the URL to dial next
	active  string                  // the URL of the stream, "" without one
	cut     context.CancelCauseFunc // ends the stream
	since   time.Time               // of the stream, or of its end
	noted   time.Time               // when a change of state was logged
	quiet   bool                    // the end of this stream is not worth a line
	trip    roundTrips
	who     identity.Identity // of the other end of the stream
	heard   time.Time         // when the other end last answered
	blocked error             // why nothing may be sent to the member; nil when it may

	sent, received counter
	fail           atomic.Uint64
	sending        atomic.Bool   // a checkpoint
	failed         int           // attempts at it in a row; of the goroutine that sends
	anew           chan struct{} // capacity 1: a stream was opened
}

// counter counts messages and what they weigh.
type counter struct{ messages, bytes atomic.Uint64 }

func (c *counter) add(messages, bytes int) {
	c.messages.Add(uint64(messages))
	c.bytes.Add(uint64(bytes))
}

func newLink(t *Transport, id membership.ID, unlisted bool) *link {
	gone, leave := context.WithCancel(context.Background())
	return &link{
		t: t, id: id, gone: gone, leave: leave, unlisted: unlisted,
		queue: newQueue(t.cfg.QueueMessages, t.cfg.QueueBytes),
		again: make(chan struct{}, 1),
		anew:  make(chan struct{}, 1),
		since: time.Now(),
	}
}

// errMoved ends a stream to a URL that the member has left.
var errMoved = errors.New("peer: the member has other URLs now")

// setURLs changes where the member is reached. A stream to a URL that is no longer
// one of them ends, and the new ones are dialled at once.
func (l *link) setURLs(urls []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Equal(l.urls, urls) {
		return
	}
	l.urls, l.pick = slices.Clone(urls), 0
	if l.active != "" && !slices.Contains(urls, l.active) {
		l.cut(errMoved)
	}
	signal(l.again)
}

// targets returns the URLs in the order they are to be tried.
func (l *link) targets() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.urls) == 0 {
		return nil
	}
	pick := l.pick % len(l.urls)
	return slices.Concat(l.urls[pick:], l.urls[:pick])
}

// prefer makes a URL the first to be tried, because it works.
func (l *link) prefer(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.urls, url); i >= 0 {
		l.pick = i
	}
}

// run keeps a stream to the member until ctx ends.
func (l *link) run(ctx context.Context) {
	pause := l.t.cfg.RetryMin
	for ctx.Err() == nil {
		began := time.Now()
		conn, url, who, err := l.dial(ctx)
		if err == nil {
			began = time.Now()
			l.prefer(url)
			err = l.stream(ctx, conn, url, who)
		}
		if ctx.Err() != nil || l.dropped.Load() {
			return
		}
		if time.Since(began) > l.t.cfg.Silence && conn != nil {
			pause = l.t.cfg.RetryMin // it was a good one
		}
		if errors.Is(err, errMoved) {
			continue
		}
		longest := l.t.cfg.RetryMax
		if needsOperator(err) {
			longest = max(longest, l.t.cfg.RefusedMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.again:
			if !needsOperator(err) {
				pause = l.t.cfg.RetryMin
			}
		case <-time.After(pause):
			pause = min(2*pause, longest)
		}
	}
}

// dial opens a stream to the first URL that lets it. The error is that of the
// last one.
func (l *link) dial(ctx context.Context) (conn net.Conn, url string, who identity.Identity, err error) {
	urls := l.targets()
	if len(urls) == 0 {
		return nil, "", who, errNoURLs
	}
	for _, url := range urls {
		conn, who, err = l.t.openStream(ctx, l.id, url)
		l.block(err)
		if err == nil {
			return conn, url, who, nil
		}
		if ctx.Err() != nil {
			return nil, "", who, err
		}
		l.noteDial(err)
		l.t.judge(l.id, err)
	}
	return nil, "", who, err
}

var errNoURLs = errors.New("peer: the member has no peer URLs")

// noteDial logs that the member does not answer: at once, and then rarely.
func (l *link) noteDial(err error) {
	if loggedElsewhere(err) {
		return
	}
	if l.t.seldom.ok("dial " + l.id.String()) {
		l.t.log.Error(fmt.Sprintf("failed to dial %s on stream (%v)", l.id, err))
	}
}

// stream sends what is queued until the connection ends, and returns why it did.
func (l *link) stream(ctx context.Context, conn net.Conn, url string, who identity.Identity) error {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	c := newPatient(conn, l.t.cfg.Silence)
	defer context.AfterFunc(ctx, c.abort)()
	if !l.opened(url, who, cut) {
		c.abort()
		return errMoved
	}
	w := newWriter(l, c)
	var reading sync.WaitGroup
	reading.Go(func() { cut(l.readBack(c, w.began)) })
	cut(w.run(ctx))
	c.abort()
	reading.Wait()
	err := context.Cause(ctx)
	l.closed(err)
	return err
}

// opened records that there is a stream, or returns false when the member has left
// this URL meanwhile.
func (l *link) opened(url string, who identity.Identity, cut context.CancelCauseFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.urls, url) {
		return false
	}
	now := time.Now()
	l.active, l.cut, l.since, l.trip = url, cut, now, roundTrips{}
	l.who, l.heard = who, now
	// A connection that comes and goes fills no log.
	l.quiet = !l.noted.IsZero() && now.Sub(l.noted) < flappingPeriod
	if !l.quiet {
		l.noted = now
		l.t.log.Info(fmt.Sprintf("the connection with %s became active", l.id))
	}
	l.queue.begin()
	signal(l.anew)
	return true
}

// flappingPeriod is within which a connection that comes and goes is logged once.
const flappingPeriod = 10 * time.Second

// announce logs a connection that came and went too often to be logged then, and
// has come to stay.
func (l *link) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.quiet && l.active != "" && now.Sub(l.since) >= flappingPeriod {
		l.quiet, l.noted = false, now
		l.t.log.Info(fmt.Sprintf("the connection with %s became active", l.id))
	}
}

// closed records the end of the stream.
func (l *link) closed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.cut, l.since = "", nil, time.Now()
	l.who = identity.Identity{}
	if !l.quiet {
		l.t.log.Info(fmt.Sprintf("the connection with %s became inactive", l.id), "reason", err)
	}
}

// lost records a message that will not arrive.
func (l *link) lost(m *raftpb.Message) {
	if m.GetType() == raftpb.MsgApp {
		l.fail.Add(1)
	}
	l.t.told.unreachable(l.id)
}

// readBack reads what the other end has to say until the connection ends.
func (l *link) readBack(c *patient, began time.Time) error {
	in := newFrames(c)
	for {
		f, err := in.next()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		l.noteAlive()
		switch f.kind {
		case kindPong:
			err = l.pong(f.payload, began)
		case kindRefused:
			var writes [][]byte
			if writes, err = decodeWrites(f.payload, f.private); err == nil {
				l.t.told.refuse(writes)
			}
		case kindAlive:
			l.note(f.payload)
		default:
			err = fmt.Errorf("%w: kind %d on the way back", errFrame, f.kind)
		}
		if err != nil {
			return err
		}
	}
}

// noteAlive records that the other end of the stream has sent something.
func (l *link) noteAlive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
}

// session is the session of the other end of the stream and when it was last heard,
// "" without a stream or without an identity.
func (l *link) session() (session string, heard time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.who.Session, l.heard
}

// anonymous reports whether there is a stream whose other end told no identity.
func (l *link) anonymous() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active != "" && !l.who.Known()
}

// note passes on the identity in an alive frame, which may be empty.
func (l *link) note(payload []byte) {
	who, err := identity.Decode(string(payload))
	if err != nil || !who.Known() {
		return
	}
	if session, _ := l.session(); session == who.Session {
		l.t.member.Note(l.id, who)
	}
}

// block keeps the reason why nothing may be sent to the member, as an attempt to open a
// stream has shown; nil ends the block. Errors that say nothing about the member's
// identity or cluster change nothing.
func (l *link) block(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var other *generationError
	if err == nil || isIdentity(err) || errors.As(err, &other) {
		l.blocked = err
	}
}

// blockedBy returns why nothing may be sent to the member, nil when it may.
func (l *link) blockedBy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked
}

package v2

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Front serves the client port at a fraction of what net/http costs. Every
// connection begins here, where plain requests on /v2/keys are read and answered
// with one read and one write each, and a watch that waits costs next to nothing. The first
// request that is anything else, such as another path or an odd header, goes to
// net/http as it came, and the connection with it for the rest of its life.
type Front struct {
	h    *handler
	http *http.Server
	rest *handover

	ctx     context.Context // of requests
	stop    context.CancelFunc
	closing atomic.Bool // no further request is begun

	mu      sync.Mutex                 // guards the fields below
	conns   map[*frontConn]*frontWatch // with their watches, nil for none
	running sync.WaitGroup             // connections
}

// stopGrace is how long requests under way may take once Run is to end.
const stopGrace = time.Second

// longAgo is a deadline that ends a wait.
var longAgo = time.Unix(1, 0)

// NewFront returns a front for a server that NewHTTPServer made for a Handler of
// this package. The server takes what the front leaves, nothing else, and is
// closed by it. Before Run its Handler may be put behind another one, which then
// gets those requests.
func NewFront(srv *http.Server) *Front {
	f := &Front{
		h: srv.Handler.(*handler), http: srv, rest: newHandover(),
		conns: make(map[*frontConn]*frontWatch),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Run serves the listeners until ctx ends. Then it closes them and every idle
// connection, cuts the watches, gives the requests under way stopGrace, cuts what
// is left and returns when nothing runs any more. The error is that of a listener
// that failed.
func (f *Front) Run(ctx context.Context, listeners ...net.Listener) error {
	failed := make(chan error, len(listeners)+1) // one from each that serves
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { failed <- f.accept(l) })
	}
	serving.Go(func() { failed <- f.http.Serve(f.rest) })
	defer context.AfterFunc(f.h.cfg.Stop, f.cutWatches)()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	f.close(listeners)
	serving.Wait()
	return err
}

// accept takes connections until the listener is closed.
func (f *Front) accept(l net.Listener) error {
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			f.begin(c)
		case f.closing.Load():
			return nil
		case isTemporary(err):
			// Out of files: wait until some are closed, as net/http does.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-f.ctx.Done():
			}
		default:
			return err
		}
	}
}

func isTemporary(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// begin serves a connection in a goroutine of its own.
func (f *Front) begin(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing.Load() {
		conn.Close()
		return
	}
	c := &frontConn{Front: f, conn: conn}
	f.conns[c] = nil
	f.running.Go(c.start)
}

func (f *Front) forget(c *frontConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// close ends everything that was begun.
func (f *Front) close(listeners []net.Listener) {
	defer f.stop()
	f.closing.Store(true)
	for _, l := range listeners {
		l.Close()
	}
	grace, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	f.cutWatches()
	f.each(func(c net.Conn) { c.SetReadDeadline(longAgo) }) // wakes the idle ones
	context.AfterFunc(grace, func() {
		f.stop()
		f.each(cut)
	})
	f.running.Wait()
	if f.http.Shutdown(grace) != nil {
		f.http.Close()
	}
}

// each calls do for every connection at the front.
func (f *Front) each(do func(net.Conn)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		do(c.conn)
	}
}

// cutWatches ends all watches. Their connections are closed first: nobody is to
// take that for an ordinary end.
func (f *Front) cutWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c, w := range f.conns {
		if w != nil {
			cut(c.conn)
			w.Close()
		}
	}
}

// handover is the listener through which net/http gets its connections.
type handover struct {
	conns  chan net.Conn // unbuffered: a connection has one owner at any time
	closed chan struct{}
	once   sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands a connection to net/http, or closes it when that has stopped.
func (h *handover) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return handoverAddr{} }

// handoverAddr is the address of a listener that has none.
type handoverAddr struct{}

func (handoverAddr) Network() string { return "front" }
func (handoverAddr) String() string  { return "front" }

package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"etcd2/discovery"
	"etcd2/membership"
)

// network connects clients and servers inside a bubble, by host name.
type network struct {
	mu        sync.Mutex // guards the fields below
	hosts     map[string]*pipeListener
	unplugged string // a host to which no packet gets any more
}

var errRefused = errors.New("connection refused")

// Dial connects to a host. One that is held swallows connections until ctx ends.
func (n *network) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	l, unplugged := n.hosts[host], n.unplugged == host
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	client, server := net.Pipe()
	if host == "10.0.0.1" || unplugged {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case l.conns <- named{server, addr}:
		return named{client, addr}, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// named is a pipe whose far end has an address as clients have.
type named struct {
	net.Conn
	addr string
}

func (named) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711} }

type pipeListener struct {
	conns  chan net.Conn // unbuffered: a dial waits for its accept
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// Serve runs a server until stop, which cuts its connections. It answers probes.
func (n *network) Serve(host string, h http.Handler) (stop func()) {
	return n.ServeProbed(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isProbe(r) || host == "proxy" {
			h.ServeHTTP(w, r)
		}
	}))
}

// isProbe reports whether a proxy sends a request on behalf of itself.
func isProbe(r *http.Request) bool {
	return r.URL.Path == "/version" && r.Header.Get("X-Forwarded-For") == ""
}

// ServeProbed is Serve for a handler that gets the probes as well.
func (n *network) ServeProbed(host string, h http.Handler) (stop func()) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	n.hosts[host] = l
	n.mu.Unlock()
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go srv.Serve(l)
	return func() {
		n.mu.Lock()
		if n.hosts[host] == l {
			delete(n.hosts, host)
		}
		n.mu.Unlock()
		srv.Close()
	}
}

// source is a list of members that a test may change.
type source struct {
	mu    sync.Mutex // guards the fields below
	list  []membership.Member
	err   error
	asked [][]string
}

func (s *source) Running(_ context.Context, urls []string) (*discovery.Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, urls)
	return &discovery.Running{Members: s.list}, s.err
}

func (s *source) Set(err error, clients ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.list = err, nil
	for i, c := range clients {
		s.list = append(s.list, membership.Member{
			ID: membership.ID(i + 1), PeerURLs: []string{strings.Replace(c, "2379", "2380", 1)}, ClientURLs: []string{c},
		})
	}
}

// journal is a log without times.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// Take returns the lines since the last call, each as "LEVEL text".
func (j *journal) Take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := strings.Split(j.text.String(), "\n")
	j.text.Reset()
	return lines[:len(lines)-1]
}

func (j *journal) Logger() *slog.Logger { return slog.New(plain{slog.DiscardHandler, j}) }

type plain struct {
	slog.Handler
	out io.Writer
}

func (plain) Enabled(context.Context, slog.Level) bool { return true }
func (p plain) Handle(_ context.Context, r slog.Record) error {
	_, err := fmt.Fprintf(p.out, "%s %s\n", r.Level, r.Message)
	return err
}

// bench is a proxy in a bubble, with members and clients. The proxy is the host
// "proxy".
type bench struct {
	*network
	t      *testing.T
	source source
	log    journal
	proxy  *Proxy
	client *http.Client
}

// inBubble runs a story around a proxy. Hosts of the bench are served on port
// 2379; all that runs at the end of the story must end, or the test fails.
func inBubble(t *testing.T, cfg Config, story func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{network: &network{hosts: map[string]*pipeListener{}}, t: t}
		cfg.Dial, cfg.Members, cfg.Logger = b.Dial, &b.source, b.log.Logger()
		b.source.Set(errors.New("no members yet"))
		b.proxy = New(cfg)
		transport := &http.Transport{DialContext: b.Dial, DisableCompression: true}
		b.client = &http.Client{Transport: transport}
		defer b.Serve("proxy", b.proxy)()
		defer transport.CloseIdleConnections()
		story(t, b)
	})
}

// Run starts the proxy with these hosts as members.
func (b *bench) Run(hosts ...string) (stop func()) {
	b.t.Helper()
	var urls []string
	for _, h := range hosts {
		urls = append(urls, "http://"+h+":2379")
	}
	b.source.Set(nil, urls...)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error)
	go func() { done <- b.proxy.Run(ctx) }()
	<-b.proxy.Ready()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}
}

// Ask sends a request through the proxy and returns the answer with its body.
func (b *bench) Ask(method, target, body string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://proxy"+target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.Do(req)
}

func (b *bench) Do(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Errorf("%s %s: body: %v", req.Method, req.URL, err)
	}
	return res, string(text)
}

// says answers everything with one text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// order makes the endpoints come in this order.
func (b *bench) order(hosts ...string) {
	s := b.proxy.endpoints
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.all, func(x, y *endpoint) int {
		at := func(e *endpoint) int { return slices.Index(hosts, e.url.Hostname()) }
		return at(x) - at(y)
	})
	s.update()
}

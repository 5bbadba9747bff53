package proxy

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"etcd2/internal/cors"
)

// Paths that are not passed on.
const (
	metricsPath = "/metrics"
	configPath  = "/v2/config/local/proxy"
)

// Proxy passes requests on. Its methods may be called by any goroutine, Run by one.
type Proxy struct {
	cfg       Config
	cors      cors.Policy
	id        string // tells this proxy from others that a request passes
	transport *http.Transport
	probes    *http.Transport // apart from the requests, which may use up their connections
	endpoints *endpoints
	polls     *polls
	metrics   *metrics
	leaving   leaving
	running   context.Context // of requests; ends with Run
	stop      context.CancelCauseFunc
	ready     chan struct{} // closed after the first look for members
}

// New returns a Proxy without endpoints; Run finds them.
func New(cfg Config) *Proxy {
	cfg = cfg.withDefaults()
	p := &Proxy{
		cfg:       cfg,
		cors:      cors.New(cfg.CORS),
		id:        newID(),
		transport: newTransport(&cfg, idlePerEndpoint),
		probes:    newTransport(&cfg, 1),
		endpoints: newEndpoints(&cfg),
		polls:     newPolls(),
		ready:     make(chan struct{}),
	}
	p.metrics = newMetrics(p)
	p.running, p.stop = context.WithCancelCause(context.Background())
	return p
}

// Ready is closed when Run has asked for members once, whether it got an answer
// or not. That is when clients may come.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Run keeps the list of endpoints until ctx ends, then cuts the requests that are
// still waiting for members and returns nil.
func (p *Proxy) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { p.keepRefreshing(ctx) })
	running.Go(func() { p.keepProbing(ctx) })
	running.Wait()
	p.stop(errStopping)
	p.polls.Close()
	p.transport.CloseIdleConnections()
	p.probes.CloseIdleConnections()
	return nil
}

// ServeHTTP answers one request. If there is nothing to answer, it cuts the connection:
// net/http would make a 200 of it, and the client would take that for the answer of a
// member.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &begunWriter{ResponseWriter: w}
	p.serve(a, r)
	if !a.begun {
		panic(http.ErrAbortHandler)
	}
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	extendWrite(w) // or that of the request before would count for short answers
	switch {
	case r.URL.Path == metricsPath:
		p.metrics.ServeHTTP(w, r)
		return
	case p.cfg.Readonly && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	p.cors.Allow(w.Header(), r.Header.Get("Origin"))
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusOK)
	case r.RequestURI == "*" || r.Method == http.MethodConnect: // no path to pass on
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
	case r.URL.Path == configPath:
		p.serveConfig(w, r)
	default:
		p.forward(w, r)
	}
}

// serveConfig shows the endpoints that are available, in the order in which they
// are tried.
func (p *Proxy) serveConfig(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	shown := struct {
		Endpoints []string `json:"endpoints"`
	}{texts(p.endpoints.Available())}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // what 2.3.8 lets the library guess
	json.NewEncoder(w).Encode(shown)
}

// texts returns the URLs of endpoints, never nil.
func texts(endpoints []*endpoint) []string {
	list := make([]string, 0, len(endpoints))
	for _, e := range endpoints {
		list = append(list, e.text)
	}
	return list
}

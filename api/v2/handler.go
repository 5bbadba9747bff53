// Package v2 speaks the etcd v2 protocol over HTTP: keys and watches, members and
// who leads them, statistics, health and metrics.
//
// It owns what clients see: parameters and the order of their checks, paths,
// JSON, headers and statuses. Everything behind that is a Server. The hot path,
// a keys request, is made of functions over strings and bytes that do not know
// net/http (parseKeys, the append functions of encode.go, listing), so that the
// Front can answer everyday requests by itself and leave the rest to the
// http.Handler.
//
// Whatever a client sends to /v2/keys, only the subtree /1 of the store can be
// reached. What it may do to the cluster is what Changes lists.
package v2

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"etcd2/internal/cors"
	"etcd2/store"
	"etcd2/version"
)

// Config tunes a handler. A zero field takes the default named beside it.
type Config struct {
	Version      string          // "etcdserver" of /version; version.Server
	CORS         []string        // origins that browsers may call from, "*" for all; none
	Pprof        bool            // serve /debug/pprof
	DefaultRead  string          // ReadLocal or ReadQuorum, for reads that do not say; ReadLocal
	Metrics      *Metrics        // receives and shows the measurements; a new one
	LogLevel     *slog.LevelVar  // moved by PUT /config/local/log; a new one
	Stop         context.Context // when it ends, every watch is cut; never
	WriteTimeout time.Duration   // one chunk of a watch or a long listing must leave within; 30s
	ReadTimeout  time.Duration   // a request body must arrive within; 1m
	Logger       *slog.Logger    // discard

	// Certificates tell when the certificate that is shown on a port expires, by
	// the name of the port; the metrics show it. None.
	Certificates map[string]func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = version.Server
	}
	switch c.DefaultRead {
	case "":
		c.DefaultRead = ReadLocal
	case ReadLocal, ReadQuorum:
	default:
		panic("v2: no such default for reads: " + c.DefaultRead)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.LogLevel == nil {
		c.LogLevel = new(slog.LevelVar)
	}
	if c.Stop == nil {
		c.Stop = context.Background()
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Handler serves the client port: /v2/keys, /v2/members, /v2/machines, /v2/stats,
// /version, health and readiness, metrics, debugging and the log level. It needs no
// http.ServeMux and must not stand behind one: a mux cleans other paths than
// the protocol does.
func Handler(s Server, cfg Config) http.Handler {
	cfg = cfg.withDefaults()
	h := &handler{
		Server:  s,
		cfg:     cfg,
		metrics: cfg.Metrics,
		cors:    cors.New(cfg.CORS),

		clusterID:   []string{s.ClusterID().String()},
		quorumReads: cfg.DefaultRead == ReadQuorum,
	}
	h.routes = h.table()
	h.encodeEvent = func(e *store.Event) []byte { return encodeEvent(e, s.WallOffset()) }
	return h
}

type handler struct {
	Server
	cfg     Config
	metrics *Metrics
	cors    cors.Policy
	routes  map[string]route // by exact path; /v2/keys and /v2/members stand apart

	clusterID   []string // the X-Etcd-Cluster-Id of every answer; nothing appends to it
	quorumReads bool     // how reads are served that do not say

	encodeEvent func(*store.Event) []byte // as all watchers of an event get it
}

// route is one endpoint: allow lists its methods as the Allow header shows
// them, "" for any method.
type route struct {
	allow string
	serve http.HandlerFunc
}

func (h *handler) table() map[string]route {
	routes := map[string]route{
		"/v2/machines":        {"GET,HEAD", h.serveMachines},
		"/v2/stats/self":      {"GET", h.serveSelfStats},
		"/v2/stats/leader":    {"GET", h.serveLeaderStats},
		"/v2/stats/store":     {"GET", h.serveStoreStats},
		"/v2/stats/agreement": {"GET", h.serveAgreement},
		"/version":            {"GET", h.serveVersion},
		"/health":             {"GET", h.serveHealth},
		"/livez":              {"GET,HEAD", h.serveLive},
		"/readyz":             {"GET,HEAD", h.serveReady},
		"/metrics":            {"", h.metricsPage()},
		"/debug/vars":         {"GET", h.serveVars},
		"/config/local/log":   {"PUT", h.serveLogLevel},
	}
	if h.cfg.Pprof {
		addPprof(routes)
	}
	return routes
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cors.Allow(w.Header(), r.Header.Get("Origin"))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	if r.RequestURI == "*" { // for OPTIONS only
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p := r.URL.Path
	if !isClean(p) && r.Method != http.MethodConnect { // whose target is no path, and which does nothing
		redirect(w, r, cleanPath(p))
		return
	}
	if key, ok := cutKeys(p); ok {
		h.serveKeys(w, r, key)
		return
	}
	if rest, ok := cutMembers(p); ok {
		h.serveMembers(w, r, rest)
		return
	}
	route, ok := h.routes[p]
	switch {
	case !ok:
		http.NotFound(w, r)
	case !allows(route.allow, r.Method):
		methodNotAllowed(w, route.allow)
	default:
		route.serve(w, r)
	}
}

// allows looks method up in a comma separated list.
func allows(list, method string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), method)
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

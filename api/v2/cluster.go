package v2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// healthTimeout is the longest that /health waits for the cluster: those who ask
// in turns do not wait long either.
const healthTimeout = time.Second

// errUnled is the state of a member that knows no leader.
var errUnled = errors.New("no leader is known")

// serveMachines lists the client URLs of all members.
func (h *handler) serveMachines(w http.ResponseWriter, _ *http.Request) {
	var urls []string
	for _, m := range h.Members() {
		urls = append(urls, m.ClientURLs...)
	}
	slices.Sort(urls)
	io.WriteString(w, strings.Join(urls, ", "))
}

// serveVersion says which protocol the member and the cluster speak.
func (h *handler) serveVersion(w http.ResponseWriter, _ *http.Request) {
	cluster := h.ClusterVersion()
	if cluster == "" {
		cluster = "not_decided"
	}
	b := appendString([]byte(`{"etcdserver":`), h.cfg.Version)
	b = appendString(append(b, `,"etcdcluster":`...), cluster)
	send(w, http.StatusOK, append(b, '}'))
}

// serveHealth says whether the cluster can carry a write. The two bodies differ
// in form because clients compare them byte for byte. A member without a leader
// answers at once.
func (h *handler) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), healthTimeout)
	defer cancel()
	err := errUnled
	if h.Status().Leader != 0 {
		err = h.Health(ctx)
	}
	if err != nil {
		h.cfg.Logger.Warn("health check failed", "error", err)
		http.Error(w, `{"health": "false"}`, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, `{"health": "true"}`)
}

// serveLive answers as long as the process can answer at all.
func (h *handler) serveLive(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "ok\n")
}

// serveReady says whether clients should be sent here.
func (h *handler) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := h.Ready(); err != nil {
		http.Error(w, causeOf(err), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}

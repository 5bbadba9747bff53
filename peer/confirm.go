package peer

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A member that was not met yet could be anybody. So what it tells of itself is believed
// only when the process at its listed peer URL has the same session. Else a stranger
// could present an identity first, and the real member would be refused from then on.

// sessionPath is asked whether a session is that of the process behind this port. The
// response reveals nothing: the session is a secret of the one that asks.
const sessionPath = "/raft/session"

// confirmTimeout bounds one such question.
const confirmTimeout = 2 * time.Second

// serveSession answers 204 when the session in the query is that of this process.
func (t *Transport) serveSession(w http.ResponseWriter, r *http.Request) {
	if !only(w, r, http.MethodGet) {
		return
	}
	own := t.member.Identity().Session
	if own == "" || r.URL.Query().Get("is") != own {
		http.Error(w, "another session", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// confirmed reports whether the process at the peer URL of a listed member has this
// session. One question at a time is asked for each member, whatever strangers do.
func (l *link) confirmed(ctx context.Context, session string) bool {
	if reached, _ := l.session(); reached == session {
		return true
	}
	if !l.confirming.CompareAndSwap(false, true) {
		return false
	}
	defer l.confirming.Store(false)
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	c := call{method: http.MethodGet, path: sessionPath + "?is=" + url.QueryEscape(session), header: http.Header{}, to: l.id}
	return l.t.request(ctx, l.targets(), confirmTimeout, c, func(*answered) error { return nil }) == nil
}

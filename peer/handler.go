package peer

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"etcd2/identity"
	"etcd2/membership"
	"etcd2/version"
)

// Handler serves the peer port: /members, /version and /raft/probing to everybody,
// and what members ask of each other below /raft. It answers 503 to members while
// Run does not run.
func (t *Transport) Handler() http.Handler {
	mux := http.NewServeMux()
	addPages(mux, t.member, t.member.Identity)
	mux.HandleFunc("/raft", t.serveForeign)
	mux.HandleFunc("/raft/stream/", t.serveStream)
	mux.HandleFunc("/raft/snapshot", t.serveSnapshot)
	mux.HandleFunc("/raft/ask/", t.serveAsk)
	mux.HandleFunc(sessionPath, t.serveSession)
	return mux
}

// serveForeign answers the messages of other programs: this cluster's are not sent
// this way, and theirs would not be understood.
func (t *Transport) serveForeign(w http.ResponseWriter, r *http.Request) {
	if !only(w, r, http.MethodPost) || !t.admit(w, r) {
		return
	}
	http.Error(w, "incompatible version", http.StatusPreconditionFailed)
}

// only lets these methods pass and refuses others the way etcd 2.3 does.
func only(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}

// accept lets in a request of a trusted member with one of the methods and returns its
// sender. The context ends with Run, too; done is to be called at the end. It answers
// itself when the request is refused.
func (t *Transport) accept(w http.ResponseWriter, r *http.Request, methods ...string) (from membership.ID, ctx context.Context, done func(), ok bool) {
	if !only(w, r, methods...) || !t.admit(w, r) {
		return 0, nil, nil, false
	}
	c, ok := t.sender(w, r, r.Header.Get(headerFrom))
	if !ok {
		return 0, nil, nil, false
	}
	if ctx, done, ok = t.enter(r.Context()); !ok {
		http.Error(w, notReady, http.StatusServiceUnavailable)
		return 0, nil, nil, false
	}
	if !c.met {
		done()
		if t.seldom.ok("unlisted " + c.id.String()) {
			t.log.Warn("request of an unlisted peer refused", "from", c.id, "path", r.URL.Path)
		}
		http.Error(w, "error sender not found", http.StatusForbidden)
		return 0, nil, nil, false
	}
	return c.id, ctx, done, true
}

// notReady is the answer to other members while Run does not run.
const notReady = "the member is not ready"

// admit checks that a request is from a member of a compatible version and of this
// cluster, and meant for this member. It answers itself when it is not.
func (t *Transport) admit(w http.ResponseWriter, r *http.Request) bool {
	self, cluster := t.member.ID(), t.member.ClusterID()
	w.Header().Set(headerCluster, cluster.String())
	from := r.Header.Get(headerFrom)
	if complaint := incompatible(r.Header); complaint != "" {
		if t.seldom.ok("version " + from) {
			t.log.Error(fmt.Sprintf("request version incompatibility (%s)", complaint))
		}
		http.Error(w, "incompatible version", http.StatusPreconditionFailed)
		return false
	}
	if got := r.Header.Get(headerCluster); got != cluster.String() {
		if t.seldom.ok("cluster " + from) {
			t.log.Error(fmt.Sprintf("request received was ignored (cluster ID mismatch got %s want %s)", got, cluster), "from", from)
		}
		http.Error(w, "cluster ID mismatch", http.StatusPreconditionFailed)
		return false
	}
	id, _ := membership.ParseID(from)
	if who, err := identity.Decode(r.Header.Get(identity.Header)); err == nil && t.otherGeneration(id, r.Header.Get(identity.Header), who) != nil {
		t.logOtherGeneration(id, cmp.Or(r.Header.Get(headerURLs), r.RemoteAddr))
		w.Header().Set(identity.Header, t.introduction(false))
		http.Error(w, generationText, http.StatusPreconditionFailed)
		return false
	}
	if t.refuseOwnID(w, r) {
		return false
	}
	if got := r.Header.Get(headerTo); got != "" && got != self.String() {
		if t.seldom.ok("to " + from) {
			t.log.Error(fmt.Sprintf("streaming request ignored (ID mismatch got %s want %s)", got, self))
		}
		http.Error(w, "to field mismatch", http.StatusPreconditionFailed)
		return false
	}
	return true
}

// incompatible says why this member cannot work with one of the versions in the
// header, or "".
func incompatible(h http.Header) string {
	from, server := h.Get(headerFrom), orOld(h.Get(headerVersion))
	if minorOf(server).Compare(version.Lowest()) < 0 {
		return fmt.Sprintf("remote version is too low: remote[%s]=%s, local=%s", from, server, version.Server)
	}
	if least := orOld(h.Get(headerMinCluster)); minorOf(version.Server).Compare(minorOf(least)) < 0 {
		return fmt.Sprintf("local version is too low: remote[%s]=%s, local=%s", from, server, version.Server)
	}
	return ""
}

// orOld is the version of a server that does not tell it.
func orOld(v string) string {
	if v == "" {
		return oldVersion
	}
	return v
}

// oldVersion is the last version that told nobody its version.
const oldVersion = "2.0.0"

// minorOf is the version that matters between members. What is no version is the
// lowest.
func minorOf(text string) version.Number {
	n, _ := version.Parse(text)
	return n.Minor()
}

// sender returns the sender of an admitted request. It answers itself when that is no
// ID, or a member that is refused or was removed.
func (t *Transport) sender(w http.ResponseWriter, r *http.Request, text string) (caller, bool) {
	from, err := membership.ParseID(text)
	if err != nil || from == 0 || from == t.member.ID() {
		http.Error(w, "invalid from", http.StatusNotFound)
		return caller{}, false
	}
	return t.identify(w, r, from)
}

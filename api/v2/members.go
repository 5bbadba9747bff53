package v2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"etcd2/etcdserver"
	"etcd2/membership"
	"etcd2/store"
)

const (
	membersAllow = "GET,POST,DELETE,PUT"
	// memberBytesMax is the longest description of a member that is read.
	memberBytesMax = 1 << 20
	// noLeader is the message while nobody leads.
	noLeader = "During election"
)

// cutMembers returns what follows /v2/members in a clean path, without the slash
// between.
func cutMembers(p string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(p, "/v2/members")
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// serveMembers answers a request on /v2/members. rest is the rest of its path.
func (h *handler) serveMembers(w http.ResponseWriter, r *http.Request, rest string) {
	if !allows(membersAllow, r.Method) {
		methodNotAllowed(w, membersAllow)
		return
	}
	w.Header()["X-Etcd-Cluster-Id"] = h.clusterID
	// A client that has said all may still wait for its answer; the Server has a
	// deadline.
	ctx := context.WithoutCancel(r.Context())
	switch r.Method {
	case http.MethodGet:
		h.showMembers(w, rest)
	case http.MethodPost:
		if to := r.URL.Query(); rest == "leader" && to.Has("transfer") {
			h.transferLeader(ctx, w, to.Get("transfer"))
			return
		}
		h.addMember(ctx, w, r)
	default:
		if rest == "" { // plain, and without Allow, as 2.3.8
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		id, ok := memberID(w, rest)
		switch {
		case !ok:
		case r.Method == http.MethodPut:
			h.updateMember(ctx, w, r, id)
		default:
			h.removeMember(ctx, w, id)
		}
	}
}

func (h *handler) showMembers(w http.ResponseWriter, rest string) {
	switch rest {
	case "":
		b := []byte(`{"members":[`)
		for i, m := range h.Members() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendMember(b, m)
		}
		send(w, http.StatusOK, append(b, "]}\n"...))
	case "leader":
		m, ok := h.Leader()
		if !ok {
			sendMessage(w, http.StatusServiceUnavailable, noLeader)
			return
		}
		send(w, http.StatusOK, append(appendMember(nil, m), '\n'))
	default:
		sendMessage(w, http.StatusNotFound, "Not found")
	}
}

func (h *handler) addMember(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	urls, ok := h.readPeerURLs(w, r)
	if !ok {
		return
	}
	m, err := h.AddMember(ctx, urls)
	if err != nil {
		h.refuseChange(w, "adding", m.ID, err)
		return
	}
	send(w, http.StatusCreated, append(appendMember(nil, m), '\n'))
}

func (h *handler) updateMember(ctx context.Context, w http.ResponseWriter, r *http.Request, id membership.ID) {
	urls, ok := h.readPeerURLs(w, r)
	if !ok {
		return
	}
	if err := h.UpdateMember(ctx, id, urls); err != nil {
		h.refuseChange(w, "updating", id, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) removeMember(ctx context.Context, w http.ResponseWriter, id membership.ID) {
	if err := h.RemoveMember(ctx, id); err != nil {
		h.refuseChange(w, "removing", id, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuseChange answers a change of members that did not happen, or perhaps will.
func (h *handler) refuseChange(w http.ResponseWriter, doing string, id membership.ID, err error) {
	switch {
	case errors.Is(err, membership.ErrIDNotFound):
		noSuchMember(w, id.String())
	case errors.Is(err, membership.ErrIDRemoved):
		sendMessage(w, http.StatusGone, "Member permanently removed: "+id.String())
	case errors.Is(err, membership.ErrIDExists), errors.Is(err, membership.ErrPeerURLExists):
		sendMessage(w, http.StatusConflict, err.Error())
	default:
		// Clients of 2.3.8 know no text here. The operator finds it in the log.
		text := err.Error()
		if !errors.Is(err, etcdserver.ErrUnsafeChange) {
			text = fmt.Sprintf("error %s member %s (%s)", doing, id, causeOf(err))
		}
		h.cfg.Logger.Error(text)
		sendMessage(w, http.StatusInternalServerError, "Internal Server Error")
	}
}

// transferLeader has another member lead. It is not part of 2.3.8.
func (h *handler) transferLeader(ctx context.Context, w http.ResponseWriter, to string) {
	id, ok := memberID(w, to)
	if !ok {
		return
	}
	err := h.TransferLeader(ctx, id)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, membership.ErrIDNotFound):
		noSuchMember(w, id.String())
	case errors.Is(err, etcdserver.ErrLearner):
		sendMessage(w, http.StatusConflict, err.Error())
	default:
		text := causeOf(err)
		if _, led := h.Leader(); !led {
			text = noLeader
		}
		h.cfg.Logger.Error(fmt.Sprintf("error transferring leadership to member %s (%s)", id, causeOf(err)))
		sendMessage(w, http.StatusServiceUnavailable, text)
	}
}

// memberID parses the ID of a member that a request names. If no member can have that ID,
// it answers the request and ok is false. To raft, 0 means "no member".
func memberID(w http.ResponseWriter, text string) (id membership.ID, ok bool) {
	id, err := membership.ParseID(text)
	switch {
	case err != nil:
		noSuchMember(w, text)
	case id == 0:
		noSuchMember(w, id.String())
	}
	return id, err == nil && id != 0
}

// readPeerURLs reads what a request says of a member. ok is false when it has been
// answered with a refusal.
func (h *handler) readPeerURLs(w http.ResponseWriter, r *http.Request) (urls []string, ok bool) {
	if got := r.Header.Get("Content-Type"); !isJSON(got) {
		sendMessage(w, http.StatusUnsupportedMediaType, fmt.Sprintf("Bad Content-Type %s, accept application/json", got))
		return nil, false
	}
	urls, err := h.decodePeerURLs(w, r)
	if err != nil {
		sendMessage(w, http.StatusBadRequest, err.Error())
		return nil, false
	}
	return urls, true
}

// isJSON reports whether a Content-Type names JSON. Parameters such as charset, which HTTP
// libraries add by default, are ignored.
func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

func (h *handler) decodePeerURLs(w http.ResponseWriter, r *http.Request) ([]string, error) {
	// As with forms, a sender that stalls does not hold the connection for ever.
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(h.cfg.ReadTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, memberBytesMax))
	if err != nil {
		return nil, err
	}
	rc.SetReadDeadline(time.Time{})
	var in struct {
		PeerURLs []string `json:"peerURLs"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	return membership.CheckURLs(in.PeerURLs)
}

func noSuchMember(w http.ResponseWriter, id string) {
	sendMessage(w, http.StatusNotFound, "No such member: "+id)
}

// causeOf is the text of an error without the code that only /v2/keys shows.
func causeOf(err error) string {
	if e, ok := errors.AsType[*store.Error](err); ok && e.Cause != "" {
		return e.Cause
	}
	return err.Error()
}

// appendMember appends the JSON of a member, which always has all of its keys.
func appendMember(b []byte, m membership.Member) []byte {
	b = appendString(append(b, `{"id":`...), m.ID.String())
	b = appendString(append(b, `,"name":`...), m.Name)
	b = appendStrings(append(b, `,"peerURLs":`...), m.PeerURLs)
	b = appendStrings(append(b, `,"clientURLs":`...), m.ClientURLs)
	return append(b, '}')
}

// appendStrings appends a JSON array.
func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

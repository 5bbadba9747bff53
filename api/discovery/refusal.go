package discovery

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"etcd2/store"
)

// tooManyPeers is a code of etcd 0.4 that no store gives any more. It says just
// what is wrong with a token that has too many keys.
const tooManyPeers store.Code = 103

// refusal is an answer in the form of the keys API.
type refusal struct {
	status int
	code   store.Code
	cause  string
	index  uint64
	later  bool // the same request may succeed in a while
}

// refuse answers with a refusal.
func (s *Service) refuse(w http.ResponseWriter, e *refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Etcd-Cluster-Id", s.member.ClusterID().String())
	h.Set("X-Etcd-Index", strconv.FormatUint(e.index, 10))
	if e.later {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(e.status)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false) // it is JSON for programs, and says so
	out.Encode(struct {
		Code    store.Code `json:"errorCode"`
		Message string     `json:"message"`
		Cause   string     `json:"cause"`
		Index   uint64     `json:"index"`
	}{e.code, message(e.code), e.cause, e.index})
}

// message is the text that belongs to a code.
func message(c store.Code) string {
	switch c {
	case store.KeyNotFound:
		return "Key not found"
	case tooManyPeers:
		return "Reached the max number of peers in the cluster"
	case store.NotDir:
		return "Not a directory"
	case store.RootReadOnly:
		return "Root is read only"
	case store.InvalidField:
		return "Invalid field"
	case store.InvalidForm:
		return "Invalid POST form"
	case store.DuringElection:
		return "During Leader Election"
	}
	return "Raft Internal Error"
}

// tooBusy refuses until later. Members of all generations take an answer of 5xx for a
// reason to come again later, and one of 4xx, 429 included, for their end.
func tooBusy(cause string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, code: store.RaftInternal, cause: cause, later: true}
}

// notAllowed refuses what founding a cluster does not take.
func notAllowed(cause string) *refusal {
	return &refusal{status: http.StatusForbidden, code: store.RootReadOnly, cause: cause}
}

// badValue refuses a parameter.
func badValue(cause string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: store.InvalidField, cause: cause}
}

// failed is what a client is told of an error of the member.
func failed(err error) *refusal {
	var e *store.Error
	if !errors.As(err, &e) {
		return tooBusy(err.Error())
	}
	r := &refusal{status: http.StatusInternalServerError, code: e.Code, cause: strings.TrimPrefix(e.Cause, "/1"), index: e.Index}
	switch e.Code {
	case store.KeyNotFound:
		r.status = http.StatusNotFound
	case store.NotDir:
		r.status = http.StatusBadRequest
	}
	return r
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

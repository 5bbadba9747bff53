package v2

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"etcd2/etcdserver"
)

// agreementJSON is /v2/stats/agreement.
type agreementJSON struct {
	State       string                      `json:"state"`             // agrees, differs, refused, unknown, off
	Refused     string                      `json:"refused,omitempty"` // why this member serves nothing
	Interval    string                      `json:"interval"`          // Go duration; "0s" when there are no checks
	Index       uint64                      `json:"raftIndex"`         // of the last check; 0 before the first
	Time        *time.Time                  `json:"time,omitempty"`    // of the last check
	Members     map[string]etcdserver.Match `json:"members"`           // the other members in it
	Reasons     map[string]string           `json:"reasons,omitempty"` // why a member is refused
	Differing   []string                    `json:"differing"`         // some of the keys that differ
	Checks      uint64                      `json:"checks"`
	Divergences uint64                      `json:"divergences"`
	Refetches   uint64                      `json:"refetches"`
}

// serveAgreement says how the tree of this member compares with those of the
// others.
func (h *handler) serveAgreement(w http.ResponseWriter, _ *http.Request) {
	a := h.Agreement()
	out := agreementJSON{
		State: agreementState(&a), Refused: a.Refused,
		Interval: a.Interval.String(), Index: a.Index,
		Members: make(map[string]etcdserver.Match, len(a.Members)), Differing: make([]string, 0, len(a.Differing)),
		Checks: a.Checks, Divergences: a.Divergences, Refetches: a.Refetches,
	}
	if !a.Time.IsZero() {
		t := a.Time.UTC()
		out.Time = &t
	}
	for id, match := range a.Members {
		out.Members[id.String()] = match
	}
	for id, reason := range a.Reasons {
		if out.Reasons == nil {
			out.Reasons = map[string]string{}
		}
		out.Reasons[id.String()] = reason
	}
	for _, path := range a.Differing {
		if path = strings.TrimPrefix(path, "/1"); path == "" {
			path = "/"
		}
		out.Differing = append(out.Differing, path) // as clients know it
	}
	sendJSON(w, out)
}

// agreementState is an Agreement in one word, for those who watch many members.
func agreementState(a *etcdserver.Agreement) string {
	if a.Refused != "" {
		return "refused"
	}
	agrees := false
	for _, match := range a.Members {
		switch match {
		case etcdserver.Differs:
			return "differs"
		case etcdserver.Agrees:
			agrees = true
		}
	}
	switch {
	case agrees:
		return "agrees"
	case a.Interval == 0:
		return "off"
	}
	return "unknown" // nothing was compared yet, or nobody could be reached
}

// agreementGauges shows the same to Prometheus at the moment of a scrape.
type agreementGauges struct {
	readings[etcdserver.Agreement]
	server Inspector
}

func newAgreementGauges(server Inspector) *agreementGauges {
	g := &agreementGauges{server: server}
	g.now("etcd_agreement_refused", "1 while this member serves nothing because its data is not what the quorum has.",
		func(a *etcdserver.Agreement) float64 { return oneIf(a.Refused != "") })
	g.now("etcd_agreement_index", "Raft index at which the trees were last compared.",
		func(a *etcdserver.Agreement) float64 { return float64(a.Index) })
	g.now("etcd_agreement_differing_members", "Members whose tree differed from this one's in the last check.", differing)
	g.total("etcd_agreement_checks_total", "Comparisons with all members that could be reached.",
		func(a *etcdserver.Agreement) float64 { return float64(a.Checks) })
	g.total("etcd_agreement_divergences_total", "Checks that found a difference.",
		func(a *etcdserver.Agreement) float64 { return float64(a.Divergences) })
	g.total("etcd_agreement_refetches_total", "Copies of another member's data that this one took over.",
		func(a *etcdserver.Agreement) float64 { return float64(a.Refetches) })
	return g
}

// differing counts the members that differ.
func differing(a *etcdserver.Agreement) float64 {
	n := 0
	for _, match := range a.Members {
		if match == etcdserver.Differs {
			n++
		}
	}
	return float64(n)
}

// Collect implements prometheus.Collector.
func (g *agreementGauges) Collect(ch chan<- prometheus.Metric) {
	a := g.server.Agreement()
	g.collect(ch, &a)
}

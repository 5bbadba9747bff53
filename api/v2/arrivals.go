package v2

import "github.com/prometheus/client_golang/prometheus"

// arrivals counts what the discovery service does. All stays zero on a member that
// does not serve it.
type arrivals struct {
	tokens, members prometheus.Counter
	refused         *prometheus.CounterVec
}

func newArrivals() arrivals {
	return arrivals{
		tokens: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_discovery_tokens_total", Help: "Tokens made by the discovery service of this member."}),
		members: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_discovery_registrations_total", Help: "Members of other clusters that registered here."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_discovery_refused_total", Help: "Requests that the discovery service refused, by the limit they met."}, []string{"limit"}),
	}
}

// ObserveToken counts a token that the discovery service has made.
func (m *Metrics) ObserveToken() { m.arrivals.tokens.Inc() }

// ObserveRegistration counts a member that has registered with the discovery service.
func (m *Metrics) ObserveRegistration() { m.arrivals.members.Inc() }

// ObserveLimit counts a request to the discovery service that met a limit. limit is
// one of a few words.
func (m *Metrics) ObserveLimit(limit string) { m.arrivals.refused.WithLabelValues(limit).Inc() }

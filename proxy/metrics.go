package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// Why a request was dropped, as the metrics tell it. Each endpoint that fails
// counts as failedSending.
const (
	zeroEndpoints = "zero_endpoints"
	failedSending = "failed_sending_request"
	failedGetting = "failed_getting_response"
)

// metrics gathers what is measured in a proxy, and shows it.
type metrics struct {
	p        *Proxy
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	handled  *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	joined   prometheus.Counter
}

func newMetrics(p *Proxy) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) })
	}
	m := &metrics{
		p:        p,
		registry: prometheus.NewRegistry(),
		requests: counters("etcd_proxy_requests_total", "Requests to pass on.", "method"),
		handled:  counters("etcd_proxy_handled_total", "Requests that a member has answered, by HTTP status.", "method", "code"),
		dropped:  counters("etcd_proxy_dropped_total", "Requests that could not be passed on to an endpoint, or to any.", "method", "proxying_error"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "etcd_proxy_handling_duration_seconds",
			Help:    "Time until a member began to answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
		}, []string{"method"}),
		joined: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_proxy_watches_joined_total",
			Help: "Long polls that shared the request of another one.",
		}),
	}
	m.registry.MustRegister(
		m.requests, m.handled, m.dropped, m.duration, m.joined,
		gauge("etcd_proxy_endpoints_available", "Endpoints that requests may go to.",
			func() int { return len(p.endpoints.Available()) }),
		gauge("etcd_proxy_watches_open", "Long polls that wait at members, on behalf of one client or more.",
			p.polls.Len),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// methods are those that get a name of their own; clients can invent any.
var methods = []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"}

func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "other"
}

// Requested counts a request that is to be passed on.
func (m *metrics) Requested(method string) {
	m.requests.WithLabelValues(methodLabel(method)).Inc()
}

// Handled counts an answer of a member, which took so long to begin.
func (m *metrics) Handled(method string, status int, took time.Duration) {
	method = methodLabel(method)
	m.handled.WithLabelValues(method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}

// Dropped counts a failure to pass a request on.
func (m *metrics) Dropped(method, why string) {
	m.dropped.WithLabelValues(methodLabel(method), why).Inc()
}

// ServeHTTP shows all in the Prometheus text format.
func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	families, err := m.registry.Gather()
	if err != nil {
		m.p.cfg.Logger.Warn("metrics are incomplete", "error", err)
	}
	var page bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
			m.p.cfg.Logger.Warn("metric left out", "name", f.GetName(), "error", err)
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	w.Write(page.Bytes())
}

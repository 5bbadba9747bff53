package v2

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// Metrics gathers what is measured in a member. Its Observe functions are cheap
// and may be called by any goroutine; cmd/etcd hands them to the packages that
// measure.
type Metrics struct {
	get, agreed, head, put, post, delete *method

	received      *prometheus.CounterVec
	failed        *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	reads         *prometheus.CounterVec
	readsOne      prometheus.Counter
	readsTree     prometheus.Counter
	watchRequests prometheus.Counter

	modes          *prometheus.CounterVec
	plain, bounded [quorate + 1]prometheus.Counter // of modes

	sync           prometheus.Histogram
	commit         prometheus.Histogram
	proposal       prometheus.Histogram
	checkpoint     prometheus.Histogram
	checkpointSize prometheus.Counter
	proposalFailed prometheus.Counter

	arrivals arrivals
}

// method holds the measurements of one HTTP method, found once so that a request
// needs no look-up.
type method struct {
	name     string
	received prometheus.Counter
	duration prometheus.Observer
}

// Buckets in seconds.
var (
	requestBuckets = prometheus.ExponentialBuckets(0.0005, 2, 13)
	syncBuckets    = prometheus.ExponentialBuckets(0.00005, 2, 18)
	longBuckets    = prometheus.ExponentialBuckets(0.00025, 2, 18)
)

// NewMetrics returns metrics that are all zero.
func NewMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		received: counters("etcd_http_received_total",
			"Requests on /v2/keys that passed parsing, without watches.", "method"),
		failed: counters("etcd_http_failed_total",
			"Requests on /v2/keys that passed parsing and were refused, by HTTP status.", "method", "code"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "etcd_http_successful_duration_second",
			Help:    "Time from parsing to answer of successful requests on /v2/keys, without watches.",
			Buckets: requestBuckets,
		}, []string{"method"}),
		reads: counters("etcd_store_reads_total",
			"Gets of clients, failed ones included.", "action"),
		modes: counters("etcd_server_reads_total",
			"Gets by what answered them: the tree of this member or the quorum; and whether maxStale decided it.", "mode", "bounded"),
		watchRequests: counter("etcd_store_watch_requests_total", "Watches asked for."),

		sync: histogram("etcd_wal_fsync_duration_seconds",
			"Time to make one group of log records durable.", syncBuckets),
		commit: histogram("etcd_server_commit_duration_seconds",
			"Time from the write of log records to their commit by a quorum.", syncBuckets),
		proposal: histogram("etcd_server_proposal_durations_seconds",
			"Time from the proposal of a write to its outcome: queues, log, commit and apply.", longBuckets),
		checkpoint: histogram("etcd_checkpoint_duration_seconds",
			"Time to make one checkpoint durable.", longBuckets),
		checkpointSize: counter("etcd_checkpoint_nodes_total", "Nodes written by checkpoints."),
		proposalFailed: counter("etcd_server_proposal_failed_total", "Writes that got no outcome in time."),

		arrivals: newArrivals(),
	}
	m.get, m.agreed, m.head = m.forMethod("GET"), m.forMethod("QGET"), m.forMethod("HEAD")
	m.put, m.post, m.delete = m.forMethod("PUT"), m.forMethod("POST"), m.forMethod("DELETE")
	for mode, name := range map[readMode]string{local: ReadLocal, quorate: ReadQuorum} {
		m.plain[mode] = m.modes.WithLabelValues(name, "false")
		m.bounded[mode] = m.modes.WithLabelValues(name, "true")
	}
	m.readsOne, m.readsTree = m.reads.WithLabelValues("get"), m.reads.WithLabelValues("getRecursive")
	return m
}

// ObserveSync takes the time of one write and fsync of the log.
func (m *Metrics) ObserveSync(took time.Duration) { m.sync.Observe(took.Seconds()) }

// ObserveCommit takes the time from the write of log records to their commit.
func (m *Metrics) ObserveCommit(took time.Duration) { m.commit.Observe(took.Seconds()) }

// ObserveProposal takes the time from a proposal to its outcome, which is what a
// client feels of a commit.
func (m *Metrics) ObserveProposal(took time.Duration) { m.proposal.Observe(took.Seconds()) }

// ObserveProposalFailed counts a write that got no outcome in time.
func (m *Metrics) ObserveProposalFailed() { m.proposalFailed.Inc() }

// ObserveCheckpoint takes the time of one checkpoint and how many nodes it wrote.
func (m *Metrics) ObserveCheckpoint(took time.Duration, nodes int) {
	m.checkpoint.Observe(took.Seconds())
	m.checkpointSize.Add(float64(nodes))
}

func (m *Metrics) forMethod(name string) *method {
	return &method{name, m.received.WithLabelValues(name), m.duration.WithLabelValues(name)}
}

// method finds the measurements of a request on /v2/keys.
func (m *Metrics) method(name string, k kind) *method {
	switch name {
	case "PUT":
		return m.put
	case "POST":
		return m.post
	case "DELETE":
		return m.delete
	case "HEAD":
		return m.head
	}
	if k == agreed {
		return m.agreed
	}
	return m.get
}

func (m *Metrics) countRead(recursive bool) {
	if recursive {
		m.readsTree.Inc()
	} else {
		m.readsOne.Inc()
	}
}

// countMode counts a get by how it is served.
func (m *Metrics) countMode(mode readMode, bounded bool) {
	if bounded {
		m.bounded[mode].Inc()
	} else {
		m.plain[mode].Inc()
	}
}

func (m *Metrics) requestFailed(method string, status int) {
	m.failed.WithLabelValues(method, strconv.Itoa(status)).Inc()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{
		m.received, m.failed, m.duration, m.reads, m.modes, m.watchRequests,
		m.sync, m.commit, m.proposal, m.checkpoint, m.checkpointSize, m.proposalFailed,
		m.arrivals.tokens, m.arrivals.members, m.arrivals.refused,
	} {
		c.Collect(ch)
	}
}

// metricsPage serves everything in the Prometheus text format. The content type
// has no charset: 2.3.8 sends none.
func (h *handler) metricsPage() http.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		h.metrics,
		newGauges(h.Server),
		newLinkGauges(h.Server),
		newAgreementGauges(h.Server),
		newExpiries(h.cfg.Certificates),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return func(w http.ResponseWriter, _ *http.Request) {
		families, err := registry.Gather()
		if err != nil {
			h.cfg.Logger.Warn("metrics are incomplete", "error", err)
		}
		var page bytes.Buffer
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
				h.cfg.Logger.Warn("metric left out", "name", f.GetName(), "error", err)
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write(page.Bytes())
	}
}

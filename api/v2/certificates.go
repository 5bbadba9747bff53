package v2

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiries shows how long certificates are good from the moment of a scrape.
type expiries struct {
	left    *prometheus.Desc
	expires map[string]func() time.Time // by port
}

func newExpiries(expires map[string]func() time.Time) *expiries {
	return &expiries{
		left: prometheus.NewDesc("etcd_server_certificate_expiry_seconds",
			"Seconds until the certificate shown on a port expires; negative when it has.", []string{"port"}, nil),
		expires: expires,
	}
}

// Describe implements prometheus.Collector.
func (e *expiries) Describe(ch chan<- *prometheus.Desc) { ch <- e.left }

// Collect implements prometheus.Collector.
func (e *expiries) Collect(ch chan<- prometheus.Metric) {
	for port, when := range e.expires {
		ch <- prometheus.MustNewConstMetric(e.left, prometheus.GaugeValue, time.Until(when()).Seconds(), port)
	}
}

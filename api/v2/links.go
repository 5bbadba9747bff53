package v2

import (
	"github.com/prometheus/client_golang/prometheus"

	"etcd2/peer"
)

// linkGauges shows the connections to the other members at the moment of a
// scrape. A member that is removed takes its figures with it.
type linkGauges struct {
	server Inspector
	all    []linkGauge
}

// linkGauge is one figure of a connection.
type linkGauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*peer.Link) float64
}

func newLinkGauges(server Inspector) *linkGauges {
	g := &linkGauges{server: server}
	add := func(kind prometheus.ValueType, name, help string, read func(*peer.Link) float64) {
		g.all = append(g.all, linkGauge{prometheus.NewDesc(name, help, []string{"peer"}, nil), kind, read})
	}
	now := prometheus.GaugeValue
	total := prometheus.CounterValue
	add(now, "etcd_peer_connected", "1 while messages get to the other member.",
		func(l *peer.Link) float64 { return oneIf(l.Active) })
	add(now, "etcd_peer_round_trip_seconds", "Last measured time to the other member and back.",
		func(l *peer.Link) float64 { return l.RTT.Seconds() })
	add(now, "etcd_peer_clock_difference_seconds", "How far the clock of the other member is ahead.",
		func(l *peer.Link) float64 { return l.ClockDifference.Seconds() })
	add(total, "etcd_peer_sent_appends_total", "Append messages sent to the other member.",
		func(l *peer.Link) float64 { return float64(l.Appends.Messages) })
	add(total, "etcd_peer_sent_append_bytes_total", "Bytes of append messages sent.",
		func(l *peer.Link) float64 { return float64(l.Appends.Bytes) })
	add(total, "etcd_peer_received_appends_total", "Append messages received from the other member.",
		func(l *peer.Link) float64 { return float64(l.Received.Messages) })
	add(total, "etcd_peer_received_append_bytes_total", "Bytes of append messages received.",
		func(l *peer.Link) float64 { return float64(l.Received.Bytes) })
	add(total, "etcd_peer_send_failures_total", "Append messages to the other member that were lost on this side.",
		func(l *peer.Link) float64 { return float64(l.Fail) })
	return g
}

// Describe implements prometheus.Collector.
func (g *linkGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range g.all {
		ch <- one.desc
	}
}

// Collect implements prometheus.Collector.
func (g *linkGauges) Collect(ch chan<- prometheus.Metric) {
	for id, l := range g.server.Links() {
		for _, one := range g.all {
			ch <- prometheus.MustNewConstMetric(one.desc, one.kind, one.read(&l), id.String())
		}
	}
}

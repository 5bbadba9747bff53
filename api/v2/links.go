package v2

import (
	"github.com/prometheus/client_golang/prometheus"

	"etcd2/peer"
)

// linkGauges shows the connections to the other members at the moment of a
// scrape. A member that is removed takes its figures with it.
type linkGauges struct {
	readings[peer.Link]
	server Inspector
}

func newLinkGauges(server Inspector) *linkGauges {
	g := &linkGauges{server: server, readings: readings[peer.Link]{labels: []string{"peer"}}}
	g.now("etcd_peer_connected", "1 while messages get to the other member.",
		func(l *peer.Link) float64 { return oneIf(l.Active) })
	g.now("etcd_peer_round_trip_seconds", "Last measured time to the other member and back.",
		func(l *peer.Link) float64 { return l.RTT.Seconds() })
	g.now("etcd_peer_clock_difference_seconds", "How far the clock of the other member is ahead.",
		func(l *peer.Link) float64 { return l.ClockDifference.Seconds() })
	g.total("etcd_peer_sent_appends_total", "Append messages sent to the other member.",
		func(l *peer.Link) float64 { return float64(l.Appends.Messages) })
	g.total("etcd_peer_sent_append_bytes_total", "Bytes of append messages sent.",
		func(l *peer.Link) float64 { return float64(l.Appends.Bytes) })
	g.total("etcd_peer_received_appends_total", "Append messages received from the other member.",
		func(l *peer.Link) float64 { return float64(l.Received.Messages) })
	g.total("etcd_peer_received_append_bytes_total", "Bytes of append messages received.",
		func(l *peer.Link) float64 { return float64(l.Received.Bytes) })
	g.total("etcd_peer_send_failures_total", "Append messages to the other member that were lost on this side.",
		func(l *peer.Link) float64 { return float64(l.Fail) })
	return g
}

// Collect implements prometheus.Collector.
func (g *linkGauges) Collect(ch chan<- prometheus.Metric) {
	for id, l := range g.server.Links() {
		g.collect(ch, &l, id.String())
	}
}

package v2

import "github.com/prometheus/client_golang/prometheus"

// readings are figures that are read from a T at the moment of a scrape, so that
// nothing has to be counted twice while the member works.
type readings[T any] struct {
	labels []string // of all of them
	all    []reading[T]
}

// reading is one of them.
type reading[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*T) float64
}

// now adds a figure that goes up and down.
func (r *readings[T]) now(name, help string, read func(*T) float64) {
	r.all = append(r.all, reading[T]{prometheus.NewDesc(name, help, r.labels, nil), prometheus.GaugeValue, read})
}

// total adds a figure that only grows.
func (r *readings[T]) total(name, help string, read func(*T) float64) {
	r.all = append(r.all, reading[T]{prometheus.NewDesc(name, help, r.labels, nil), prometheus.CounterValue, read})
}

// Describe is the half of prometheus.Collector that needs no T.
func (r *readings[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range r.all {
		ch <- one.desc
	}
}

// collect reads all figures. The values are those of the labels.
func (r *readings[T]) collect(ch chan<- prometheus.Metric, from *T, values ...string) {
	for _, one := range r.all {
		ch <- prometheus.MustNewConstMetric(one.desc, one.kind, one.read(from), values...)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

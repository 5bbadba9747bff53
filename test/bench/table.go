package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unit says how a figure is written.
type unit int

const (
	perSecond unit = iota
	micros
	bytesUnit
)

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// format writes a figure with three or four digits that matter.
func (u unit) format(v float64) string {
	steps := map[unit][]struct {
		from  float64
		scale float64
		name  string
	}{
		perSecond: {{10_000, 1e3, "k/s"}, {0, 1, "/s"}},
		micros:    {{1e6, 1e6, " s"}, {1e4, 1e3, " ms"}, {0, 1, " µs"}},
		bytesUnit: {{1e9, 1e9, " GB"}, {1e6, 1e6, " MB"}, {1e4, 1e3, " kB"}, {0, 1, " B"}},
	}[u]
	for _, s := range steps {
		if v >= s.from {
			return digits(v/s.scale) + s.name
		}
	}
	return digits(v)
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v == 0:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// median returns the middle of the values, or zero when there are none.
func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(vs))
	return s[len(s)/2]
}

// printTable writes the results as markdown, one figure a line.
func printTable(w io.Writer, rows []row, targets []target) {
	ours := targets[0]
	var peer *target
	if len(targets) > 1 {
		peer = &targets[1]
	}
	head := []string{"figure", ours.name}
	if peer != nil {
		head = append(head, peer.name, "ratio")
	}
	head = append(head, "etcd 2.3.8 (once)", "ratio", "aim")
	line := func(cells []string) { _, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, r := range rows {
		line(append([]string{"**" + r.title + "**"}, slices.Repeat([]string{""}, len(head)-1)...))
		for _, c := range r.columns {
			mine, measured := ours.results[c.name]
			if !measured {
				continue
			}
			v := median(mine)
			cells := []string{strings.TrimPrefix(c.name, r.name+" "), c.unit.format(v)}
			if peer != nil {
				if theirs, ok := peer.results[c.name]; ok {
					cells = append(cells, c.unit.format(median(theirs)), ratio(v, median(theirs)))
				} else {
					cells = append(cells, "", "")
				}
			}
			if c.reference > 0 {
				cells = append(cells, c.unit.format(c.reference), ratio(v, c.reference))
			} else {
				cells = append(cells, "", "")
			}
			line(append(cells, c.aim))
		}
	}
}

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return digits(a / b)
}

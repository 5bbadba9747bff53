package main

import (
	"math/bits"
	"time"
)

// subBits is the resolution of the histogram: every power of two is cut into
// 2^subBits steps, so a value is known to about 1.6 %.
const subBits = 6

// histogram counts durations at a fixed relative resolution.
type histogram struct {
	counts [64 << subBits]int64
	total  int64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// value is the upper end of a bucket.
func upper(bucket int) time.Duration {
	if bucket < 2<<subBits {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration((bucket&(1<<subBits-1)+1<<subBits+1)<<shift - 1)
}

// merge adds the counts of another histogram.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the duration that the share q of all counted ones did not
// exceed.
func (h *histogram) quantile(q float64) time.Duration {
	want := int64(q*float64(h.total) + 0.5)
	seen := int64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= want {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

package raftnode

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		l := latency{observe: func(d time.Duration) { took = append(took, d) }}
		l.begin(1, 3)
		time.Sleep(time.Second)
		l.begin(4, 4)
		time.Sleep(time.Second)
		l.committed(2)
		l.committed(3)
		time.Sleep(time.Second)
		l.begin(4, 6) // another leader's
		l.committed(6)
		l.committed(6)
		if want := []time.Duration{2 * time.Second, 0}; !slices.Equal(took, want) {
			t.Errorf("measured %v, want %v", took, want)
		}
	})
}

func TestLatencyUnobserved(t *testing.T) {
	var l latency
	l.begin(1, 3)
	l.committed(3)
	if len(l.pending) != 0 {
		t.Errorf("%d marks kept for nobody", len(l.pending))
	}
}

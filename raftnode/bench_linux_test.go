package raftnode

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// memLog is a log that forgets, with the latency of a disk. The latency is
// slept in a system call, as a sync is: it costs time but no processor.
type memLog struct{ latency time.Duration }

func (l memLog) Save(_ *raftpb.HardState, entries []*raftpb.Entry) error {
	if l.latency > 0 && len(entries) > 0 {
		ts := syscall.NsecToTimespec(int64(l.latency))
		syscall.Nanosleep(&ts, nil)
	}
	return nil
}

func (memLog) Restart(uint64, uint64) error { return nil }

type noPeers struct{}

func (noPeers) Send([]*raftpb.Message) {}

// BenchmarkPropose measures a write from Propose to the applier, one voter.
func BenchmarkPropose(b *testing.B) {
	for _, latency := range []time.Duration{0, 100 * time.Microsecond} {
		for _, clients := range []int{1, 256} {
			b.Run(fmt.Sprintf("sync=%v/clients=%d", latency, clients), func(b *testing.B) {
				benchmarkPropose(b, latency, clients)
			})
		}
	}
}

func benchmarkPropose(b *testing.B, latency time.Duration, clients int) {
	n, err := New(Config{ID: 1}, State{Conf: &raftpb.ConfState{Voters: []uint64{1}}}, memLog{latency}, noPeers{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	replies := make([]chan struct{}, clients)
	for i := range replies {
		replies[i] = make(chan struct{}, 1)
	}
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() {
		for c := range n.Committed() {
			for _, e := range c.Entries {
				if len(e.Data) > 0 {
					replies[binary.LittleEndian.Uint32(e.Data)] <- struct{}{}
				}
			}
			n.Applied(c)
			if e := c.Entries[len(c.Entries)-1].GetIndex(); e%8192 < uint64(len(c.Entries)) {
				n.Compact(e, nil)
			}
		}
	})
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	var proposing sync.WaitGroup
	for i := range clients {
		proposing.Go(func() {
			for left.Add(-1) >= 0 {
				data := make([]byte, 128)
				binary.LittleEndian.PutUint32(data, uint32(i))
				if err := n.Propose(ctx, data); err != nil {
					b.Error(err)
					return
				}
				<-replies[i]
			}
		})
	}
	proposing.Wait()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.StopTimer()
	stop()
	running.Wait()
}

// BenchmarkReadIndex measures the only voter's answer, which needs no I/O.
func BenchmarkReadIndex(b *testing.B) {
	n, err := New(Config{ID: 1}, State{Conf: &raftpb.ConfState{Voters: []uint64{1}}}, memLog{}, noPeers{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() {
		for c := range n.Committed() {
			n.Applied(c)
		}
	})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := n.ReadIndex(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
	stop()
	running.Wait()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package raftnode

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// pipe carries messages from one member to another, in order, as a stream does:
// a goroutine takes what has gathered and steps it.
type pipe struct {
	mu   sync.Mutex // guards ms
	ms   []*raftpb.Message
	wake chan struct{} // capacity 1
	sent atomic.Int64
}

func (p *pipe) run(ctx context.Context, to *Node) {
	var ms []*raftpb.Message
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		ms, p.ms = p.ms, ms[:0]
		p.mu.Unlock()
		for _, m := range ms {
			_ = to.Step(ctx, m) // refused only at the end
		}
	}
}

// pipes are one member's ways to the others.
type pipes map[uint64]*pipe

func (all pipes) Send(ms []*raftpb.Message) {
	for _, m := range ms {
		p := all[m.GetTo()]
		p.mu.Lock()
		p.ms = append(p.ms, m)
		p.mu.Unlock()
		p.sent.Add(1)
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// BenchmarkGroup measures a write in a group of three, all of whose work is done
// by this process, from Propose to the applier of the member that proposed it.
func BenchmarkGroup(b *testing.B) {
	for _, latency := range []time.Duration{0, 100 * time.Microsecond, time.Millisecond} {
		for _, clients := range []int{1, 256} {
			for _, where := range []string{"leader", "everywhere"} {
				b.Run(fmt.Sprintf("sync=%v/clients=%d/at=%s", latency, clients, where), func(b *testing.B) {
					benchmarkGroup(b, latency, 0, clients, where == "leader")
				})
			}
		}
	}
}

// BenchmarkGroupSpread is BenchmarkGroup with clients that think for some time
// between two writes, so that writes come one by one.
func BenchmarkGroupSpread(b *testing.B) {
	for _, where := range []string{"leader", "everywhere"} {
		b.Run("at="+where, func(b *testing.B) {
			benchmarkGroup(b, time.Millisecond, 10*time.Millisecond, 256, where == "leader")
		})
	}
}

func benchmarkGroup(b *testing.B, latency, think time.Duration, clients int, atLeader bool) {
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	nodes := make([]*Node, 3)
	links := make([]pipes, 3)
	replies := make([]chan struct{}, clients)
	for i := range replies {
		replies[i] = make(chan struct{}, 1)
	}
	for i := range nodes {
		links[i] = pipes{}
		for j := range nodes {
			if i != j {
				links[i][uint64(j+1)] = &pipe{wake: make(chan struct{}, 1)}
			}
		}
		forwards := make(chan [][]byte, 1024) // as many as a benchmark has clients, at most
		cfg := Config{ID: uint64(i + 1), Founding: true, Forward: func(_ uint64, data [][]byte) { forwards <- slices.Clone(data) }}
		n, err := New(cfg, State{Conf: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}, memLog{latency}, links[i])
		if err != nil {
			b.Fatal(err)
		}
		nodes[i] = n
		running.Go(func() {
			for {
				select {
				case data := <-forwards:
					if err := nodes[n.Status().Leader-1].ProposeAsLeader(ctx, data); err != nil && ctx.Err() == nil {
						b.Error(err)
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i, n := range nodes {
		for to, p := range links[i] {
			running.Go(func() { p.run(ctx, nodes[to-1]) })
		}
		running.Go(func() { n.Run(ctx) })
		running.Go(func() {
			for c := range n.Committed() {
				for _, e := range c.Entries {
					if len(e.Data) > 0 && e.Data[4] == byte(i) {
						replies[binary.LittleEndian.Uint32(e.Data)] <- struct{}{}
					}
				}
				n.Applied(c)
				if e := c.Entries[len(c.Entries)-1].GetIndex(); e%8192 < uint64(len(c.Entries)) {
					n.Compact(e, n.Status().Conf)
				}
			}
		})
	}
	for nodes[0].Status().Leader == 0 || nodes[1].Status().Leader == 0 || nodes[2].Status().Leader == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	leader := int(nodes[0].Status().Leader - 1)
	var left, waited atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	var proposing sync.WaitGroup
	for i := range clients {
		at := leader
		if !atLeader {
			at = i % 3
		}
		proposing.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				data := make([]byte, 128)
				binary.LittleEndian.PutUint32(data, uint32(i))
				data[4] = byte(at)
				if err := nodes[at].Propose(ctx, data); err != nil {
					b.Error(err)
					return
				}
				<-replies[i]
				waited.Add(int64(time.Since(began)))
				if think > 0 {
					time.Sleep(rand.N(2 * think))
				}
			}
		})
	}
	proposing.Wait()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(waited.Load())/float64(b.N)/1000, "µs/write")
	var messages int64
	for _, l := range links {
		for _, p := range l {
			messages += p.sent.Load()
		}
	}
	b.ReportMetric(float64(messages)/float64(b.N), "messages/op")
	b.StopTimer()
	stop()
	running.Wait()
}

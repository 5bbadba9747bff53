package raftnode

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// slowLog is a log that takes its time, and fails when told to.
type slowLog struct {
	mu   sync.Mutex // guards the fields below
	log  recordLog
	took time.Duration
	slow int // saves of entries that took time
}

func (l *slowLog) Save(hard *raftpb.HardState, entries []*raftpb.Entry) error {
	l.mu.Lock()
	took := l.took
	l.mu.Unlock()
	if len(entries) > 0 {
		time.Sleep(took)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if took > 0 && len(entries) > 0 {
		l.slow++
	}
	return l.log.Save(hard, entries)
}

func (l *slowLog) Restart(index, term uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Restart(index, term)
}

func (l *slowLog) set(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took, l.log.err = took, err
}

// network delivers at once, unless a member is cut off.
type network struct {
	mu    sync.Mutex // guards the fields below
	nodes map[uint64]*Node
	cut   map[uint64]bool
	sent  map[raftpb.MessageType]int
	held  []*raftpb.Message // snapshots, when hold is set
	hold  bool

	hoarder uint64 // what is sent to it waits for release; 0 for none
	hoarded []*raftpb.Message
}

// link is one member's side of the network.
type link struct {
	*network
	from uint64
}

func (l link) Send(ms []*raftpb.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range ms {
		l.sent[m.GetType()]++
		to := l.nodes[m.GetTo()]
		if to == nil || l.cut[l.from] || l.cut[m.GetTo()] {
			continue
		}
		if l.hoarder == m.GetTo() {
			l.hoarded = append(l.hoarded, m)
			continue
		}
		if l.hold && m.GetType() == raftpb.MsgSnap {
			l.held = append(l.held, m)
			continue
		}
		go to.Step(context.Background(), m)
	}
}

func (w *network) setCut(id uint64, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[id] = cut
}

// hoard keeps what is sent to a member until release.
func (w *network) hoard(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hoarder = id
}

// release delivers what was hoarded.
func (w *network) release() {
	w.mu.Lock()
	to, ms := w.nodes[w.hoarder], w.hoarded
	w.hoarder, w.hoarded = 0, nil
	w.mu.Unlock()
	for _, m := range ms {
		to.Step(context.Background(), m)
	}
}

// heldSnapshot waits for a snapshot that was held back.
func (w *network) heldSnapshot() *raftpb.Message {
	for {
		w.mu.Lock()
		held := w.held
		w.mu.Unlock()
		if len(held) > 0 {
			return held[0]
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *network) count(kind raftpb.MessageType) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[kind]
}

// running is a node with its log and an applier that remembers.
type running struct {
	*Node
	disk *slowLog
	stop context.CancelFunc
	err  chan error // capacity 1: what Run returned

	mu        sync.Mutex // guards the fields below
	data      []string
	last      uint64
	installed uint64 // index of the last snapshot
}

func (r *running) apply() {
	for c := range r.Committed() {
		r.mu.Lock()
		if c.Snapshot != nil {
			r.installed = c.Snapshot.GetMetadata().GetIndex()
			r.last = r.installed
		}
		for _, e := range c.Entries {
			if e.GetIndex() != r.last+1 {
				panic(fmt.Sprintf("applied %d after %d", e.GetIndex(), r.last))
			}
			r.last = e.GetIndex()
			if len(e.GetData()) > 0 {
				r.data = append(r.data, string(e.GetData()))
			}
		}
		r.mu.Unlock()
		r.Applied(c)
	}
}

func (r *running) applied() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.data)
}

func newNetwork() *network {
	return &network{nodes: map[uint64]*Node{}, cut: map[uint64]bool{}, sent: map[raftpb.MessageType]int{}}
}

// start runs a member inside a bubble.
func (w *network) start(t *testing.T, cfg Config, st State, disk *slowLog) *running {
	t.Helper()
	n, err := New(cfg, st, disk, link{w, cfg.ID})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.nodes[cfg.ID] = n
	w.mu.Unlock()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{Node: n, disk: disk, stop: stop, err: make(chan error, 1)}
	go r.apply()
	go func() { r.err <- n.Run(ctx) }()
	return r
}

func (w *network) startThree(t *testing.T) []*running {
	t.Helper()
	var all []*running
	for id := range uint64(3) {
		all = append(all, w.start(t, Config{ID: id + 1}, State{Conf: voters(1, 2, 3)}, &slowLog{}))
	}
	return all
}

// leader waits for an election, in the time of the bubble the members live in.
func leader(t *testing.T, all []*running) *running {
	t.Helper()
	for range 100 {
		for _, r := range all {
			if s := r.Status(); s.Role == "StateLeader" && s.Leader == s.ID {
				return r
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no leader in 10s")
	return nil
}

func stopAll(t *testing.T, all ...*running) {
	t.Helper()
	for _, r := range all {
		r.stop()
		if err := <-r.err; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	}
}

func propose(t *testing.T, r *running, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := r.Propose(t.Context(), []byte(d)); err != nil {
			t.Fatalf("Propose(%q) error = %v", d, err)
		}
	}
}

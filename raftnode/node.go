// Package raftnode runs one member of a raft group.
//
// A Core holds all decisions and does nothing by itself: no goroutine, no clock,
// no I/O. A Node gives it those: one goroutine owns the Core and turns what
// arrives into work, one writes the log. Committed entries leave through one
// queue, in order and each once in a run; the state machine behind it belongs to
// somebody else.
//
// Any member takes proposals: the loop proposes them, hands them to
// Config.Forward when another member leads, or holds them until one does. They
// leave the loop in batches, for in a group the batch is what costs.
//
// What Committed delivers is durable on a quorum and in this member's own log.
// A failed write of the log ends Run, and nothing that depended on it leaves the
// member.
package raftnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Node is one raft member at work. Its methods may be called from any
// goroutine, before, during and after Run.
type Node struct {
	cfg    Config
	log    *slog.Logger
	core   *Core // the loop's; Compact may be called by others
	writer *Writer
	peers  Sender

	inbox *inbox
	// committed has capacity 1, so that the loop can leave a batch while the
	// applier works on another; what does not fit waits in the loop's backlog,
	// which raft bounds to MaxApplyingBytes. The loop closes it.
	committed chan Committed
	stopped   chan struct{} // closed when Run has ended

	role    atomic.Pointer[role]
	commit  atomic.Uint64
	applied atomic.Uint64
	backlog atomic.Int64 // entries that wait for the applier
	epoch   time.Time    // when the node was made
	fresh   atomic.Int64 // what Age counts from, in ns since epoch; 0 while unknown

	suspicious atomic.Bool
}

// New makes a member from what its disk holds. It starts nothing. Errors are
// ErrState or come from the log.
func New(cfg Config, st State, log Log, peers Sender) (*Node, error) {
	cfg = cfg.withDefaults()
	core, writer, err := NewCore(cfg, st, log)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:       cfg,
		log:       cfg.Logger,
		core:      core,
		writer:    writer,
		peers:     peers,
		inbox:     newInbox(),
		committed: make(chan Committed, 1),
		stopped:   make(chan struct{}),
		epoch:     time.Now(),
	}
	n.role.Store(&role{name: "StateFollower", term: core.Term(), conf: core.Conf()})
	n.commit.Store(core.Commit())
	n.applied.Store(st.Applied)
	return n, nil
}

// Run drives the member until ctx ends, then returns nil. It returns an error
// only when the log can no longer be written, or ErrLost or ErrDiverged. It is
// called once.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &loop{Node: n, queue: newQueue(), hearing: newHearing(n.cfg.Tick), latency: latency{observe: n.cfg.OnCommit}}
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := n.write(ctx, l.queue); err != nil {
			cancel(err)
		}
	})
	err := l.run(ctx)
	cancel(nil)
	writing.Wait()
	n.stop(l)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, errWriter) {
		err = cause
	}
	return err
}

// errWriter marks the end of a Run that could not write its log.
var errWriter = errors.New("raftnode: the log cannot be written")

func (n *Node) stop(l *loop) {
	was := n.role.Load()
	n.role.Store(&role{name: "StateFollower", term: was.term, conf: was.conf})
	n.inbox.close()
	for _, r := range l.asked {
		r.readers.fail(ErrStopped)
	}
	close(n.stopped)
	close(n.committed)
}

// loop is what Run's goroutine owns besides the Core.
type loop struct {
	*Node
	queue *queue // to the writer
	turn  taken
	proposals
	backlog []Committed // for the applier
	asked   []asked
	outbox  outbox
	hearing hearing
	latency latency
	logged  logged
	lost    error // ErrLost or ErrDiverged, once the leader's messages have proved it
}

// asked are readers whose round is under way.
type asked struct {
	round   uint64
	readers *readers
}

func (l *loop) run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Tick)
	defer tick.Stop()
	l.pause = time.NewTimer(0)
	defer l.pause.Stop()
	for {
		before := l.core.Taken()
		err := l.work()
		l.tellArrivals(before)
		if err = cmp.Or(err, l.lost); err != nil {
			return err
		}
		l.age()
		var out chan<- Committed // nil, which never proceeds, without backlog
		var next Committed
		if len(l.backlog) > 0 {
			out, next = l.committed, l.backlog[0]
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.core.Tick()
		case <-l.inbox.wake:
			// Whoever is ready to run may have a proposal or a message, too. Without
			// this, 256 clients got batches of 3 and cost three times as much, alone as
			// in a group.
			runtime.Gosched()
		case <-l.pause.C: // proposals have gathered
		case out <- next:
			l.popBacklog()
		}
		l.drain()
	}
}

// drain feeds the Core what has arrived.
func (l *loop) drain() {
	l.inbox.take(&l.turn)
	for _, r := range l.turn.reports {
		switch {
		case r.install != nil:
			l.backlog = append(l.backlog, Committed{Snapshot: r.install.snapshot, installed: r.install.done})
		case r.saved != nil:
			l.core.Saved(r.saved)
		default:
			l.core.Applied(r.applied)
		}
	}
	for _, f := range l.turn.calls {
		f(l)
	}
	if len(l.turn.messages)+len(l.turn.snapshots) > 0 {
		now := time.Now()
		for _, m := range l.turn.messages {
			l.step(m, now)
		}
		for _, a := range l.turn.snapshots {
			a.err = l.step(a.message, now)
		}
	}
}

func (l *loop) step(m *raftpb.Message, now time.Time) error {
	if err := l.core.Step(m); err != nil {
		l.noteRefused(m, err)
		return err
	}
	l.hearing.note(m, now)
	if told := Told(m); told != nil && l.cfg.Heard != nil {
		l.cfg.Heard(m.GetTerm(), told, l.core.LastTerm())
	}
	return nil
}

// tell puts what the leader has to tell into its heartbeats.
func (l *loop) tell(ms []*raftpb.Message) {
	if l.cfg.Tell == nil || !slices.ContainsFunc(ms, isHeartbeat) {
		return
	}
	if told := l.cfg.Tell(); told != nil {
		Tell(ms, told)
	}
}

// tellArrivals answers for the snapshots of the turn that was worked off. Raft
// has at most one snapshot at a time, and Work has given it out by now.
func (l *loop) tellArrivals(before uint64) {
	taken := l.core.Taken()
	for _, a := range l.turn.snapshots {
		accepted := taken > before && a.message.GetSnapshot().GetMetadata().GetIndex() == taken
		if accepted {
			before = taken // another one of the same index is a repetition
		}
		a.answer(accepted, a.err)
	}
	l.turn.snapshots = nil
}

// age notes how fresh the applied state is, unless it is in doubt.
func (l *loop) age() {
	if l.inDoubt() {
		return
	}
	if at := l.hearing.settle(l.core, l.applied.Load()); !at.IsZero() {
		l.fresh.Store(max(l.fresh.Load(), int64(at.Sub(l.epoch)), 1))
	}
}

func (l *loop) progress() map[uint64]Progress {
	all := l.core.Progress()
	for id, p := range all {
		if id == l.cfg.ID {
			p.Heard = time.Now()
		} else if c := l.hearing.members[id]; c != nil {
			p.Heard = c.heard
		}
		all[id] = p
	}
	return all
}

// work carries out what the Core wants until it wants nothing more.
func (l *loop) work() error {
	for {
		if l.turn.proposals || len(l.held) > 0 || len(l.turn.batches) > 0 {
			l.propose()
		}
		if l.turn.readers {
			l.askReadIndex()
		}
		w, ok := l.core.Work()
		l.publish()
		if !ok {
			if ms := l.outbox.take(); len(ms) > 0 {
				l.peers.Send(ms)
			}
			return nil
		}
		l.hearing.date(w.Send, time.Now())
		l.tell(w.Send)
		l.outbox.add(w.Send)
		for _, r := range w.Reads {
			l.answer(r)
		}
		if w.Apply != nil {
			l.apply(*w.Apply)
		}
		if w.Append != nil {
			if err := l.append(*w.Append); err != nil {
				return err
			}
		}
	}
}

// append hands work to the writer. A member that is alone has nobody to keep
// company while the disk works, and what arrives meanwhile becomes the next
// batch; so it writes here and saves two changes of goroutine.
func (l *loop) append(a Append) error {
	if n := len(a.Entries); n > 0 {
		l.latency.begin(a.Entries[0].GetIndex(), a.Entries[n-1].GetIndex())
	}
	if !l.core.Alone() || a.Snapshot != nil || !l.queue.idle() {
		l.queue.put(a)
		return nil
	}
	responses, err := l.writer.Save([]Append{a})
	if err != nil {
		return fmt.Errorf("%w: %w", errWriter, err)
	}
	l.core.Saved(responses)
	return nil
}

func (l *loop) askReadIndex() {
	if round, ok := l.core.ReadIndex(); ok {
		l.asked = append(l.asked, asked{round, l.inbox.takeReaders()})
		l.turn.readers = false
	}
}

func (l *loop) answer(r Read) {
	for len(l.asked) > 0 && l.asked[0].round <= r.Round {
		l.asked[0].readers.answer(r.Index)
		l.asked = l.asked[1:]
	}
}

// apply leaves entries for the applier, together with those it has not come to.
func (l *loop) apply(c Committed) {
	l.Node.backlog.Add(int64(len(c.Entries)))
	if last := len(l.backlog) - 1; last >= 0 && l.backlog[last].Snapshot == nil {
		b := &l.backlog[last]
		b.Entries = append(b.Entries, c.Entries...)
		b.responses = append(b.responses, c.responses...)
		return
	}
	if len(l.backlog) == 0 {
		select {
		case l.committed <- c:
			return
		default:
		}
	}
	l.backlog = append(l.backlog, c)
}

func (l *loop) popBacklog() {
	l.backlog[0] = Committed{}
	l.backlog = l.backlog[1:]
	if len(l.backlog) == 0 {
		l.backlog = nil
	}
}

// write is the writer's goroutine: everything queued, one write, one sync.
func (n *Node) write(ctx context.Context, q *queue) error {
	for {
		batch := q.take(ctx)
		if batch == nil {
			return nil
		}
		for len(batch) > 0 {
			var responses []*raftpb.Message
			var err error
			if batch[0].Snapshot != nil {
				responses, err = n.install(ctx, batch[0])
				batch = batch[1:]
			} else {
				k := untilSnapshot(batch)
				responses, err = n.writer.Save(batch[:k])
				batch = batch[k:]
			}
			if ctx.Err() != nil && err == nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%w: %w", errWriter, err)
			}
			if len(responses) > 0 {
				n.inbox.putReport(report{saved: responses})
			}
		}
	}
}

func untilSnapshot(batch []Append) int {
	for i, a := range batch {
		if a.Snapshot != nil {
			return i
		}
	}
	return len(batch)
}

// install is a snapshot on its way: through the loop to the applier and back.
type install struct {
	snapshot *raftpb.Snapshot
	done     chan struct{} // closed by Applied
}

// install waits for the applier to make the snapshot durable before it lets go
// of the log.
func (n *Node) install(ctx context.Context, a Append) ([]*raftpb.Message, error) {
	in := &install{snapshot: a.Snapshot, done: make(chan struct{})}
	n.inbox.putReport(report{install: in})
	select {
	case <-in.done:
		return n.writer.Install(a)
	case <-ctx.Done():
		return nil, nil
	}
}

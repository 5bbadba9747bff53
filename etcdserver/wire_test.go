package etcdserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	peerid "etcd2/identity"
	"etcd2/membership"
	"etcd2/peer"
	"etcd2/version"
)

// wire is a network in memory between members that knows the faults of real
// ones: messages are late or lost, links carry nothing in one direction, and
// members are down.
type wire struct {
	mu    sync.Mutex // guards the fields below
	rng   *rand.Rand
	up    map[membership.ID]*Server
	cuts  map[[2]membership.ID]bool // from, to: nothing gets there
	delay time.Duration             // of everything
	drop  int                       // messages lost, in percent
	lines map[[2]membership.ID]*line
	since time.Time // of the last change of a link
	sent  map[raftpb.MessageType]int

	versions map[membership.ID]string // what members say they are; version.Server

	linger    time.Duration // between the wish to send a checkpoint and its opening
	snapshots int           // checkpoints that arrived
	// onForward, when set, is asked about every batch of forwarded writes; an error
	// sends it back.
	onForward func(from, to membership.ID, writes [][]byte) error
}

func newWire() *wire {
	return &wire{
		rng: rand.New(rand.NewPCG(3, 4)), up: map[membership.ID]*Server{}, cuts: map[[2]membership.ID]bool{},
		lines: map[[2]membership.ID]*line{}, sent: map[raftpb.MessageType]int{}, since: time.Now(),
	}
}

// line carries what one member sends to another, in order. A goroutine empties
// it and ends.
type line struct {
	mu    sync.Mutex // guards the fields below
	queue []func()
	busy  bool
}

func (l *line) put(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, f)
	if !l.busy {
		l.busy = true
		go l.run()
	}
}

func (l *line) run() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		f := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		f()
	}
}

func (w *wire) join(s *Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up[s.id] = s
	w.since = time.Now()
}

func (w *wire) leave(id membership.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.up, id)
	w.since = time.Now()
}

// cut lets nothing through from one member to another any more, or again.
func (w *wire) cut(from, to membership.ID, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts[[2]membership.ID{from, to}] = cut
	w.since = time.Now()
}

// fault makes all messages late, and loses some of them.
func (w *wire) fault(delay time.Duration, dropPercent int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay, w.drop = delay, dropPercent
}

// onForwarded sets what is asked about forwarded writes.
func (w *wire) onForwarded(f func(from, to membership.ID, writes [][]byte) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onForward = f
}

func (w *wire) received() (snapshots int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshots
}

// way is the line to a member, and how late it is; false when nothing gets there.
func (w *wire) way(from, to membership.ID, lossy bool) (*line, time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := [2]membership.ID{from, to}
	if w.cuts[pair] || lossy && w.rng.IntN(100) < w.drop {
		return nil, 0, false
	}
	l := w.lines[pair]
	if l == nil {
		l = new(line)
		w.lines[pair] = l
	}
	return l, w.delay, true
}

// at is the member with this ID, nil when it is down.
func (w *wire) at(id membership.ID) *Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up[id]
}

// end is one member's side of the wire. It implements Peers.
type end struct {
	*wire
	self *Server

	mu      sync.Mutex // guards the fields below
	members []membership.Member
}

func (e *end) Send(ms []*raftpb.Message) {
	for _, m := range ms {
		to := membership.ID(m.GetTo())
		e.wire.mu.Lock()
		e.sent[m.GetType()]++
		e.wire.mu.Unlock()
		if m.GetType() == raftpb.MsgSnap {
			go e.sendSnapshot(to, m)
			continue
		}
		l, delay, ok := e.way(e.self.id, to, true)
		if !ok {
			continue
		}
		m := proto.CloneOf(m) // members share nothing
		due := time.Now().Add(delay)
		l.put(func() {
			time.Sleep(time.Until(due))
			if s := e.at(to); s == nil {
				e.self.ReportUnreachable(to)
			} else if handshake(e.self, s) {
				s.Step(context.Background(), m)
			}
		})
	}
}

// handshake is what happens before a stream is used, in a few words: it reports whether
// the two members accept each other.
func handshake(from, to *Server) bool {
	theirs, ours := from.Identity(), to.Identity()
	if theirs.Generation != ours.Generation && theirs.Generation != peerid.Joining && ours.Generation != peerid.Joining {
		return false
	}
	if err := to.Meet(from.id, theirs); err != nil {
		from.RefusedBy(to.id, err.Error())
		return false
	}
	if to.Removed(from.id) {
		from.Expelled(to.id, ours)
		return false
	}
	if from.Meet(to.id, ours) != nil {
		return false
	}
	from.RefusedBy(to.id, "")
	return true
}

func (e *end) sendSnapshot(to membership.ID, m *raftpb.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e.self.ReportSnapshot(to, e.carry(ctx, to, m) == nil)
}

func (e *end) carry(ctx context.Context, to membership.ID, m *raftpb.Message) error {
	_, delay, ok := e.way(e.self.id, to, false)
	s := e.at(to)
	if !ok || s == nil {
		return errUnreachable
	}
	time.Sleep(e.linger)
	from, err := e.self.OpenSnapshot(ctx, m.GetSnapshot().GetMetadata().GetIndex())
	if err != nil {
		return err
	}
	defer from.Close()
	m = proto.CloneOf(m)
	m.Snapshot.Metadata = &raftpb.SnapshotMetadata{Index: new(from.Index()), Term: new(from.Term()), ConfState: from.Conf()}
	time.Sleep(delay)
	r, w := io.Pipe()
	go func() {
		_, err := from.WriteTo(w)
		w.CloseWithError(err)
	}()
	err = s.ReceiveSnapshot(ctx, m, r)
	r.Close()
	if err == nil {
		e.wire.mu.Lock()
		e.snapshots++
		e.wire.mu.Unlock()
	}
	return err
}

func (e *end) Forward(to membership.ID, writes [][]byte) {
	writes = slices.Clone(writes)
	for i := range writes {
		writes[i] = slices.Clone(writes[i])
	}
	if e.at(to) == nil {
		e.self.Refused(writes)
		return
	}
	l, delay, ok := e.way(e.self.id, to, false)
	if !ok {
		return // nobody knows what became of them; a connection that holds loses nothing
	}
	e.wire.mu.Lock()
	ask := e.onForward
	e.wire.mu.Unlock()
	due := time.Now().Add(delay)
	l.put(func() {
		time.Sleep(time.Until(due))
		s := e.at(to)
		if s == nil {
			return
		}
		var err error
		if ask != nil {
			err = ask(e.self.id, to, writes)
		}
		if err == nil {
			err = s.Forwarded(context.Background(), e.self.id, writes)
		}
		if err == nil {
			return
		}
		if back, delay, ok := e.way(to, e.self.id, false); ok {
			back.put(func() { time.Sleep(delay); e.self.Refused(writes) })
		}
	})
}

func (e *end) Set(members []membership.Member) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.members = members
}

// set is what Set was told last.
func (e *end) set() []membership.Member {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.members
}

var (
	errUnreachable = errors.New("the member cannot be reached")
	errRefused     = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
)

func (e *end) Ask(ctx context.Context, to membership.ID, question string, body []byte) ([]byte, error) {
	s := e.at(to)
	_, delay, there := e.way(e.self.id, to, false)
	_, _, back := e.way(to, e.self.id, false)
	if s == nil {
		return nil, errRefused
	}
	if !there || !back {
		return nil, errUnreachable
	}
	time.Sleep(2 * delay)
	answer, err := s.Answer(ctx, e.self.id, question, body)
	if err != nil {
		return nil, &peer.AskError{Text: err.Error()}
	}
	return answer, nil
}

func (e *end) Version(_ context.Context, m membership.Member) (server, cluster string, err error) {
	s := e.at(m.ID)
	if _, _, there := e.way(e.self.id, m.ID, false); s == nil || !there {
		return "", "", errUnreachable
	}
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	return cmp.Or(e.versions[m.ID], version.Server), s.ClusterVersion(), nil
}

func (e *end) Fetch(ctx context.Context, from membership.ID, atLeast uint64, read func(io.Reader) error) error {
	s := e.at(from)
	if _, _, there := e.way(e.self.id, from, false); s == nil || !there {
		return errUnreachable
	}
	snapshot, err := s.OpenSnapshot(ctx, atLeast)
	if err != nil {
		return fmt.Errorf("the other member's: %w", err)
	}
	defer snapshot.Close()
	r, w := io.Pipe()
	go func() {
		_, err := snapshot.WriteTo(w)
		w.CloseWithError(err)
	}()
	defer r.Close()
	return read(r)
}

func (e *end) Links() map[membership.ID]peer.Link {
	links := map[membership.ID]peer.Link{}
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	for id := range e.up {
		if id != e.self.id {
			cut := e.cuts[[2]membership.ID{e.self.id, id}] || e.cuts[[2]membership.ID{id, e.self.id}]
			links[id] = peer.Link{Active: !cut, Since: e.since, Latency: peer.Latency{Current: 1500 * time.Microsecond}}
		}
	}
	return links
}

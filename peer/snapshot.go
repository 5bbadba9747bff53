package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
)

const (
	// chunkBytes is the largest size of the pieces of a checkpoint.
	chunkBytes = 60 << 10
	// progressPeriod is how often a long transfer is logged.
	progressPeriod = 10 * time.Second
)

// sendSnapshot sends a MsgSnap with a checkpoint in a goroutine of its own. While
// one is under way another message for it says nothing new: raft asks again when
// it has failed.
func (l *link) sendSnapshot(m *raftpb.Message) {
	if !l.sending.CompareAndSwap(false, true) {
		return
	}
	started := l.t.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.gone, cancel)()
		err := l.carry(ctx, m)
		if err != nil {
			l.t.log.Warn("checkpoint not sent", "to", l.id, "error", err)
			l.t.judge(l.id, err)
			l.rest(ctx)
		} else {
			l.failed = 0
		}
		l.sending.Store(false)
		l.t.member.ReportSnapshot(l.id, err == nil)
	})
	if !started {
		l.sending.Store(false)
		l.t.told.unsent(l.id)
	}
}

// snapshotRestMax is the longest pause before a checkpoint is sent again.
const snapshotRestMax = time.Minute

// rest puts off the report that a checkpoint was not sent, and with it the next
// attempt: a member whose disk is full fails in the midst of gigabytes each time. The
// pause doubles with each failure, and ends when the member connects anew. The
// goroutine that sends calls it.
func (l *link) rest(ctx context.Context) {
	pause := min(l.t.cfg.RetryMin<<min(l.failed, 16), snapshotRestMax)
	l.failed++
	select { // of what was before, nothing is to be learned
	case <-l.anew:
	default:
	}
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	case <-l.anew:
		l.failed = 0
	}
}

// carry opens the checkpoint and sends it behind the message.
func (l *link) carry(ctx context.Context, m *raftpb.Message) error {
	if err := l.open(); err != nil {
		return err
	}
	snap, err := l.t.member.OpenSnapshot(ctx, m.GetSnapshot().GetMetadata().GetIndex())
	if err != nil {
		return err
	}
	defer snap.Close()
	// The checkpoint may be newer than the one raft had in mind. The message given
	// is shared, so this is another one.
	told := &raftpb.Message{
		Type: m.Type, To: m.To, From: m.From, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index, Commit: m.Commit,
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			Index: new(snap.Index()), Term: new(snap.Term()), ConfState: snap.Conf(),
		}},
	}
	l.t.log.Info("sending a checkpoint", "to", l.id, "index", snap.Index(), "bytes", snap.Size())
	began := time.Now()
	c := call{method: http.MethodPost, path: "/raft/snapshot", header: l.t.header(l.id), length: -1, to: l.id}
	c.body = func(w io.Writer) error {
		if _, err := w.Write(endFrame(appendMessage(beginFrame(nil, kindMessage), told), 0)); err != nil {
			return err
		}
		return l.t.pour(ctx, w, snap, "to", l.id)
	}
	err = l.t.request(ctx, l.targets(), l.t.cfg.SnapshotAnswer, c, func(*answered) error { return nil })
	if err == nil {
		l.t.log.Info("sent a checkpoint", "to", l.id, "index", snap.Index(), "bytes", snap.Size(), "took", time.Since(began))
	}
	return err
}

// pour writes a checkpoint as frames, not faster than allowed.
func (t *Transport) pour(ctx context.Context, w io.Writer, snap Snapshot, whom string, id membership.ID) error {
	c := &chunker{to: w, chunk: beginFrame(make([]byte, 0, frameHeader+t.chunkSize()), kindChunk), logged: time.Now()}
	c.pause = func(n int) error {
		if time.Since(c.logged) >= progressPeriod {
			c.logged = time.Now()
			t.log.Info("checkpoint on its way", whom, id, "sent", c.sent, "bytes", snap.Size())
		}
		return t.pace.pause(ctx, n)
	}
	if _, err := snap.WriteTo(c); err != nil {
		return err
	}
	return c.end()
}

// chunkSize is how much of a checkpoint goes into a frame: so little that the
// pause before the next is no silence.
func (t *Transport) chunkSize() int {
	if t.pace.rate < 0 {
		return chunkBytes
	}
	most := float64(t.pace.rate) * t.cfg.Silence.Seconds() / 16
	return int(min(chunkBytes, max(1, most)))
}

// chunker cuts what is written to it into frames.
type chunker struct {
	to     io.Writer
	chunk  []byte            // the frame that is being filled
	pause  func(n int) error // before n bytes are sent
	sent   int64
	logged time.Time
}

func (c *chunker) Write(b []byte) (int, error) {
	for taken := 0; taken < len(b); {
		n := min(len(b)-taken, cap(c.chunk)-len(c.chunk))
		c.chunk = append(c.chunk, b[taken:taken+n]...)
		taken += n
		if len(c.chunk) == cap(c.chunk) {
			if err := c.flush(); err != nil {
				return taken, err
			}
		}
	}
	return len(b), nil
}

func (c *chunker) flush() error {
	if len(c.chunk) == frameHeader {
		return nil
	}
	if err := c.pause(len(c.chunk)); err != nil {
		return err
	}
	c.sent += int64(len(c.chunk) - frameHeader)
	_, err := c.to.Write(endFrame(c.chunk, 0))
	c.chunk = beginFrame(c.chunk[:0], kindChunk)
	return err
}

// end writes what is left and the frame that says that this was all.
func (c *chunker) end() error {
	if err := c.flush(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64(beginFrame(nil, kindEnd), uint64(c.sent))
	_, err := c.to.Write(endFrame(b, 0))
	return err
}

// unchunker reads a checkpoint out of frames. It ends with io.EOF only behind a
// whole one.
type unchunker struct {
	from  *frames
	chunk []byte
	got   uint64
	err   error
}

func (u *unchunker) Read(b []byte) (int, error) {
	for len(u.chunk) == 0 && u.err == nil {
		u.chunk, u.err = u.next()
	}
	if len(u.chunk) == 0 {
		return 0, u.err
	}
	n := copy(b, u.chunk)
	u.chunk = u.chunk[n:]
	u.got += uint64(n)
	return n, nil
}

func (u *unchunker) next() ([]byte, error) {
	f, err := u.from.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case f.kind == kindChunk:
		return f.payload, nil
	case f.kind != kindEnd || len(f.payload) != 8:
		return nil, fmt.Errorf("%w: kind %d in a checkpoint", errFrame, f.kind)
	}
	if total := binary.LittleEndian.Uint64(f.payload); total != u.got {
		return nil, fmt.Errorf("%w: checkpoint of %d bytes, want %d", errFrame, u.got, total)
	}
	if _, err = u.from.next(); err == nil {
		err = fmt.Errorf("%w: more behind the end of a checkpoint", errFrame)
	}
	return nil, err // io.EOF: nothing is behind it
}

// finish makes sure that the checkpoint ends where its reader stopped.
func (u *unchunker) finish() error {
	n, err := u.Read(make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("peer: checkpoint not read to its end")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// serveSnapshot takes a checkpoint in, or hands this member's out.
func (t *Transport) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	from, ctx, done, ok := t.accept(w, r, http.MethodGet, http.MethodPost)
	if !ok {
		return
	}
	defer done()
	if r.Method == http.MethodGet {
		t.handOut(ctx, w, r, from)
		return
	}
	t.takeIn(ctx, w, r, from)
}

func (t *Transport) takeIn(ctx context.Context, w http.ResponseWriter, r *http.Request, from membership.ID) {
	in := newFrames(t.body(w, r))
	f, err := in.next()
	var m *raftpb.Message
	if err == nil && f.kind == kindMessage {
		m, err = decodeMessage(f.payload, f.private)
	}
	if err == nil && m.GetType() != raftpb.MsgSnap {
		err = fmt.Errorf("%w: no message with a checkpoint", errFrame)
	}
	if err == nil {
		err = t.addressed(m, from)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("failed to decode raft message (%v)", err), http.StatusBadRequest)
		return
	}
	index := m.GetSnapshot().GetMetadata().GetIndex()
	t.log.Info("receiving a checkpoint", "from", from, "index", index)
	checkpoint := &unchunker{from: in}
	if err := t.member.ReceiveSnapshot(ctx, m, checkpoint); err != nil {
		t.log.Warn("checkpoint not taken", "from", from, "index", index, "received", checkpoint.got, "error", err)
		http.Error(w, fmt.Sprintf("checkpoint not taken (%v)", err), http.StatusInternalServerError)
		return
	}
	t.log.Info("received a checkpoint", "from", from, "index", index, "bytes", checkpoint.got)
	w.WriteHeader(http.StatusNoContent)
}

func (t *Transport) handOut(ctx context.Context, w http.ResponseWriter, r *http.Request, to membership.ID) {
	atLeast, err := strconv.ParseUint(r.FormValue("index"), 10, 64)
	if err != nil {
		http.Error(w, "invalid index", http.StatusBadRequest)
		return
	}
	snap, err := t.member.OpenSnapshot(ctx, atLeast)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer snap.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	t.log.Info("handing out a checkpoint", "to", to, "index", snap.Index(), "bytes", snap.Size())
	control := http.NewResponseController(w)
	out := writerFunc(func(b []byte) (int, error) {
		_ = control.SetWriteDeadline(time.Now().Add(t.cfg.Silence))
		n, err := w.Write(b)
		if err == nil {
			err = control.Flush()
		}
		return n, err
	})
	if err := t.pour(ctx, out, snap, "to", to); err != nil {
		t.log.Warn("checkpoint not handed out", "to", to, "error", err)
		panic(http.ErrAbortHandler) // the other end is to see a cut, not an end
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Fetch downloads the checkpoint of another member, which is at the raft index or
// behind it. read is called once with the checkpoint and has to read all of it; it
// gets io.EOF only when that has arrived unharmed. Nothing is kept of a download
// that fails: the caller begins again.
func (t *Transport) Fetch(ctx context.Context, from membership.ID, atLeast uint64, read func(io.Reader) error) error {
	l := t.link(from)
	if l == nil {
		return fmt.Errorf("%w %s", ErrUnknown, from)
	}
	if err := l.open(); err != nil {
		return err
	}
	c := call{method: http.MethodGet, path: "/raft/snapshot?index=" + strconv.FormatUint(atLeast, 10), header: t.header(from), to: from}
	err := t.request(ctx, l.targets(), askWait, c, func(a *answered) error {
		checkpoint := &unchunker{from: newFrames(a.Body)}
		if err := read(checkpoint); err != nil {
			return err
		}
		return checkpoint.finish()
	})
	t.judge(from, err)
	return err
}

// pacer spreads what is sent over time.
type pacer struct {
	rate int64 // bytes per second; negative: no bound

	mu   sync.Mutex // guards next
	next time.Time  // when all that was let through so far has had its time
}

// pause waits until n more bytes may be sent, or ctx ends.
func (p *pacer) pause(ctx context.Context, n int) error {
	if p.rate < 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	// pieceBytes is about how much goes out in one write. Between two pieces urgent
	// messages get their turn.
	pieceBytes = 256 << 10
	// keptBytes is the largest buffer that is kept for the next write.
	keptBytes = 1 << 20
)

// writer is the sending end of a stream: it encodes what waits in the queue into
// one buffer and writes it at once.
type writer struct {
	link  *link
	conn  net.Conn
	began time.Time // what the times in pings are counted from

	urgent, bulk []item // taken from the queue, not yet in a piece
	piece        []byte
	holds        []mark // what the piece consists of, but for a ping
}

// mark tells where in a piece the frame of an item is.
type mark struct {
	item
	start, end int
}

func newWriter(l *link, c net.Conn) *writer {
	return &writer{link: l, conn: c, began: time.Now()}
}

// run sends until ctx ends or the connection fails, and settles what is left.
func (w *writer) run(ctx context.Context) error {
	defer w.settle()
	ping := time.NewTicker(w.link.t.cfg.KeepAlive)
	defer ping.Stop()
	w.ping()
	for {
		if err := w.drain(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ping.C:
			w.ping()
		case <-w.link.queue.wake:
		}
	}
}

// drain writes until nothing waits.
func (w *writer) drain() error {
	for {
		w.urgent, w.bulk = w.link.queue.take(w.urgent, w.bulk)
		w.fill()
		if len(w.piece) == 0 {
			return nil
		}
		if err := w.write(); err != nil {
			return err
		}
	}
}

// ping asks the other end for a sign of life, ahead of everything else.
func (w *writer) ping() {
	start := len(w.piece)
	w.piece = beginFrame(w.piece, kindPing)
	w.piece = binary.LittleEndian.AppendUint64(w.piece, uint64(time.Since(w.began)))
	w.piece = endFrame(w.piece, start)
}

// fill makes a piece of what was taken.
func (w *writer) fill() {
	for _, i := range w.urgent {
		w.append(i)
	}
	clear(w.urgent)
	w.urgent = w.urgent[:0]
	n := 0
	for n < len(w.bulk) && len(w.piece) < pieceBytes {
		w.append(w.bulk[n])
		n++
	}
	left := copy(w.bulk, w.bulk[n:])
	clear(w.bulk[left:])
	w.bulk = w.bulk[:left]
}

func (w *writer) append(i item) {
	start := len(w.piece)
	if i.message != nil {
		w.piece = appendMessage(beginFrame(w.piece, kindMessage), i.message)
	} else {
		w.piece = appendWrites(beginFrame(w.piece, kindWrites), i.writes)
	}
	if payload := len(w.piece) - start - frameHeader; payload > frameBytesMax {
		w.piece = w.piece[:start]
		w.link.t.log.Error("too large to be sent to another member", "member", w.link.id, "bytes", payload)
		if !i.urgent() {
			w.link.queue.release(1, i.bytes)
		}
		w.lose(i)
		return
	}
	w.piece = endFrame(w.piece, start)
	w.holds = append(w.holds, mark{i, start, len(w.piece)})
}

// write sends the piece and accounts for what it held.
func (w *writer) write() error {
	n, err := w.conn.Write(w.piece)
	sent, messages, bytes := 0, 0, 0
	for _, m := range w.holds {
		if !m.urgent() {
			messages++
			bytes += m.bytes
		}
		switch {
		case m.end > n:
			// Not all of its frame was given to the system, so the other end
			// cannot have taken it.
			w.lose(m.item)
		case m.message != nil && m.message.GetType() == raftpb.MsgApp:
			sent++
			w.link.sent.bytes.Add(uint64(m.end - m.start))
		}
	}
	w.link.sent.messages.Add(uint64(sent))
	if messages > 0 {
		w.link.queue.release(messages, bytes)
	}
	clear(w.holds)
	w.holds, w.piece = w.holds[:0], w.piece[:0]
	if cap(w.piece) > keptBytes {
		w.piece = nil
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// lose gives back an item that was not sent.
func (w *writer) lose(i item) {
	if i.message != nil {
		w.link.lost(i.message)
		return
	}
	w.link.t.told.refuse(i.writes)
}

// settle gives back what was not sent. Of what was, the last may be lost too.
func (w *writer) settle() {
	q := w.link.queue
	q.shut()
	w.urgent, w.bulk = q.take(w.urgent, w.bulk)
	for _, i := range w.urgent {
		w.lose(i)
	}
	for _, i := range w.bulk {
		w.lose(i)
	}
	w.link.t.told.unreachable(w.link.id)
}

package v2

import (
	"context"
	"net/http"
	"time"

	"etcd2/etcdserver"
	"etcd2/store"
)

// answer is what a keys request other than a watch comes to, before it is put
// on the wire.
type answer struct {
	status  int
	refused bool                // body is an error, and there is no place in the log
	index   uint64              // X-Etcd-Index
	read    readNote            // X-Etcd-Read
	pos     etcdserver.Position // X-Raft-Index and X-Raft-Term
	body    []byte              // appended to the memory that was handed in
	dir     store.View          // of a directory: its listing is the body; Node is nil otherwise
}

// answer carries out a request. The body is appended to dst.
func (h *handler) answer(ctx context.Context, method string, q *request, dst []byte) answer {
	var note readNote
	if q.kind != writes {
		note = h.settle(q)
	}
	m := h.metrics.method(method, q.kind)
	m.received.Inc()
	start := time.Now()
	var a answer
	var err error
	if q.kind == writes {
		a, err = h.write(ctx, q, dst)
	} else {
		a, err = h.get(ctx, q, dst)
	}
	if err != nil {
		a = refused(refusal(err), dst)
		a.read = note
		h.metrics.requestFailed(m.name, a.status)
		return a
	}
	a.read = note
	m.duration.Observe(time.Since(start).Seconds())
	return a
}

// refused is the answer to a request that is not carried out.
func refused(e *store.Error, dst []byte) answer {
	return answer{status: status(e.Code), refused: true, index: e.Index, body: appendError(dst, e)}
}

// write carries out a write.
func (h *handler) write(ctx context.Context, q *request, dst []byte) (answer, error) {
	reply, err := h.Do(ctx, q.op)
	if err != nil {
		return answer{}, err
	}
	e := &reply.Event
	a := answer{
		status: http.StatusOK,
		index:  reply.Index,
		pos:    reply.Position,
	}
	if e.Action == store.Create || e.Action == store.CreateInOrder || e.Action == store.Set && e.Prev == nil {
		a.status = http.StatusCreated
	}
	if q.noValue && !removes(e.Action) {
		a.body = append(appendAction(dst, e.Action), "}\n"...)
	} else {
		a.body = appendEvent(dst, e, h.WallOffset())
	}
	return a, nil
}

// get reads a node.
func (h *handler) get(ctx context.Context, q *request, dst []byte) (answer, error) {
	h.metrics.countRead(q.recursive)
	var v store.View
	var pos etcdserver.Position
	var err error
	if q.kind == agreed {
		v, pos, err = h.QuorumGet(ctx, q.path)
	} else {
		v, pos, err = h.Get(q.path)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{status: http.StatusOK, index: v.Index, pos: pos, body: dst}
	if v.Node.Dir {
		a.dir = v
	} else {
		var at moment // of no use without a deadline
		if v.Node.Expires != 0 {
			at = h.moment()
		}
		a.body = appendFile(dst, v.Node, at)
	}
	return a, nil
}

// appendFile appends the answer to the get of a file.
func appendFile(dst []byte, n *store.Node, at moment) []byte {
	dst = appendAction(dst, store.Get)
	dst = append(dst, `,"node":`...)
	dst = appendNode(dst, n, at, true)
	return append(dst, "}\n"...)
}

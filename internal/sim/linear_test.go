package sim_test

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"etcd2/store"
)

// register is what the clients of one key can know of it.
type register struct {
	exists   bool
	value    string
	modified uint64
	expires  int64
	index    uint64 // the highest etcd index that was told
}

// seen is the outcome of an operation on one key. That of an Expire has an index
// of modification when it removed the key.
type seen struct{ answer }

// patience bounds the search for an order. It is far more than any run has
// needed, so that a run that exceeds it is worth a look.
const patience = 30 * time.Second

// checkLinearizable asks for each key whether there is an order of all requests
// in which each takes effect between its call and its answer and the answers are
// those of a single register.
//
// A write without an answer may take effect at any time after its call: the log,
// which has come to rest, tells whether it did at all and with what outcome.
// Otherwise the order is for the checker to find, which knows nothing of the log.
func (h *history) checkLinearizable() {
	for _, key := range keys() {
		result := porcupine.CheckOperationsTimeout(model(), h.operations(key), patience)
		if result != porcupine.Ok {
			h.c.Fatalf("the requests for %s are not linearizable (%v):%s", key, result, describe(h.operations(key)))
		}
	}
}

// operations are the requests that concern a key.
func (h *history) operations(key string) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, q := range h.requests {
		if q.op.Path != key && q.op.Action != store.Expire {
			continue
		}
		out, done := h.outcomes[q.id]
		if q.ret == 0 && !done {
			continue // a read that was given up, or a write that was lost
		}
		o := porcupine.Operation{Input: q, Call: q.call, Return: q.ret}
		s := &seen{answer: q.answer}
		if q.ret == 0 {
			o.Return, s.answer = math.MaxInt64, out.answer
		}
		if q.op.Action == store.Expire {
			if s.modified = out.expired[key]; s.modified == 0 {
				continue // it is not about this key, and no client has asked for it
			}
		}
		if q.ret == 0 && s.modified == 0 {
			continue // it has changed nothing and told nobody
		}
		o.Output = s
		ops = append(ops, o)
	}
	return ops
}

func describe(ops []porcupine.Operation) string {
	text := ""
	for _, o := range ops {
		q, a := o.Input.(*request), o.Output.(*seen)
		text += fmt.Sprintf("\n[%d, %d] %v %q ttl %v prevIndex %d refresh %v at %d -> code %d index %d: exists %v %q modified %d, was %d",
			o.Call, o.Return, q.op.Action, q.op.Value, q.op.TTL, q.op.PrevIndex, q.op.Refresh, q.stamp,
			a.code, a.index, a.exists, a.value, a.modified, a.prev)
	}
	return text
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(register), input.(*request), output.(*seen))
		},
	}
}

// step tells whether an operation may have had an outcome, and what it leaves.
func step(r register, q *request, out *seen) (bool, register) {
	if out.index < r.index {
		return false, r // the index never goes back
	}
	next := r
	next.index = out.index
	switch code := r.refusal(q.op); {
	case q.op.Action == store.Get:
		return out.exists == r.exists && out.value == r.value && out.modified == r.modified, next
	case q.op.Action == store.Expire:
		return r.expire(q, out, next)
	case code != 0 || out.code != 0:
		return out.code == code, next
	}
	if out.modified <= r.index || out.prev != r.modified {
		return false, r
	}
	next.exists = q.op.Action != store.Delete && q.op.Action != store.CompareAndDelete
	next.value, next.modified, next.expires = "", 0, 0
	if next.exists {
		next.value, next.modified = q.op.Value, out.modified
		if q.op.Refresh {
			next.value = r.value
		}
		if q.op.HasTTL {
			next.expires = q.stamp + int64(q.op.TTL)
		}
	}
	return out.exists == next.exists && out.value == next.value, next
}

// expire removes the key if it is due.
func (r register) expire(q *request, out *seen, next register) (bool, register) {
	if !r.exists || r.expires == 0 || r.expires > q.stamp {
		return out.modified == 0, next
	}
	return out.modified > r.index, register{index: next.index}
}

// refusal is what a write is answered when it changes nothing, or zero.
func (r register) refusal(op store.Op) store.Code {
	missing := op.Action != store.Create && (op.Action != store.Set || op.Refresh)
	switch {
	case op.Action == store.Create && r.exists:
		return store.NodeExist
	case missing && !r.exists:
		return store.KeyNotFound
	case op.PrevIndex != 0 && op.PrevIndex != r.modified:
		return store.CompareFailed
	}
	return 0
}

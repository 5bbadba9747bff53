package v2

import (
	"strconv"
	"time"

	"etcd2/store"
)

// How a read that does not say so is served: Config.DefaultRead.
const (
	// ReadLocal answers from the tree of the member that is asked, at once, with or
	// without a leader. The tree may lag behind the cluster.
	ReadLocal = "local"
	// ReadQuorum answers what the cluster has agreed on, and needs a quorum.
	ReadQuorum = "quorum"
)

// maxStaleMax is the longest age a client can ask for. Whoever takes more takes
// anything, and need not ask.
const maxStaleMax = ttlSecondsMax * time.Second

// readMode is how a get was served.
type readMode uint8

const (
	unread  readMode = iota // no get, or one that says nothing
	local                   // from the tree of this member
	quorate                 // what the quorum agrees on
)

// readNote is what an answer says about the get behind it, in X-Etcd-Read.
type readNote struct {
	mode  readMode
	age   time.Duration // how far the answer may lie behind the cluster, at most
	known bool          // else this member has never heard from a leader
}

// settle decides how a get is served. A client that bounds the age of its answer
// gets one of this member's while that is young enough, else the quorum's, whatever
// the default is. A get as 2.3.8 knows it, local as ever, is answered as ever and
// says nothing.
func (h *handler) settle(q *request) readNote {
	if q.kind == reads && !q.bounded && !h.quorumReads {
		h.metrics.countMode(local, false)
		return readNote{}
	}
	if q.kind == reads {
		// The age is taken before the tree is read, so what is read is no older.
		age, known := h.Age()
		here := q.local
		if q.bounded {
			here = known && age <= q.maxStale
		}
		if here {
			h.metrics.countMode(local, q.bounded)
			return readNote{local, age, known}
		}
		q.kind = agreed
	}
	h.metrics.countMode(quorate, q.bounded)
	return readNote{mode: quorate, known: true}
}

// append appends the value of X-Etcd-Read, such as "local; age=12ms". The age is
// rounded up, because it is a bound.
func (n readNote) append(dst []byte) []byte {
	if n.mode == quorate {
		return append(dst, "quorum; age=0s"...)
	}
	dst = append(dst, "local; age="...)
	ms := (n.age + time.Millisecond - 1) / time.Millisecond
	switch {
	case !n.known:
		return append(dst, "unknown"...)
	case ms == 0:
		return append(dst, "0s"...)
	case ms < 1000: // all but those of a member in trouble
		return append(strconv.AppendInt(dst, int64(ms), 10), "ms"...)
	}
	return append(dst, (ms * time.Millisecond).String()...)
}

// staleness reads maxStale: a duration such as 500ms, or whole seconds as ttl has
// them.
func (f *form) staleness() (d time.Duration, given bool) {
	if !f.given[maxStale] {
		return 0, false
	}
	text := f.values[maxStale]
	d, err := time.ParseDuration(text)
	if seconds, e := strconv.ParseUint(text, 10, 32); e == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 || d > maxStaleMax {
		f.fail(store.InvalidField, `invalid value for "maxStale"`)
	}
	return d, true
}

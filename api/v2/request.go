package v2

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"etcd2/store"
)

// ttlSecondsMax is the longest time to live, some 31 years. More would soon not
// fit the nanoseconds in which deadlines are kept.
const ttlSecondsMax = 1_000_000_000

// A key becomes a record name in the checkpoint, and each directory on the way
// to it another one that repeats the path. These bounds keep one small request
// from making records that are too long to store, or gigabytes of them.
const (
	keyBytesMax = 32_000
	keyDepthMax = 1_000
)

// kind is what a keys request wants.
type kind uint8

const (
	reads  kind = iota // a get of this member's tree
	agreed             // a get of what the quorum agrees on
	writes
	watches
)

// request is one parsed request on /v2/keys.
type request struct {
	kind    kind
	op      store.Op // of a write; Now is not set
	path    string   // whole-store path
	noValue bool     // a write answers with its action only

	recursive bool
	stream    bool
	since     uint64 // first index of interest to a watch

	local    bool          // a get asks for this member's tree, whatever the default is
	bounded  bool          // a get asks for an answer that is no older than maxStale
	maxStale time.Duration // with bounded
}

// parseKeys reads a request on /v2/keys. key is what follows the prefix in the
// clean, decoded path; query is still encoded, and so is body, which is "" unless
// it carries a form. Every parameter is checked on every method, in the order of
// the protocol, and the first that is wrong is the refusal.
func parseKeys(method, key, query, body string) (request, *store.Error) {
	var f form
	if cause := f.add(body); cause != "" {
		return request{}, refuse(store.InvalidForm, cause)
	}
	if cause := f.add(query); cause != "" {
		return request{}, refuse(store.InvalidForm, cause)
	}
	q := request{path: storePath(key)}
	err := q.read(method, &f)
	return q, err
}

func refuse(c store.Code, cause string) *store.Error {
	return &store.Error{Code: c, Cause: cause}
}

// fail says that a parameter is wrong. Only the first one counts.
func (f *form) fail(code store.Code, cause string) {
	if f.err == nil {
		f.err = refuse(code, cause)
	}
}

// flag reads a boolean parameter, false when absent. name is how the cause
// writes it.
func (f *form) flag(p param, name string) bool {
	if !f.given[p] {
		return false
	}
	switch f.values[p] {
	case "1", "t", "T", "TRUE", "true", "True":
		return true
	case "0", "f", "F", "FALSE", "false", "False":
		return false
	}
	f.fail(store.InvalidField, "invalid value for "+name)
	return false
}

// index reads an index, 0 when absent.
func (f *form) index(p param, name string) uint64 {
	if !f.given[p] {
		return 0
	}
	n, err := strconv.ParseUint(f.values[p], 10, 64)
	if err != nil {
		f.fail(store.IndexNaN, "invalid value for "+name)
	}
	return n
}

// read checks the parameters and decides what is to be done.
func (q *request) read(method string, f *form) *store.Error {
	q.op.PrevIndex = f.index(prevIndex, `"prevIndex"`)
	q.since = f.index(waitIndex, `"waitIndex"`)
	q.recursive = f.flag(recursive, `"recursive"`)
	f.flag(sorted, `"sorted"`) // every listing is sorted
	waits := f.flag(wait, `"wait"`)
	q.op.Dir = f.flag(dir, `"dir"`)
	agrees := f.flag(quorum, `"quorum"`)
	q.stream = f.flag(stream, `"stream"`)
	if waits && method != "GET" {
		f.fail(store.InvalidField, `"wait" can only be used with GET requests`)
	}
	q.op.PrevValue = f.values[prevValue]
	if f.given[prevValue] && q.op.PrevValue == "" {
		f.fail(store.PrevValueEmpty, `"prevValue" cannot be empty`)
	}
	q.noValue = f.flag(noValueOnSuccess, `"noValueOnSuccess"`)
	if text := f.values[ttl]; text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n > ttlSecondsMax {
			f.fail(store.TTLNaN, `invalid value for "ttl"`)
		}
		q.op.TTL, q.op.HasTTL = time.Duration(n)*time.Second, true
	}
	exists := f.flag(prevExist, "prevExist")
	q.op.Refresh = f.flag(refresh, "refresh")
	q.op.Value = f.values[value]
	if q.op.Refresh && q.op.Value != "" {
		f.fail(store.RefreshValue, "A value was provided on a refresh")
	}
	if q.op.Refresh && !q.op.HasTTL {
		f.fail(store.RefreshTTLNeeded, "No TTL value set")
	}
	// Last, since 2.3.8 does not know it: what it refuses is refused for its reason.
	staleness, bounded := f.staleness()
	if f.err != nil {
		return f.err
	}

	switch {
	case method == "PUT":
		return q.put(f.given[prevExist], exists)
	case method == "POST":
		return q.post()
	case method == "DELETE":
		q.remove()
	case method == "GET" && agrees:
		q.kind = agreed
	case waits:
		q.kind = watches
	default: // quorum=true on a HEAD asks for nothing
		q.local = f.given[quorum] && !agrees
		q.maxStale, q.bounded = staleness, bounded
	}
	return nil
}

// compares reports whether the request has a condition on the old node.
func (q *request) compares() bool { return q.op.PrevValue != "" || q.op.PrevIndex != 0 }

// put turns the request into one of the four writes of PUT.
func (q *request) put(existGiven, exists bool) *store.Error {
	switch {
	case existGiven && !exists:
		q.op.Action = store.Create
		q.op.Refresh = false
		q.op.PrevValue, q.op.PrevIndex = "", 0
	case q.compares():
		q.op.Action = store.CompareAndSwap
		q.op.Dir = false
	case existGiven:
		q.op.Action = store.Update
		q.op.Dir = false
	default:
		q.op.Action = store.Set
	}
	return q.write()
}

// post turns the request into an in-order create.
func (q *request) post() *store.Error {
	q.op.Action = store.CreateInOrder
	q.op.Refresh = false
	q.op.PrevValue, q.op.PrevIndex = "", 0
	return q.write()
}

// write completes a write that may add a key.
func (q *request) write() *store.Error {
	q.kind = writes
	q.op.Path = q.path
	if q.op.Dir {
		q.op.Value = ""
	}
	if len(q.path) > keyBytesMax {
		return refuse(store.InvalidField, fmt.Sprintf("key is longer than %d bytes", keyBytesMax))
	}
	if strings.Count(q.path, "/") > keyDepthMax {
		return refuse(store.InvalidField, fmt.Sprintf("key is deeper than %d directories", keyDepthMax))
	}
	return nil
}

// remove turns the request into one of the two writes of DELETE.
func (q *request) remove() {
	q.kind = writes
	op := store.Op{Action: store.Delete, Path: q.path, Dir: q.op.Dir || q.recursive, Recursive: q.recursive}
	if q.compares() {
		op = store.Op{Action: store.CompareAndDelete, Path: q.path, PrevValue: q.op.PrevValue, PrevIndex: q.op.PrevIndex}
	}
	q.op = op
}

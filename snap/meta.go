package snap

import (
	"encoding/binary"
	"fmt"

	"etcd2/store"

	bolt "go.etcd.io/bbolt"
)

// formatVersion is the newest format this program reads, and the one it writes.
const formatVersion = 1

var headKey = []byte("head")

// Meta says which moment a checkpoint holds. The caller of Commit fills in the
// first five fields, the Store the others.
type Meta struct {
	Index     uint64 // raft index of the last entry the tree contains; 0 before the first commit
	Term      uint64 // raft term of that entry
	Conf      []byte // raft configuration at that entry, a marshalled raftpb.ConfState
	ClusterID uint64
	MemberID  uint64 // the member the file belongs to

	Sequence   uint64 // commits since the file was made; 0 before the first one
	Installed  uint64 // Index when the file came from another member; 0 for one that did not, and from the next commit on
	StoreIndex uint64 // etcd index
	Nodes      uint64 // nodes of the tree, the fixed directories left out
	Events     uint64 // events of the history
}

// head is the one record of the meta bucket: what Meta tells, and what is
// needed to build the store and to check the other buckets.
type head struct {
	Meta
	clock    int64
	counters store.Stats
	nodes    tally
	long     tally
	events   tally
}

// meta is the part of the head that callers see.
func (h *head) meta() Meta {
	m := h.Meta
	m.Nodes = h.nodes.count + h.long.count
	m.Events = h.events.count
	return m
}

// tally finds the sums of a bucket.
func (h *head) tally(bucket string) *tally {
	switch bucket {
	case nodesBucket:
		return &h.nodes
	case longBucket:
		return &h.long
	case eventsBucket:
		return &h.events
	}
	panic("snap: no tally for bucket " + bucket)
}

// put writes the head in a transaction.
func (h *head) put(tx *bolt.Tx) error {
	value := h.append(make([]byte, sumSize, 256))
	seal(metaBucket, headKey, value)
	return tx.Bucket([]byte(metaBucket)).Put(headKey, value)
}

// headOf reads the head in a transaction.
func headOf(tx *bolt.Tx, file string) (*head, error) {
	return openHead(tx.Bucket([]byte(metaBucket)).Get(headKey), file)
}

// openHead checks and reads the value of the meta bucket's record.
func openHead(value []byte, file string) (*head, error) {
	payload, ok := unseal(metaBucket, headKey, value)
	if !ok {
		return nil, corrupt(file, "the head record has a wrong checksum")
	}
	h, err := parseHead(payload)
	if err != nil {
		return nil, headError(file, err)
	}
	return h, nil
}

// append encodes the head. Every version of the format begins with its number,
// four bytes, and is sealed like any record.
func (h *head) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, formatVersion)
	for _, v := range []uint64{
		h.Sequence, h.Index, h.Term, h.ClusterID, h.MemberID, h.StoreIndex, uint64(h.clock), h.Installed,
		h.nodes.count, h.nodes.sum, h.long.count, h.long.sum, h.events.count, h.events.sum,
	} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, uint32(len(h.Conf)))
	b = append(b, h.Conf...)
	return h.counters.AppendBinary(b)
}

// versionError is the version number of a head that cannot be read.
type versionError uint32

func (v versionError) Error() string {
	return fmt.Sprintf("format %d, this program reads up to %d", uint32(v), formatVersion)
}

// parseHead decodes what append encoded; the checksum was found right.
func parseHead(b []byte) (*head, error) {
	const fixed = 4 + 14*8 + 4
	le := binary.LittleEndian
	if len(b) < 4 {
		return nil, fmt.Errorf("the head record has %d bytes", len(b))
	}
	if v := le.Uint32(b); v > formatVersion {
		return nil, versionError(v)
	} else if v == 0 {
		return nil, fmt.Errorf("the head record has format 0")
	}
	if len(b) < fixed {
		return nil, fmt.Errorf("the head record has %d bytes", len(b))
	}
	h := &head{}
	clock := uint64(0)
	for i, p := range []*uint64{
		&h.Sequence, &h.Index, &h.Term, &h.ClusterID, &h.MemberID, &h.StoreIndex, &clock, &h.Installed,
		&h.nodes.count, &h.nodes.sum, &h.long.count, &h.long.sum, &h.events.count, &h.events.sum,
	} {
		*p = le.Uint64(b[4+8*i:])
	}
	h.clock = int64(clock)
	conf, rest := uint64(le.Uint32(b[fixed-4:])), b[fixed:]
	if conf > uint64(len(rest)) {
		return nil, fmt.Errorf("the raft configuration is cut off")
	}
	if conf > 0 {
		h.Conf = append([]byte(nil), rest[:conf]...)
	}
	counters, err := store.ParseStats(rest[conf:])
	if err != nil {
		return nil, fmt.Errorf("the counters: %w", err)
	}
	h.counters = counters
	return h, nil
}

package etcdserver

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"etcd2/membership"
	"etcd2/store"
)

// A normal log entry is a byte that tells its kind, the request id of the member
// that asked for it, the cluster's time when the leader proposed it (8 bytes each,
// big endian) and a body. A leader's first entry of a term is empty and means
// nothing.
const (
	entryOperation = 2 // the body is an operation as package store encodes it, without its time
	entryAgreement = 3 // a place in the log at which the members compare their trees

	entryTime   = 1 + 8
	entryHeader = 1 + 8 + 8
)

var errEntry = errors.New("etcdserver: log entry of an unknown form")

// entry is a decoded log entry. Its body shares the memory it was read from.
type entry struct {
	kind byte
	id   uint64 // of the request
	now  int64  // cluster time, Unix nanoseconds
	body []byte
}

// encodeOperation makes an entry of an operation. The time is the leader's to
// tell, see stamp.
func encodeOperation(id uint64, op store.Op) []byte {
	op.Now = 0
	buf := make([]byte, entryHeader, entryHeader+64+len(op.Path)+len(op.Value)+len(op.PrevValue))
	buf[0] = entryOperation
	binary.BigEndian.PutUint64(buf[1:], id)
	return op.AppendBinary(buf)
}

// encodeMark makes an entry at which the members compare their trees.
func encodeMark() []byte {
	buf := make([]byte, entryHeader)
	buf[0] = entryAgreement
	return buf
}

// stamp writes the cluster's time into an encoded entry.
func stamp(data []byte, now int64) {
	binary.BigEndian.PutUint64(data[entryTime:], uint64(now))
}

func decodeEntry(data []byte) (entry, error) {
	if len(data) < entryHeader {
		return entry{}, fmt.Errorf("%w: %d bytes", errEntry, len(data))
	}
	e := entry{
		kind: data[0],
		id:   binary.BigEndian.Uint64(data[1:]),
		now:  int64(binary.BigEndian.Uint64(data[entryTime:])),
		body: data[entryHeader:],
	}
	if e.kind != entryOperation && e.kind != entryAgreement {
		return entry{}, fmt.Errorf("%w: kind %d, this program knows %d and %d", errEntry, e.kind, entryOperation, entryAgreement)
	}
	return e, nil
}

// operation decodes the body of an entryOperation.
func (e entry) operation() (store.Op, error) {
	op, err := store.ParseOp(e.body)
	op.Now = e.now
	return op, err
}

// memberRecord is a member as the log knows it: in the entry that adds it, and in the
// metadata.
type memberRecord struct {
	ID       membership.ID `json:"id"`
	Name     string        `json:"name,omitempty"`
	PeerURLs []string      `json:"peerURLs"`
}

func (r memberRecord) member() membership.Member {
	return membership.Member{ID: r.ID, Name: r.Name, PeerURLs: r.PeerURLs}
}

// identity is the metadata of the log: whose it is, and with which members the
// cluster began or, for a member that joined it, whom to reach first. A log is
// made with it in one step, so a member that dies before its first entry needs
// nothing else to begin again.
type identity struct {
	Version  int            `json:"version"`
	Member   membership.ID  `json:"member"`
	Cluster  membership.ID  `json:"cluster"`
	Founders []memberRecord `json:"founders,omitempty"`
	Remotes  []memberRecord `json:"remotes,omitempty"`
}

const identityVersion = 1

// newIdentity is the identity of a member that founds or joins a cluster.
func newIdentity(cfg Config) (identity, error) {
	who := identity{Version: identityVersion, Member: cfg.Self, Cluster: cfg.ClusterID}
	switch {
	case cfg.Join && len(cfg.Founders) > 0:
		return identity{}, errors.New("etcdserver: Config.Join and Config.Founders exclude each other")
	case cfg.Join:
		who.Remotes = memberRecords(cfg.Remotes)
	case !slices.ContainsFunc(cfg.Founders, func(m membership.Member) bool { return m.ID == cfg.Self }):
		return identity{}, fmt.Errorf("etcdserver: Config.Founders lacks the member itself, %s", cfg.Self)
	default:
		who.Founders = memberRecords(cfg.Founders)
	}
	return who, nil
}

// memberRecords are members in ascending order of ID, the order in which every
// founding member writes them into its log.
func memberRecords(members []membership.Member) []memberRecord {
	var list []memberRecord
	for _, m := range members {
		list = append(list, memberRecord{m.ID, m.Name, m.PeerURLs})
	}
	slices.SortFunc(list, func(a, b memberRecord) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func decodeIdentity(b []byte) (identity, error) {
	var who identity
	err := json.Unmarshal(b, &who)
	// A value of another type does not keep the others from being read. In another
	// version it is no fault.
	if other := new(json.UnmarshalTypeError); err != nil && (!errors.As(err, &other) || who.Version == identityVersion) {
		return identity{}, fmt.Errorf("metadata %q is not that of a member: %w", b, err)
	}
	if who.Version != identityVersion {
		return identity{}, fmt.Errorf("metadata of version %d, this program knows %d", who.Version, identityVersion)
	}
	return who, nil
}

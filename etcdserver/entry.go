package etcdserver

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"etcd2/membership"
	"etcd2/store"
)

// A normal log entry is a version byte, the request id of the member that
// proposed it (8 bytes, big endian) and the operation as package store encodes
// it. A leader's first entry of a term is empty and means nothing.
const (
	entryVersion = 1
	entryHeader  = 1 + 8
)

var errEntry = errors.New("etcdserver: log entry of an unknown form")

func encodeEntry(id uint64, op store.Op) []byte {
	buf := make([]byte, entryHeader, entryHeader+64+len(op.Path)+len(op.Value)+len(op.PrevValue))
	buf[0] = entryVersion
	binary.BigEndian.PutUint64(buf[1:], id)
	return op.AppendBinary(buf)
}

func decodeEntry(data []byte) (id uint64, op store.Op, err error) {
	if len(data) < entryHeader {
		return 0, store.Op{}, fmt.Errorf("%w: %d bytes", errEntry, len(data))
	}
	if data[0] != entryVersion {
		return 0, store.Op{}, fmt.Errorf("%w: version %d, this program knows %d", errEntry, data[0], entryVersion)
	}
	op, err = store.ParseOp(data[entryHeader:])
	return binary.BigEndian.Uint64(data[1:]), op, err
}

// founder is a member as the log knows it: in the entry that adds it, and in the
// metadata.
type founder struct {
	ID       membership.ID `json:"id"`
	Name     string        `json:"name,omitempty"`
	PeerURLs []string      `json:"peerURLs"`
}

func (f founder) member() membership.Member {
	return membership.Member{ID: f.ID, Name: f.Name, PeerURLs: f.PeerURLs}
}

func decodeFounder(b []byte) (founder, error) {
	var f founder
	if err := json.Unmarshal(b, &f); err != nil {
		return founder{}, fmt.Errorf("%w: member %q: %w", errEntry, b, err)
	}
	return f, nil
}

// identity is the metadata of the log: whose it is, and with which members the
// cluster began. A log is made with it in one step, so a member that dies before
// its first entry needs nothing else to begin again.
type identity struct {
	Version  int           `json:"version"`
	Member   membership.ID `json:"member"`
	Cluster  membership.ID `json:"cluster"`
	Founders []founder     `json:"founders"`
}

const identityVersion = 1

// newIdentity is the identity of a founding member.
func newIdentity(cfg Config) identity {
	who := identity{Version: identityVersion, Member: cfg.Self, Cluster: cfg.ClusterID}
	for _, m := range cfg.Founders {
		who.Founders = append(who.Founders, founder{m.ID, m.Name, m.PeerURLs})
	}
	return who
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

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

// founder is the context of a log entry that adds a member.
type founder struct {
	ID       membership.ID `json:"id"`
	Name     string        `json:"name,omitempty"`
	PeerURLs []string      `json:"peerURLs"`
}

func encodeMember(m membership.Member) ([]byte, error) {
	return json.Marshal(founder{m.ID, m.Name, m.PeerURLs})
}

func decodeMember(b []byte) (membership.Member, error) {
	var f founder
	if err := json.Unmarshal(b, &f); err != nil {
		return membership.Member{}, fmt.Errorf("%w: member %q: %w", errEntry, b, err)
	}
	return membership.Member{ID: f.ID, Name: f.Name, PeerURLs: f.PeerURLs}, nil
}

// identity is the metadata of the log: whose it is.
type identity struct {
	member, cluster membership.ID
}

const (
	identityVersion = 1
	identitySize    = 1 + 8 + 8
)

func (i identity) encode() []byte {
	b := make([]byte, 0, identitySize)
	b = append(b, identityVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(i.member))
	return binary.BigEndian.AppendUint64(b, uint64(i.cluster))
}

func decodeIdentity(b []byte) (identity, error) {
	if len(b) != identitySize || b[0] != identityVersion {
		return identity{}, fmt.Errorf("metadata %x is not that of a member of this version", b)
	}
	return identity{
		member:  membership.ID(binary.BigEndian.Uint64(b[1:])),
		cluster: membership.ID(binary.BigEndian.Uint64(b[9:])),
	}, nil
}

package etcdserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"etcd2/membership"
	"etcd2/store"
)

// Members ask each other about a mark: for the digest of the tree there, and for
// the nodes of one bucket of it. A question is the raft index of the mark (8 bytes,
// big endian) and the number of the bucket (2 bytes).
//
// An answer begins with one of these bytes. Behind it follows a digest as package
// store encodes it, or the nodes of the bucket in tree order: for each the length
// of its path as a varint, the path and the 16 bytes of its hash.
const (
	digestLater = 0 // the member has not come to the mark yet: ask again
	digestGone  = 1 // it will not tell
	digestHere  = 2
	digestPart  = 3 // the nodes do not fit all, these are the first
)

const (
	bucketBytesMax = 1 << 20 // of the nodes in an answer; the rest of the bucket is left out
	bucketsLocated = 4       // buckets looked into for keys that differ
	pathsLocated   = 5       // keys named
)

func encodeDigestQuestion(index uint64, bucket int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, index), uint16(bucket))
}

func decodeDigestQuestion(b []byte) (index uint64, bucket int, err error) {
	if len(b) != 10 {
		return 0, 0, fmt.Errorf("etcdserver: question about a digest of %d bytes, want 10", len(b))
	}
	return binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint16(b[8:])), nil
}

// decodeDigestAnswer returns the digest, or whether there will never be one.
func decodeDigestAnswer(b []byte) (d *store.Digest, final bool) {
	switch {
	case len(b) == 1 && b[0] == digestLater:
		return nil, false
	case len(b) > 1 && b[0] == digestHere:
		if parsed, err := store.ParseDigest(b[1:]); err == nil {
			return &parsed, true
		}
	}
	return nil, true // or a form of a later version
}

// answerDigest answers questionDigest.
func (s *Server) answerDigest(body []byte) ([]byte, error) {
	index, _, err := decodeDigestQuestion(body)
	if err != nil {
		return nil, err
	}
	applied := s.progress.index.Load()
	a := s.agreement
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.known {
		if k.index == index {
			return k.digest.AppendBinary([]byte{digestHere}), nil
		}
	}
	last := uint64(0)
	if n := len(a.known); n > 0 {
		last = a.known[n-1].index
	}
	if last > index || a.seen < index && applied >= index || !a.serves() {
		return []byte{digestGone}, nil
	}
	return []byte{digestLater}, nil
}

// answerBucket answers questionBucket.
func (s *Server) answerBucket(body []byte) ([]byte, error) {
	index, bucket, err := decodeDigestQuestion(body)
	if err != nil {
		return nil, err
	}
	view, ok := s.agreement.viewAt(index)
	if !ok {
		return []byte{digestGone}, nil
	}
	answer := []byte{digestHere}
	for n, h := range view.Bucket(bucket) {
		if len(answer)+len(n.Path) > bucketBytesMax {
			answer[0] = digestPart
			break
		}
		answer = binary.AppendUvarint(answer, uint64(len(n.Path)))
		answer = append(answer, n.Path...)
		answer = h.Append(answer)
	}
	return answer, nil
}

// viewAt is the tree at the last mark, if it is still there.
func (a *agreement) viewAt(index uint64) (store.View, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.known)
	return a.view, n > 0 && a.known[n-1].index == index && a.view.Node != nil
}

// locate names some of the keys at which a member's tree differs. When it cannot
// find out, it names none.
func (s *Server) locate(ctx context.Context, c *check, id membership.ID) []string {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.requestTimeout())
	defer cancel()
	var paths []string
	buckets := c.own.Differing(c.digests[id])
	for _, bucket := range buckets[:min(len(buckets), bucketsLocated)] {
		answer, err := s.peers.Ask(ctx, id, questionBucket, encodeDigestQuestion(c.index, bucket))
		if err != nil || len(answer) == 0 || answer[0] != digestHere && answer[0] != digestPart {
			break
		}
		theirs, err := parseBucket(answer[1:])
		if err != nil {
			break
		}
		whole := answer[0] == digestHere
		paths = append(paths, differingPaths(c.view, bucket, theirs, whole, pathsLocated-len(paths))...)
		if len(paths) == pathsLocated {
			break
		}
	}
	return paths
}

// record is a node as another member tells of it.
type record struct {
	path string
	hash store.Hash
}

func parseBucket(b []byte) ([]record, error) {
	var list []record
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)) || used+int(n)+16 > len(b) {
			return nil, fmt.Errorf("etcdserver: answer about a bucket is cut off")
		}
		path := b[used : used+int(n)]
		b = b[used+int(n):]
		list = append(list, record{string(path), store.ParseHash(b)})
		b = b[16:]
	}
	return list, nil
}

// differingPaths lists the keys of one bucket, limit of them at most, that the
// other member has not, or this one, or that differ. Where a list that is not whole
// ends, the search ends.
func differingPaths(view store.View, bucket int, theirs []record, whole bool, limit int) []string {
	var paths []string
	add := func(path string) bool {
		paths = append(paths, path)
		return len(paths) < limit
	}
	for n, h := range view.Bucket(bucket) {
		for len(theirs) > 0 && before(theirs[0].path, n.Path) {
			if !add(theirs[0].path) {
				return paths
			}
			theirs = theirs[1:]
		}
		switch {
		case len(theirs) == 0 && !whole:
			return paths
		case len(theirs) > 0 && theirs[0].path == n.Path:
			equal := theirs[0].hash == h
			theirs = theirs[1:]
			if equal {
				continue
			}
		}
		if !add(n.Path) {
			return paths
		}
	}
	for _, r := range theirs {
		if !add(r.path) {
			break
		}
	}
	return paths
}

// before tells whether a path comes first in tree order.
func before(a, b string) bool {
	return bytes.Compare(store.AppendKey(nil, a), store.AppendKey(nil, b)) < 0
}

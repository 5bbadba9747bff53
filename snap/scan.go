package snap

import (
	"bytes"
	"slices"

	"etcd2/store"
)

// sink takes the records of a checkpoint as a scan finds them: the nodes in
// tree order, then the events in index order. A payload is good until sink
// returns.
type sink func(kind recordKind, payload []byte) error

type recordKind uint8

const (
	nodeRecord recordKind = iota + 1
	eventRecord
)

// buckets are the contents of the root bucket: by name, the header of each
// bucket and, when it is small, its page.
type buckets map[string][]byte

// scan checks the whole file and hands every record to take, which may be nil.
// Only when it returns without an error was what take saw true.
func (im *image) scan(take sink) (*head, error) {
	all, err := im.buckets()
	if err != nil {
		return nil, err
	}
	h, err := im.headIn(all)
	if err != nil {
		return nil, err
	}
	if take == nil {
		take = func(recordKind, []byte) error { return nil }
	}
	if err := im.scanNodes(all, h, take); err != nil {
		return nil, err
	}
	err = im.records(all, eventsBucket, h, func(key, payload []byte) error {
		if len(key) != 8 {
			return im.corrupt("an event has a key of %d bytes", len(key))
		}
		return take(eventRecord, payload)
	})
	if err != nil {
		return nil, err
	}
	return h, im.checkFreelist()
}

// head reads the head record alone, and the pages that lead to it.
func (im *image) head() (*head, error) {
	all, err := im.buckets()
	if err != nil {
		return nil, err
	}
	return im.headIn(all)
}

// buckets reads the root bucket.
func (im *image) buckets() (buckets, error) {
	all := buckets{}
	err := im.walk(im.root, func(e element) error {
		if e.flags != subBucket || len(e.value) < bucketHeader || !slices.Contains(bucketNames[:], string(e.key)) {
			return im.corrupt("foreign entry %q in the root bucket", e.key)
		}
		all[string(e.key)] = bytes.Clone(e.value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range bucketNames {
		if all[name] == nil {
			return nil, im.corrupt("bucket %q is missing", name)
		}
	}
	return all, nil
}

// bucket visits the elements of one bucket, all of which must be plain records.
func (im *image) bucket(all buckets, name string, each func(key, value []byte) error) error {
	root, sequence := native.Uint64(all[name]), native.Uint64(all[name][8:])
	if sequence != 0 {
		return im.corrupt("bucket %q has sequence %d", name, sequence)
	}
	plain := func(e element) error {
		if e.flags != 0 {
			return im.corrupt("bucket %q: record with flags %#x", name, e.flags)
		}
		return each(e.key, e.value)
	}
	if inline := all[name][bucketHeader:]; root == 0 {
		return im.walkInline(inline, plain)
	} else if len(inline) > 0 {
		return im.corrupt("bucket %q has two roots", name)
	}
	return im.walk(root, plain)
}

func (im *image) headIn(all buckets) (*head, error) {
	var h *head
	err := im.bucket(all, metaBucket, func(key, value []byte) error {
		if h != nil || !bytes.Equal(key, headKey) {
			return im.corrupt("foreign record %q in bucket %q", key, metaBucket)
		}
		var err error
		h, err = openHead(value, im.name)
		return err
	})
	if err == nil && h == nil {
		err = im.corrupt("the head record is missing")
	}
	return h, err
}

// records visits the checked payloads of a bucket and compares the bucket's
// sums with those in the head.
func (im *image) records(all buckets, name string, h *head, each func(key, payload []byte) error) error {
	var found tally
	err := im.bucket(all, name, func(key, value []byte) error {
		payload, ok := unseal(name, key, value)
		if !ok {
			return im.corrupt("bucket %q: record %.64q has a wrong checksum", name, key)
		}
		found.add(key, value)
		return each(key, payload)
	})
	if err != nil {
		return err
	}
	if want := *h.tally(name); found.count != want.count {
		return im.corrupt("bucket %q has %d records, the head says %d", name, found.count, want.count)
	} else if found.sum != want.sum {
		return im.corrupt("bucket %q: all records are sound, but some are not of this checkpoint", name)
	}
	return nil
}

// longNode is a node of the long bucket on its way to its place in tree order.
type longNode struct{ key, payload []byte }

// scanNodes merges the long bucket, which is in no useful order, into the nodes.
func (im *image) scanNodes(all buckets, h *head, take sink) error {
	var long []longNode
	err := im.records(all, longBucket, h, func(key, payload []byte) error {
		n, err := store.ParseNode(payload)
		if err != nil || !bytes.Equal(key, longKey(n.Path)) {
			return im.corrupt("bucket %q: malformed record %x", longBucket, key)
		}
		long = append(long, longNode{store.AppendKey(make([]byte, 0, len(n.Path)), n.Path), bytes.Clone(payload)})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(long, func(a, b longNode) int { return bytes.Compare(a.key, b.key) })
	err = im.records(all, nodesBucket, h, func(key, payload []byte) error {
		for len(long) > 0 && bytes.Compare(long[0].key, key) < 0 {
			if err := take(nodeRecord, long[0].payload); err != nil {
				return err
			}
			long = long[1:]
		}
		return take(nodeRecord, payload)
	})
	if err != nil {
		return err
	}
	for _, n := range long {
		if err := take(nodeRecord, n.payload); err != nil {
			return err
		}
	}
	return nil
}

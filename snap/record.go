package snap

import (
	"encoding/binary"
	"hash/crc32"
)

// The buckets, in the order in which bbolt keeps them.
const (
	eventsBucket = "events" // etcd index, big-endian -> event
	longBucket   = "long"   // SHA-256 of the path -> node whose key would be too long
	metaBucket   = "meta"   // one record, see head
	nodesBucket  = "nodes"  // store.AppendKey of the path -> node
)

var bucketNames = [...]string{eventsBucket, longBucket, metaBucket, nodesBucket}

// maxKey is the longest key in the nodes bucket. bbolt takes up to 32 KiB, but
// keys are copied into branch pages, which should stay broad.
const maxKey = 1024 // bytes

// sumSize is the length of the CRC-32C in front of every value.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal fills in the checksum of a value whose first sumSize bytes were left free.
func seal(bucket string, key, value []byte) {
	binary.LittleEndian.PutUint32(value, checksum(bucket, key, value[sumSize:]))
}

// unseal returns the payload of a value, or false when its checksum is wrong.
func unseal(bucket string, key, value []byte) ([]byte, bool) {
	if len(value) < sumSize {
		return nil, false
	}
	payload := value[sumSize:]
	return payload, binary.LittleEndian.Uint32(value) == checksum(bucket, key, payload)
}

// checksum covers bucket, key and payload. The length of the key goes into the
// start of the sum, so that a boundary that moved is noticed as well.
func checksum(bucket string, key, payload []byte) uint32 {
	sum := crc32.Update(uint32(len(key)), castagnoli, []byte(bucket))
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, payload)
}

// tally counts the records of a bucket and adds up their fingerprints. Sums do
// not depend on the order of the records, so a commit carries them forward with
// the records it adds and removes, and a load recognises a bucket in which
// every record is sound and yet one is missing, old, or there twice.
type tally struct {
	count uint64
	sum   uint64
}

func (t *tally) add(key, value []byte) {
	t.count++
	t.sum += fingerprint(key, value)
}

func (t *tally) remove(key, value []byte) {
	t.count--
	t.sum -= fingerprint(key, value)
}

// fingerprint is a 64-bit hash of a sealed record. One half is the checksum the
// value begins with, the other a CRC with another polynomial; the mixing (the
// finaliser of splitmix64) takes the linearity out, without which differences
// could cancel in the sum.
func fingerprint(key, value []byte) uint64 {
	x := uint64(binary.LittleEndian.Uint32(value))<<32 |
		uint64(crc32.Update(crc32.ChecksumIEEE(key), crc32.IEEETable, value))
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

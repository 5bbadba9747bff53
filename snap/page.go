package snap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// This file reads bbolt's file format without bbolt. bbolt trusts its pages: a
// damaged one makes it panic, fault on an address outside the mapping, or
// return other bytes than were written, and part of that happens in goroutines
// of its own. The reader here believes nothing, and once it has passed a file,
// bbolt has no reason left to stumble.

// The layout of a page: a header, then a table of elements, then their keys and
// values, in the byte order of the machine.
const (
	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	elementSize  = 16 // leaf: flags, pos, key size, value size; branch: pos, key size, page id 8
	bucketHeader = 16 // root page id 8, sequence 8
	metaSize     = 64 // see parseMetaPage

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
	subBucket    = 0x01 // element flag

	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	defaultPageSize = 4096    // of the files made here; any other is read as well
	minPageSize     = 1 << 10 // the range of page sizes a file may name
	maxPageSize     = 1 << 16

	// bbolt reserves this for a free list that is not on the disk.
	noFreelist = ^uint64(0)

	maxPages  = 1 << 40
	maxDepth  = 32 // of a tree; with two children per branch page already 2^32 leaves
	readAhead = 64 // pages read at once when their ids follow each other
)

// native is the byte order of bbolt's own numbers: the machine's. A file from a
// machine of the other kind is recognised by its magic number.
var native = binary.NativeEndian

// remedy ends every message about damage.
const remedy = "restore the member from a backup, or remove it from the cluster and add it again"

// corrupt says where a file is damaged and what to do about it.
func corrupt(file, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s; %s", ErrCorrupt, file, fmt.Sprintf(format, args...), remedy)
}

// headError turns a refusal of parseHead into the error callers see.
func headError(file string, err error) error {
	if v := versionError(0); errors.As(err, &v) {
		return fmt.Errorf("%w: %s: %w; start the newer program again", ErrVersion, file, err)
	}
	return corrupt(file, "%v", err)
}

// image is a checkpoint file opened for checking.
type image struct {
	r        io.ReaderAt
	closer   io.Closer
	name     string
	pageSize int
	pages    uint64 // pages in use, the two meta pages included; ids are below it
	root     uint64 // page of the root bucket
	freelist uint64
	seen     []uint64 // one bit per page: a page belongs to one place only
	window   window
}

// openImage opens a file and checks its two meta pages.
func openImage(name string) (*image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("snap: cannot read the checkpoint: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snap: cannot read the checkpoint: %w", err), f.Close())
	}
	im, err := newImage(f, info.Size(), name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	im.closer = f
	return im, nil
}

// close gives the file back. It was only read, so the result says nothing.
func (im *image) close() { _ = im.closer.Close() }

// newImage checks the meta pages of size bytes in r. Both have to be sound.
// bbolt would start from the older one when the newer is damaged, that is from
// an older checkpoint; here that is damage like any other. A crash cannot have
// caused it: the 80 bytes that count lie within one sector.
func newImage(r io.ReaderAt, size int64, name string) (*image, error) {
	im := &image{r: r, name: name}
	if size < 2*minPageSize {
		return nil, im.corrupt("%d bytes are too few for a checkpoint", size)
	}
	first, err := im.metaPage(0, minPageSize)
	if err != nil {
		return nil, err
	}
	second, err := im.metaPage(1, int64(first.pageSize))
	if err != nil {
		return nil, err
	}
	newest := first
	if second.txid > first.txid {
		newest = second
	}
	switch {
	case first.pageSize != second.pageSize:
		return nil, im.corrupt("the meta pages name page sizes %d and %d", first.pageSize, second.pageSize)
	case first.txid == second.txid:
		return nil, im.corrupt("both meta pages are of transaction %d", first.txid)
	case newest.pages < 4 || newest.pages > maxPages:
		return nil, im.corrupt("meta page: %d pages", newest.pages)
	case int64(newest.pages)*int64(newest.pageSize) > size:
		return nil, im.corrupt("cut off: %d pages of %d bytes, but the file has only %d bytes", newest.pages, newest.pageSize, size)
	case newest.sequence != 0:
		return nil, im.corrupt("meta page: the root bucket has sequence %d", newest.sequence)
	}
	im.pageSize, im.pages = int(newest.pageSize), newest.pages
	im.root, im.freelist = newest.root, newest.freelist
	im.seen = make([]uint64, (im.pages+63)/64)
	im.seen[0] = 3 // the meta pages
	return im, nil
}

func (im *image) corrupt(format string, args ...any) error {
	return corrupt(im.name, format, args...)
}

// boltMeta is the content of a meta page.
type boltMeta struct {
	pageSize uint32
	root     uint64
	sequence uint64
	freelist uint64
	pages    uint64
	txid     uint64
}

// metaPage reads meta page id, which lies at off.
func (im *image) metaPage(id uint64, off int64) (boltMeta, error) {
	if id == 0 {
		off = 0
	}
	var b [pageHeader + metaSize]byte
	if _, err := im.r.ReadAt(b[:], off); errors.Is(err, io.EOF) {
		return boltMeta{}, im.corrupt("cut off before meta page %d", id)
	} else if err != nil {
		return boltMeta{}, im.unreadable(err)
	}
	m := b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(m[:metaSize-8])
	switch {
	case native.Uint32(m) != boltMagic:
		return boltMeta{}, im.corrupt("meta page %d: not a bbolt file, or from a machine of other byte order", id)
	case native.Uint64(m[56:]) != sum.Sum64():
		return boltMeta{}, im.corrupt("meta page %d: wrong checksum", id)
	case native.Uint32(m[4:]) != boltVersion:
		return boltMeta{}, fmt.Errorf("%w: %s: bbolt format %d, this program reads %d; start the newer program again",
			ErrVersion, im.name, native.Uint32(m[4:]), boltVersion)
	case native.Uint64(b[:]) != id || native.Uint16(b[8:]) != metaPage || native.Uint16(b[10:]) != 0 || native.Uint32(b[12:]) != 0:
		return boltMeta{}, im.corrupt("meta page %d: wrong page header", id)
	case native.Uint32(m[12:]) != 0:
		return boltMeta{}, im.corrupt("meta page %d: unknown flags %#x", id, native.Uint32(m[12:]))
	}
	size := native.Uint32(m[8:])
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return boltMeta{}, im.corrupt("meta page %d: page size %d", id, size)
	}
	return boltMeta{
		pageSize: size,
		root:     native.Uint64(m[16:]),
		sequence: native.Uint64(m[24:]),
		freelist: native.Uint64(m[32:]),
		pages:    native.Uint64(m[40:]),
		txid:     native.Uint64(m[48:]),
	}, nil
}

func (im *image) unreadable(err error) error {
	return fmt.Errorf("snap: cannot read the checkpoint %s: %w", im.name, err)
}

// page is a page with its overflow pages.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // from the header on
}

// read returns a page, which nothing else may have used, for as long as no other
// page is read. The caller expects to read the ahead-1 pages after it next.
func (im *image) read(id uint64, ahead int) (page, error) {
	if id < 2 || id >= im.pages {
		return page{}, im.corrupt("page %d does not exist", id)
	}
	b, err := im.bytes(id, 1, ahead)
	if err != nil {
		return page{}, err
	}
	overflow := uint64(native.Uint32(b[12:]))
	switch {
	case native.Uint64(b) != id:
		return page{}, im.corrupt("page %d: calls itself %d", id, native.Uint64(b))
	case overflow >= im.pages-id:
		return page{}, im.corrupt("page %d: %d overflow pages do not exist", id, overflow)
	}
	if overflow > 0 {
		if b, err = im.bytes(id, int(overflow)+1, 1); err != nil {
			return page{}, err
		}
	}
	for i := range overflow + 1 {
		if err := im.claim(id + i); err != nil {
			return page{}, err
		}
	}
	return page{id: id, flags: native.Uint16(b[8:]), count: int(native.Uint16(b[10:])), data: b}, nil
}

// claim notes that a page is in use, or free, and that this was not known.
func (im *image) claim(id uint64) error {
	bit := uint64(1) << (id % 64)
	if im.seen[id/64]&bit != 0 {
		return im.corrupt("page %d is used twice", id)
	}
	im.seen[id/64] |= bit
	return nil
}

// window holds the pages read last.
type window struct {
	first uint64
	pages int
	buf   []byte
}

// bytes returns n pages from id on. When they are not at hand it reads up to
// ahead pages at once.
func (im *image) bytes(id uint64, n, ahead int) ([]byte, error) {
	w := &im.window
	if id < w.first || id+uint64(n) > w.first+uint64(w.pages) {
		w.first, w.pages = id, max(n, min(ahead, readAhead))
		if rest := im.pages - id; uint64(w.pages) > rest {
			w.pages = int(rest)
		}
		size := w.pages * im.pageSize
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		w.buf = w.buf[:size]
		if _, err := im.r.ReadAt(w.buf, int64(id)*int64(im.pageSize)); err != nil {
			w.pages = 0
			return nil, im.unreadable(err)
		}
	}
	off := int(id-w.first) * im.pageSize
	return w.buf[off : off+n*im.pageSize], nil
}

// checkFreelist reads the list of free pages. It comes last: with the list
// every page has to be accounted for, since bbolt overwrites pages it believes
// to be free.
func (im *image) checkFreelist() error {
	if im.freelist == noFreelist {
		return im.corrupt("the list of free pages is missing")
	}
	p, err := im.read(im.freelist, 1)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return im.corrupt("page %d is no list of free pages", p.id)
	}
	ids, count := p.data[pageHeader:], uint64(p.count)
	if count == 0xFFFF { // too many for the header: the first number says how many
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return im.corrupt("page %d: a list of %d free pages does not fit", p.id, count)
	}
	last := uint64(0)
	for i := range count {
		id := native.Uint64(ids[8*i:])
		if id <= last || id >= im.pages {
			return im.corrupt("page %d: free page %d is out of order", p.id, id)
		}
		if err := im.claim(id); err != nil {
			return err
		}
		last = id
	}
	for id := range im.pages {
		if im.seen[id/64]>>(id%64)&1 == 0 {
			return im.corrupt("page %d is neither used nor free", id)
		}
	}
	return nil
}

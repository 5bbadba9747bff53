package snap

import "bytes"

// element is one entry of a leaf page. Its bytes are good until the next page
// is read.
type element struct {
	flags uint32
	key   []byte
	value []byte
}

// tree walks one bucket and checks its structure: pages of the right kind,
// elements laid out without gap or overlap, keys ascending throughout, and
// every branch element naming the first key of its child (bbolt finds the child
// by that key when it rewrites it).
type tree struct {
	im   *image
	each func(element) error
	prev []byte // last key
	any  bool   // prev is set
}

// walk visits the elements below page id in key order.
func (im *image) walk(id uint64, each func(element) error) error {
	t := &tree{im: im, each: each}
	p, err := im.read(id, 1)
	if err != nil {
		return err
	}
	return t.page(p, nil, 0)
}

// walkInline visits the elements of a bucket so small that it lies within its
// parent's page.
func (im *image) walkInline(data []byte, each func(element) error) error {
	if len(data) < pageHeader {
		return im.corrupt("an inline bucket has %d bytes", len(data))
	}
	p := page{flags: native.Uint16(data[8:]), count: int(native.Uint16(data[10:])), data: data}
	if p.flags != leafPage || native.Uint64(data) != 0 || native.Uint32(data[12:]) != 0 {
		return im.corrupt("an inline bucket has a wrong page header")
	}
	t := &tree{im: im, each: each}
	return t.page(p, nil, 0)
}

// page visits one page; want is its first key as the parent has it, nil at the root.
func (t *tree) page(p page, want []byte, depth int) error {
	if p.count == 0 && (depth > 0 || p.flags != leafPage) {
		return t.im.corrupt("page %d is empty", p.id)
	}
	if pageHeader+p.count*elementSize > len(p.data) {
		return t.im.corrupt("page %d: %d elements do not fit", p.id, p.count)
	}
	switch p.flags {
	case leafPage:
		return t.leaf(p, want)
	case branchPage:
		return t.branch(p, want, depth)
	}
	return t.im.corrupt("page %d: unexpected kind %#x", p.id, p.flags)
}

func (t *tree) leaf(p page, want []byte) error {
	end := pageHeader + p.count*elementSize
	for i := range p.count {
		at := pageHeader + i*elementSize
		head := p.data[at : at+elementSize]
		pos, ksize, vsize := native.Uint32(head[4:]), native.Uint32(head[8:]), native.Uint32(head[12:])
		if at+int(pos) != end || ksize == 0 || uint64(ksize)+uint64(vsize) > uint64(len(p.data)-end) {
			return t.im.corrupt("page %d: element %d lies outside its place", p.id, i)
		}
		e := element{flags: native.Uint32(head), key: p.data[end : end+int(ksize)]}
		end += int(ksize)
		e.value = p.data[end : end+int(vsize)]
		end += int(vsize)
		if i == 0 && want != nil && !bytes.Equal(e.key, want) {
			return t.im.corrupt("page %d begins with another key than its parent says", p.id)
		}
		if t.any && bytes.Compare(t.prev, e.key) >= 0 {
			return t.im.corrupt("page %d: key %d is out of order", p.id, i)
		}
		t.prev, t.any = append(t.prev[:0], e.key...), true
		if err := t.each(e); err != nil {
			return err
		}
	}
	return nil
}

// child is one entry of a branch page.
type child struct {
	id  uint64
	key []byte
}

func (t *tree) branch(p page, want []byte, depth int) error {
	if depth == maxDepth {
		return t.im.corrupt("page %d: the tree is too deep", p.id)
	}
	children, err := t.children(p)
	if err != nil {
		return err
	}
	if want != nil && !bytes.Equal(children[0].key, want) {
		return t.im.corrupt("page %d begins with another key than its parent says", p.id)
	}
	run := 0 // children from i on that lie one after the other in the file
	for i, c := range children {
		for run == 0 || i+run < len(children) && run < readAhead && children[i+run].id == c.id+uint64(run) {
			run++
		}
		below, err := t.im.read(c.id, run)
		if err != nil {
			return err
		}
		if err := t.page(below, c.key, depth+1); err != nil {
			return err
		}
		run--
	}
	return nil
}

// children reads a branch page and copies the keys, since the page's bytes are
// gone when the first child is read.
func (t *tree) children(p page) ([]child, error) {
	table := pageHeader + p.count*elementSize
	data := bytes.Clone(p.data[table:])
	list := make([]child, p.count)
	end := 0
	for i := range list {
		at := pageHeader + i*elementSize
		head := p.data[at : at+elementSize]
		pos, ksize := native.Uint32(head), native.Uint32(head[4:])
		if at+int(pos) != table+end || ksize == 0 || uint64(ksize) > uint64(len(data)-end) {
			return nil, t.im.corrupt("page %d: element %d lies outside its place", p.id, i)
		}
		list[i] = child{id: native.Uint64(head[8:]), key: data[end : end+int(ksize)]}
		end += int(ksize)
	}
	return list, nil
}

package store

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// comparePaths orders paths so that a directory comes first, then all that is
// below it, then its next sibling: '/' sorts below every other byte.
func comparePaths(a, b string) int {
	i := commonLen(a, b)
	if i < len(a) && i < len(b) {
		return cmp.Compare(rank(a[i]), rank(b[i]))
	}
	return cmp.Compare(len(a), len(b))
}

// commonLen is the number of bytes that a and b have in common at their
// beginning. It looks at eight at a time, for paths share long beginnings.
func commonLen(a, b string) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := eight(a, i) ^ eight(b, i); x != 0 {
			return i + bits.TrailingZeros64(x)>>3
		}
	}
	if i < n && n >= 8 { // the last eight, some of them for the second time
		x := eight(a, n-8) ^ eight(b, n-8)
		return n - 8 + bits.TrailingZeros64(x)>>3 // of 0 there are 64
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// head is a number made of the first eight bytes of s, or of all there are.
// Heads order strings like tree order does, as far as they go.
func head(s string) uint64 {
	var h uint64
	n := min(len(s), 8)
	for i := range n {
		h = h<<8 | uint64(rank(s[i]))
	}
	return h << (8 * (8 - n))
}

// eight loads the bytes i to i+7 of s, the first one lowest. The compiler
// makes it a single load.
func eight(s string, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// rank is the place of a byte in tree order.
func rank(b byte) byte {
	if b == '/' {
		return 0
	}
	if b < '/' {
		b++
	}
	return b
}

// AppendKey appends a sort key of path to dst: it is as long as the path, no
// two paths share one, and the byte order of keys is tree order, in which a
// directory comes first, then all that is below it, then its next sibling.
func AppendKey(dst []byte, path string) []byte {
	for i := range len(path) {
		dst = append(dst, rank(path[i]))
	}
	return dst
}

// below reports whether path lies somewhere below dir, by components.
func below(dir, path string) bool {
	if dir == "/" {
		return len(path) > 1
	}
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// hiddenBelow reports whether path, which lies below dir, is hidden from
// someone who looks at dir: a component after dir begins with '_'.
func hiddenBelow(dir, path string) bool {
	return strings.Contains(path[prefixLen(dir):], "/_")
}

// prefixLen is the length of what the paths below dir begin with, without the
// slash that follows.
func prefixLen(dir string) int {
	if dir == "/" {
		return 0
	}
	return len(dir)
}

// parentOf is the directory that path lies in. The root has none.
func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// join is the path of name in dir.
func join(dir, name string) string {
	return dir[:prefixLen(dir)] + "/" + name
}

// clean reports whether path has the form all paths of the store have: it
// begins with a slash, has no empty component and, but for the root, does not
// end in a slash.
func clean(path string) bool {
	if path == "/" {
		return true
	}
	return len(path) > 1 && path[0] == '/' && path[len(path)-1] != '/' && !strings.Contains(path, "//")
}

// fixed reports whether path is one of the directories that every store has
// and no op may change: the root, the membership, the clients' keys and the
// authentication data.
func fixed(path string) bool {
	switch path {
	case "/", "/0", "/1", "/2":
		return true
	}
	return false
}

// fixedPaths lists the fixed directories in tree order.
func fixedPaths() []string { return []string{"/", "/0", "/1", "/2"} }

// hiddenName reports whether the last component of path begins with '_'.
func hiddenName(path string) bool {
	i := strings.LastIndexByte(path, '/') + 1
	return i < len(path) && path[i] == '_'
}

// holds reports whether one of the nodes, which are in tree order, has the path.
func holds(nodes []*Node, path string) bool {
	_, found := slices.BinarySearchFunc(nodes, path, func(n *Node, path string) int {
		return comparePaths(n.Path, path)
	})
	return found
}

package v2

import (
	"io"
	"strings"

	"etcd2/store"
)

// chunkBytes is how much of an answer is gathered before it is sent. A listing
// of any length needs no more memory than this and its largest node.
const chunkBytes = 32 << 10

// listing turns a view into the JSON of a get.
type listing struct {
	out  io.Writer // takes full chunks
	buf  []byte    // what out has not got yet
	at   moment
	open []*store.Node
	bare []bool // beside open: no child has been written yet
	err  error  // of out
}

// get appends the answer to a get of v. What is left in buf afterwards is for
// the caller to send.
func (l *listing) get(v store.View, recursive bool) {
	l.buf = appendAction(l.buf, store.Get)
	l.buf = append(l.buf, `,"node":`...)
	l.begin(v.Node)
	if v.Node.Dir {
		seq := v.Children
		if recursive {
			seq = v.Descendants
		}
		for n := range seq(v.Node.Path) {
			l.add(n)
			if l.err != nil {
				return
			}
		}
	}
	for len(l.open) > 0 {
		l.end()
	}
	l.buf = append(l.buf, "}\n"...)
}

// add writes the next node in tree order: parents before their children.
func (l *listing) add(n *store.Node) {
	for len(l.open) > 1 && !isBelow(n.Path, l.open[len(l.open)-1].Path) {
		l.end()
	}
	if top := len(l.open) - 1; l.bare[top] {
		l.bare[top] = false
		l.buf = append(l.buf, `,"nodes":[`...)
	} else {
		l.buf = append(l.buf, ',')
	}
	if n.Dir {
		l.begin(n)
	} else {
		l.buf = appendNode(l.buf, n, l.at, true)
	}
	if len(l.buf) >= chunkBytes {
		_, l.err = l.out.Write(l.buf)
		l.buf = l.buf[:0]
	}
}

// begin opens a node that may get children.
func (l *listing) begin(n *store.Node) {
	l.buf = openNode(l.buf, n, l.at, true)
	l.open = append(l.open, n)
	l.bare = append(l.bare, true)
}

// end closes the innermost open node.
func (l *listing) end() {
	top := len(l.open) - 1
	if !l.bare[top] {
		l.buf = append(l.buf, ']')
	}
	l.buf = closeNode(l.buf, l.open[top])
	l.open, l.bare = l.open[:top], l.bare[:top]
}

// isBelow reports whether path lies in the directory dir.
func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && strings.HasPrefix(path, dir)
}

package v2

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzParsePlain holds the front to net/http: what it takes to be plain means the
// same there.
func FuzzParsePlain(f *testing.F) {
	for _, c := range conversations {
		f.Add([]byte(strings.Join(c.pieces, "")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, headEnd)
		if end < 0 {
			return
		}
		p, ok := parsePlain(b[:end+len(headEnd)])
		if !ok {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:end+len(headEnd)])))
		if err != nil {
			t.Fatalf("parsePlain(%q) takes what net/http refuses: %v", b, err)
		}
		key, isKeys := cutKeys(r.URL.Path)
		if r.Method != p.method || !isKeys || key != p.key || r.URL.RawQuery != p.query || !isClean(r.URL.Path) {
			t.Errorf("parsePlain(%q) = %+v, net/http has %s %q ? %q", b, p, r.Method, r.URL.Path, r.URL.RawQuery)
		}
		if r.ContentLength != int64(p.length) || r.Close != p.last || r.Header.Get("Content-Type") != p.contentType || len(r.TransferEncoding) > 0 {
			t.Errorf("parsePlain(%q) = %+v, net/http has length %d, close %v, %v", b, p, r.ContentLength, r.Close, r.Header)
		}
	})
}

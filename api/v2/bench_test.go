package v2

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"etcd2/store"
)

// The shape of PERFORMANCE: 64-byte values in one directory of many keys.
var benchValue = strings.Repeat("v", 64)

func BenchmarkParsePut(b *testing.B) {
	body := "value=" + benchValue
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseKeys("PUT", "/bench/key-00001234", "", body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEscapedPut(b *testing.B) {
	body := "value=" + strings.Repeat("a+b%2Fc", 10) + "&ttl=60&prevExist=true"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseKeys("PUT", "/bench/key-00001234", "", body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseGet(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseKeys("GET", "/bench/key-00001234", "quorum=true&sorted=true", ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	node := &store.Node{Path: "/1/bench/key-00001234", Value: benchValue, Modified: 123456, Created: 123456}
	e := &store.Event{Action: store.Set, Node: node, Prev: node}
	buf := appendEvent(nil, e, 0)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], e, 0)
	}
}

func BenchmarkAppendEventWithTTL(b *testing.B) {
	node := &store.Node{Path: "/1/bench/key-00001234", Value: benchValue, Modified: 123456, Created: 123456, Expires: 1795208895306861170}
	e := &store.Event{Action: store.Set, Node: node, Now: 1795208800000000000}
	buf := appendEvent(nil, e, 0)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], e, 0)
	}
}

func BenchmarkAppendString(b *testing.B) {
	for name, s := range map[string]string{
		"ascii":   strings.Repeat("plain text ", 100),
		"unicode": strings.Repeat("日本語 ", 100),
		"json":    strings.Repeat(`{"a":"b"},`, 100),
	} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				buf = appendString(buf[:0], s)
			}
		})
	}
}

func BenchmarkRecursiveListing(b *testing.B) {
	m := newMember(b)
	for i := range 100_000 {
		op := store.Op{Action: store.Set, Path: fmt.Sprintf("/1/d%03d/key-%08d", i%100, i), Value: benchValue}
		if _, err := m.Do(b.Context(), op); err != nil {
			b.Fatal(err)
		}
	}
	text, _ := listAll(viewOf(b, m, ""), true)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		l := listing{out: io.Discard, at: moment{now: 1}}
		l.get(viewOf(b, m, ""), true)
	}
}

// discardWriter is a client that costs nothing.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}

func (w *discardWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *discardWriter) SetWriteDeadline(time.Time) error { return nil }

// rewinder is a body that can be read again.
type rewinder struct{ *strings.Reader }

func (rewinder) Close() error { return nil }

// benchHandler measures the handler with everything behind it but a log.
func benchHandler(b *testing.B, method, target, body string) {
	m := newMember(b)
	for i := range 1000 {
		op := store.Op{Action: store.Set, Path: fmt.Sprintf("/1/bench/key-%04d", i), Value: benchValue}
		if _, err := m.Do(b.Context(), op); err != nil {
			b.Fatal(err)
		}
	}
	h := Handler(m, Config{})
	u, err := url.ParseRequestURI(target)
	if err != nil {
		b.Fatal(err)
	}
	rest := rewinder{strings.NewReader(body)}
	r := httptest.NewRequest(method, target, nil)
	r.URL, r.Body, r.ContentLength = u, rest, int64(len(body))
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	w := &discardWriter{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		rest.Reset(body)
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

func BenchmarkHandlerGet(b *testing.B) {
	benchHandler(b, "GET", "/v2/keys/bench/key-0123", "")
}

func BenchmarkHandlerPut(b *testing.B) {
	benchHandler(b, "PUT", "/v2/keys/bench/key-0123", "value="+benchValue)
}

package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHistogramQuantiles(t *testing.T) {
	var h, other histogram
	for i := 1; i <= 1000; i++ {
		if i%2 == 0 {
			h.add(time.Duration(i) * time.Microsecond)
		} else {
			other.add(time.Duration(i) * time.Microsecond)
		}
	}
	h.merge(&other)
	for _, q := range []float64{0.001, 0.5, 0.99, 0.999, 1} {
		want := time.Duration(q * 1000 * float64(time.Microsecond))
		got := h.quantile(q)
		if got < want || float64(got) > 1.02*float64(want) {
			t.Errorf("quantile(%v) = %v, want %v or at most 2%% more", q, got, want)
		}
	}
	if h.max != time.Millisecond || h.total != 1000 {
		t.Errorf("max, total = %v, %d, want 1ms, 1000", h.max, h.total)
	}
}

func TestBucketsCoverTheirValues(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 63, 64, 127, 128, 129, 255, 256, 1e6, 1e9 + 7, 1 << 62} {
		b := bucket(d)
		if upper(b) < d || b > 0 && upper(b-1) >= d {
			t.Errorf("%d lies in bucket %d, which covers %d to %d", d, b, upper(max(b-1, 0))+1, upper(b))
		}
	}
}

const wrkReport = `Running 2s test @ http://127.0.0.1:2379
  1 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.62ms    2.53ms  48.33ms   87.62%
    Req/Sec    33.80k     2.11k   36.23k    90.00%
  Latency Distribution
     50%    7.17ms
     75%    8.41ms
     90%    9.97ms
     99%   18.02ms
  67434 requests in 2.01s, 21.42MB read
Requests/sec:  33557.83
Transfer/sec:     10.66MB
`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk(wrkReport)
	want := wrkResult{
		requests: 67434, rate: 33557.83,
		p50: 7170 * time.Microsecond, p99: 18020 * time.Microsecond, max: 48330 * time.Microsecond,
	}
	if err != nil || got != want {
		t.Errorf("parseWrk = %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseWrk(wrkReport + "  Non-2xx or 3xx responses: 12\n"); err == nil {
		t.Error("parseWrk accepts a run with refused requests")
	}
	if _, err := parseWrk("unable to connect"); err == nil {
		t.Error("parseWrk accepts a report without figures")
	}
}

func TestLoadCountsAnswers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" && r.FormValue("value") != value {
			http.Error(w, "no value", http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
		w.(http.Flusher).Flush() // the answer becomes a chunked one
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	l := load{addr: addr, conns: 4, limit: 100, request: func(b []byte, n int64, _ *rand.Rand) []byte {
		if n%2 == 0 {
			return putRequest(b, addr, bigKey(n), value)
		}
		return getRequest(b, addr, smallKey(int(n)), "?quorum=true")
	}}
	o, err := l.run(context.Background())
	if err != nil || o.requests != 100 {
		t.Errorf("run = %d requests, %v, want 100", o.requests, err)
	}
}

func TestClientReadsBothKindsOfBody(t *testing.T) {
	tests := []struct {
		name, answer string
		length       int64
		ok           bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 3, true},
		{"chunks", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5, true},
		{"refusal", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", 0, false},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 0, false},
	}
	for _, tt := range tests {
		c := client{br: bufio.NewReader(strings.NewReader(tt.answer))}
		got, err := c.answer()
		if (err == nil) != tt.ok || tt.ok && got != tt.length {
			t.Errorf("%s: answer() = %d, %v, want %d", tt.name, got, err, tt.length)
		}
	}
}

func TestTable(t *testing.T) {
	rows := []row{{name: "x", title: "X", columns: []column{{"x rate", perSecond, 1000, "≥ 2"}, {"x gone", micros, 0, ""}}}}
	targets := []target{
		{name: "ours", results: map[string][]float64{"x rate": {12_345, 5, 99_999}}},
		{name: "peer", results: map[string][]float64{"x rate": {24_690}}},
	}
	var b strings.Builder
	printTable(&b, rows, targets)
	want := `| figure | ours | peer | ratio | etcd 2.3.8 (once) | ratio | aim |
| --- | --- | --- | --- | --- | --- | --- |
| **X** |  |  |  |  |  |  |
| rate | 12.3k/s | 24.7k/s | 0.50 | 1000/s | 12.3 | ≥ 2 |
`
	if b.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestChooseRefusesUnknownRows(t *testing.T) {
	if rs, err := choose("put256, idle"); err != nil || len(rs) != 2 || rs[1].name != "idle" {
		t.Errorf("choose = %d rows, %v, want put256 and idle", len(rs), err)
	}
	if _, err := choose("put255"); err == nil {
		t.Error("choose accepts a row that does not exist")
	}
}

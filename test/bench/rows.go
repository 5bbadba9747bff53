package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// row is one load and the figures it yields.
type row struct {
	name    string
	title   string
	big     bool // takes minutes on a slow server
	members int  // of the cluster; 1
	columns []column
	run     func(ctx context.Context, s settings, srv *server) ([]figure, error)
}

// column describes a figure of a row: how it is written and what it is compared
// with. A zero reference means that there is none.
type column struct {
	name      string
	unit      unit
	reference float64 // etcd 2.3.8
	aim       string
}

// rows lists everything that can be measured.
func rows() []row {
	return []row{
		{
			name: "put256", title: "PUT, 256 connections",
			columns: requestColumns("put256", 43_000, 31, "≤ 0.45 × 3.4"),
			run:     requestRow("put256", 256, putScript, put10k),
		},
		{
			name: "get256", title: "GET, 256 connections",
			columns: requestColumns("get256", 67_800, 17.7, "≤ 0.50 × 3.4"),
			run:     requestRow("get256", 256, getScript(""), get10k("")),
		},
		{
			name: "qget256", title: "GET quorum=true, 256 connections",
			columns: requestColumns("qget256", 49_100, 28, "≤ 0.35 × 3.4"),
			run:     requestRow("qget256", 256, getScript("?quorum=true"), get10k("?quorum=true")),
		},
		{
			name: "put1", title: "PUT, 1 connection",
			columns: []column{
				{"put1 rate", perSecond, 5_800, ""},
				{"put1 p50", micros, 138, "≤ 0.8 × 3.4"},
				{"put1 p99", micros, 0, ""},
				{"put1 max", micros, 0, ""},
				{"put1 CPU per request", micros, 0, ""},
			},
			run: requestRow("put1", 1, putScript, put10k),
		},
		{
			name: "put3", title: "three members, PUT at the leader, 256 connections", members: 3,
			columns: requestColumns("put3", 14_400, 81, "≤ 0.45 × 3.4"),
			run:     requestRow("put3", 256, putScript, put10k),
		},
		{
			name: "putf3", title: "three members, PUT at a follower, 256 connections", members: 3,
			columns: requestColumns("putf3", 9_300, 95, "≤ 0.45 × 3.4"),
			run:     atFollower(requestRow("putf3", 256, putScript, put10k)),
		},
		{
			name: "qget3", title: "three members, GET quorum=true at the leader, 256 connections", members: 3,
			columns: requestColumns("qget3", 10_100, 77, "≤ 0.20 × 3.4"),
			run:     requestRow("qget3", 256, getScript("?quorum=true"), get10k("?quorum=true")),
		},
		{
			name: "catchup", title: "three members, one comes back 1M keys behind while 16 connections write", big: true, members: 3,
			columns: []column{
				{"catchup time", micros, 0, ""},
				{"catchup p99.9 at the leader", micros, 0, ""},
				{"catchup max at the leader", micros, 0, "≤ 300 ms"},
				{"catchup max without a follower", micros, 0, ""},
			},
			run: catchUpRow,
		},
		{
			name: "1m", title: "1M keys × 64 B, 1000 per directory", big: true,
			columns: []column{
				{"1m fill, 64 connections", perSecond, 9_700, "≥ 5 × 2.3.8"},
				{"1m overwrite, 16 connections", perSecond, 5_700, "≥ 6 × 2.3.8"},
				{"1m overwrite p99.9", micros, 277_000, ""},
				{"1m overwrite max", micros, 1_060_000, "≤ 0.1 × 2.3.8"},
				{"1m RSS", bytesUnit, 3.1e9, ""},
				{"1m RSS peak", bytesUnit, 4.3e9, "≤ 0.17 × 2.3.8"},
				{"1m data directory", bytesUnit, 2.7e9, "≤ 0.25 × 2.3.8"},
				{"1m kill -9 → serving again", micros, 2_200_000, "≤ 0.33 × 2.3.8"},
			},
			run: millionRow,
		},
		{
			name: "watch", title: "idle long-poll watchers of one key",
			columns: []column{
				{"watch RSS of one watcher", bytesUnit, 30_000, "≤ 0.25 × 2.3.8"},
				{"watch deliveries of one write", perSecond, 29_000, "≥ 2 × 2.3.8"},
			},
			run: watchRow,
		},
		{
			name: "list", title: "recursive listing of 100k keys",
			columns: []column{
				{"list bytes per second", bytesUnit, 143e6, "≥ 3 × 2.3.8"},
				{"list size", bytesUnit, 14e6, ""},
			},
			run: listRow,
		},
		{
			name: "idle", title: "idle member",
			columns: []column{
				{"idle log entries", perSecond, 2, "0"},
				{"idle bytes written", bytesUnit, 0, "0"},
			},
			run: idleRow,
		},
	}
}

func requestColumns(name string, rate, cpu float64, aim string) []column {
	return []column{
		{name + " rate", perSecond, rate, ""},
		{name + " CPU per request", micros, cpu, aim},
		{name + " p50", micros, 0, ""},
		{name + " p99", micros, 0, ""},
		{name + " max", micros, 0, ""},
	}
}

// Keys of the small rows: one directory of 10 000 keys.
const smallKeys = 10_000

func smallKey(n int) string { return "/bench/" + strconv.Itoa(n) }

// putScript makes wrk overwrite random keys.
var putScript = fmt.Sprintf(`
local headers = {["Content-Type"] = "application/x-www-form-urlencoded"}
local body = "value=%s"
request = function()
  return wrk.format("PUT", "/v2/keys/bench/" .. math.random(0, %d), headers, body)
end
`, value, smallKeys-1)

// getScript makes wrk read random keys.
func getScript(query string) string {
	return fmt.Sprintf(`
request = function()
  return wrk.format("GET", "/v2/keys/bench/" .. math.random(0, %d) .. "%s")
end
`, smallKeys-1, query)
}

type requestMaker func(addr string) func(b []byte, n int64, r *rand.Rand) []byte

func put10k(addr string) func([]byte, int64, *rand.Rand) []byte {
	return func(b []byte, _ int64, r *rand.Rand) []byte {
		return putRequest(b, addr, smallKey(r.IntN(smallKeys)), value)
	}
}

func get10k(query string) requestMaker {
	return func(addr string) func([]byte, int64, *rand.Rand) []byte {
		return func(b []byte, _ int64, r *rand.Rand) []byte {
			return getRequest(b, addr, smallKey(r.IntN(smallKeys)), query)
		}
	}
}

// requestRow measures one kind of request against 10 000 keys: rate, latency and
// what each request costs the server in processor time.
func requestRow(name string, conns int, script string, request requestMaker) func(context.Context, settings, *server) ([]figure, error) {
	return func(ctx context.Context, s settings, srv *server) ([]figure, error) {
		fill := load{addr: srv.addr, conns: 64, limit: smallKeys, request: func(b []byte, n int64, _ *rand.Rand) []byte {
			return putRequest(b, srv.addr, smallKey(int(n)), value)
		}}
		if _, err := fill.run(ctx); err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
		before, timed := srv.cpu()
		r, err := generate(ctx, s, srv, conns, script, request)
		if err != nil {
			return nil, err
		}
		after, _ := srv.cpu()
		out := []figure{
			{name + " rate", r.rate},
			{name + " p50", inMicros(r.p50)},
			{name + " p99", inMicros(r.p99)},
			{name + " max", inMicros(r.max)},
		}
		if timed {
			out = append(out, figure{name + " CPU per request", inMicros(after-before) / float64(r.requests)})
		}
		return out, nil
	}
}

// atFollower puts the load of a row on a member that does not lead.
func atFollower(run func(context.Context, settings, *server) ([]figure, error)) func(context.Context, settings, *server) ([]figure, error) {
	return func(ctx context.Context, s settings, srv *server) ([]figure, error) {
		return run(ctx, s, srv.follower())
	}
}

// generate runs the load with wrk, or with the built-in client when there is none.
func generate(ctx context.Context, s settings, srv *server, conns int, script string, request requestMaker) (wrkResult, error) {
	if s.wrk != "" {
		return runWrk(ctx, s.wrk, script, srv.addr, conns, s.duration)
	}
	o, err := load{addr: srv.addr, conns: conns, length: s.duration, request: request(srv.addr)}.run(ctx)
	if err != nil {
		return wrkResult{}, err
	}
	return wrkResult{
		requests: o.requests, rate: o.rate(),
		p50: o.hist.quantile(0.5), p99: o.hist.quantile(0.99), max: o.hist.max,
	}, nil
}

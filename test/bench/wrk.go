package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// wrkResult is what wrk reports about a run.
type wrkResult struct {
	requests      int64
	rate          float64
	p50, p99, max time.Duration
}

// runWrk puts a load on the server with wrk: one thread, a fixed number of
// connections, requests made by a Lua script.
func runWrk(ctx context.Context, wrk, script, addr string, conns int, length time.Duration) (wrkResult, error) {
	dir, err := os.MkdirTemp("", "etcd2-wrk-")
	if err != nil {
		return wrkResult{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "load.lua")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return wrkResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, wrk, "-t1", "-c"+strconv.Itoa(conns),
		"-d"+strconv.Itoa(int(max(length.Seconds(), 1)))+"s", "--timeout", "30s", "--latency", "-s", file, "http://"+addr).Output()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	return parseWrk(string(out))
}

// Lines of wrk's report.
var (
	// Average, deviation and maximum may touch each other when they are long.
	wrkMax      = regexp.MustCompile(`Latency\s+[\d.]+[a-z]+\s*[\d.]+[a-z]+\s*([\d.]+[a-z]+)`)
	wrkP50      = regexp.MustCompile(`(?m)^\s+50%\s+(\S+)`)
	wrkP99      = regexp.MustCompile(`(?m)^\s+99%\s+(\S+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+(\S+)`)
	wrkBad      = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors.*)$`)
)

// parseWrk reads wrk's report. Answers that are not a success make it an error:
// a server that refuses is fast.
func parseWrk(report string) (wrkResult, error) {
	if m := wrkBad.FindStringSubmatch(report); m != nil {
		return wrkResult{}, fmt.Errorf("wrk: %s", m[1])
	}
	var r wrkResult
	var err error
	field := func(re *regexp.Regexp) string {
		m := re.FindStringSubmatch(report)
		if m == nil {
			if err == nil {
				err = fmt.Errorf("wrk: no %v in its report:\n%s", re, report)
			}
			return ""
		}
		return m[1]
	}
	duration := func(re *regexp.Regexp) time.Duration {
		text := field(re)
		d, perr := time.ParseDuration(text)
		if err == nil && perr != nil {
			err = fmt.Errorf("wrk: %w in its report:\n%s", perr, report)
		}
		return d
	}
	r.p50, r.p99, r.max = duration(wrkP50), duration(wrkP99), duration(wrkMax)
	n, nerr := strconv.ParseInt(field(wrkRequests), 10, 64)
	rate, rerr := strconv.ParseFloat(field(wrkRate), 64)
	if err == nil && nerr != nil {
		err = nerr
	}
	if err == nil {
		err = rerr
	}
	r.requests, r.rate = n, rate
	return r, err
}

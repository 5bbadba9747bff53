package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// bigKey spreads keys over directories of 1000.
func bigKey(n int64) string { return fmt.Sprintf("/big/%04d/%03d", n/1000, n%1000) }

// millionRow fills the store, overwrites random keys, kills the server and times
// its return.
func millionRow(ctx context.Context, s settings, srv *server) ([]figure, error) {
	filled, err := load{addr: srv.addr, conns: 64, limit: int64(s.keys), request: func(b []byte, n int64, _ *rand.Rand) []byte {
		return putRequest(b, srv.addr, bigKey(n), value)
	}}.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	over, err := load{addr: srv.addr, conns: 16, length: max(2*s.duration, time.Second), request: func(b []byte, _ int64, r *rand.Rand) []byte {
		return putRequest(b, srv.addr, bigKey(r.Int64N(int64(s.keys))), value)
	}}.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("overwrite: %w", err)
	}
	size, err := srv.dirSize()
	if err != nil {
		return nil, err
	}
	out := []figure{
		{"1m fill, 64 connections", filled.rate()},
		{"1m overwrite, 16 connections", over.rate()},
		{"1m overwrite p99.9", inMicros(over.hist.quantile(0.999))},
		{"1m overwrite max", inMicros(over.hist.max)},
		{"1m RSS", srv.memory("VmRSS")},
		{"1m RSS peak", srv.memory("VmHWM")},
		{"1m data directory", size},
	}
	srv.kill()
	again := time.Now()
	if err := srv.begin(ctx); err != nil { // until it answers a write
		return nil, fmt.Errorf("restart: %w", err)
	}
	return append(out, figure{"1m kill -9 → serving again", inMicros(time.Since(again))}), nil
}

// fanOuts is how often the watchers are woken; the middle one counts.
const fanOuts = 3

// watchRow parks watchers on one key, weighs them, and wakes them all at once.
func watchRow(ctx context.Context, s settings, srv *server) ([]figure, error) {
	before := srv.memory("VmRSS")
	request := getRequest(nil, srv.addr, "/watched", "?wait=true")
	clients := make([]*client, s.watchers)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.close()
			}
		}
	}()
	for i := range clients {
		c, err := dial(srv.addr)
		if err != nil {
			return nil, fmt.Errorf("watcher %d: %w", i, err)
		}
		clients[i] = c
	}
	var idle float64
	var rates []float64
	for round := range fanOuts {
		// A watch counts once its head has come: the server has registered it.
		if err := all(clients, func(c *client) error {
			if err := c.send(request); err != nil {
				return err
			}
			_, err := c.head()
			return err
		}); err != nil {
			return nil, err
		}
		if round == 0 {
			idle = srv.memory("VmRSS")
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began := time.Now()
		var wg sync.WaitGroup
		var delivered error
		wg.Go(func() {
			delivered = all(clients, func(c *client) error {
				_, err := c.chunks()
				return err
			})
		})
		err := srv.once(putRequest(nil, srv.addr, "/watched", value))
		wg.Wait()
		if err := errors.Join(err, delivered); err != nil {
			return nil, err
		}
		rates = append(rates, float64(len(clients))/time.Since(began).Seconds())
	}
	return []figure{
		{"watch RSS of one watcher", (idle - before) / float64(len(clients))},
		{"watch deliveries of one write", median(rates)},
	}, nil
}

// all runs f for every client at the same time.
func all(clients []*client, f func(*client) error) error {
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = f(c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Shape of the listing row.
const (
	listKeys = 100_000
	listRuns = 20
)

// listRow reads a large tree as one answer, one time after the other.
func listRow(ctx context.Context, _ settings, srv *server) ([]figure, error) {
	if _, err := (load{addr: srv.addr, conns: 64, limit: listKeys, request: func(b []byte, n int64, _ *rand.Rand) []byte {
		return putRequest(b, srv.addr, bigKey(n), value)
	}}).run(ctx); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	c, err := dial(srv.addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	request := getRequest(nil, srv.addr, "/big", "?recursive=true")
	var rates []float64
	var size int64
	for range listRuns {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began := time.Now()
		if size, err = c.roundTrip(request); err != nil {
			return nil, err
		}
		rates = append(rates, float64(size)/time.Since(began).Seconds())
	}
	return []figure{{"list bytes per second", median(rates)}, {"list size", float64(size)}}, nil
}

// idleRow leaves the member alone and looks at what it wrote meanwhile.
func idleRow(ctx context.Context, s settings, srv *server) ([]figure, error) {
	first, err := raftIndex(ctx, srv.addr)
	if err != nil {
		return nil, err
	}
	written := srv.written()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.duration): // the quiet time that is measured
	}
	last, err := raftIndex(ctx, srv.addr)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"idle log entries", float64(last-first) / s.duration.Seconds()},
		{"idle bytes written", (srv.written() - written) / s.duration.Seconds()},
	}, nil
}

func raftIndex(ctx context.Context, addr string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v2/keys/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return strconv.ParseInt(resp.Header.Get("X-Raft-Index"), 10, 64)
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// catchUpRow has a member miss a million keys, brings it back while the leader is
// written to, and looks at how long a writer waits meanwhile.
func catchUpRow(ctx context.Context, s settings, srv *server) ([]figure, error) {
	late := srv.others[0]
	late.kill()
	fill := load{addr: srv.addr, conns: 64, limit: int64(s.keys), request: func(b []byte, n int64, _ *rand.Rand) []byte {
		return putRequest(b, srv.addr, bigKey(n), value)
	}}
	if _, err := fill.run(ctx); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	over := load{addr: srv.addr, conns: 16, length: s.duration, request: func(b []byte, _ int64, r *rand.Rand) []byte {
		return putRequest(b, srv.addr, bigKey(r.Int64N(int64(s.keys))), value)
	}}
	alone, err := over.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("overwrite: %w", err)
	}
	target, err := srv.index()
	if err != nil {
		return nil, err
	}
	caughtUp := make(chan error, 1) // one answer
	began := time.Now()
	var took time.Duration
	if err := late.launch(); err != nil {
		return nil, err
	}
	go func() {
		err := late.reach(ctx, target)
		took = time.Since(began)
		caughtUp <- err
	}()
	over.length = 2 * s.duration
	busy, err := over.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("overwrite: %w", err)
	}
	if err := <-caughtUp; err != nil {
		return nil, err
	}
	return []figure{
		{"catchup time", inMicros(took)},
		{"catchup p99.9 at the leader", inMicros(busy.hist.quantile(0.999))},
		{"catchup max at the leader", inMicros(busy.hist.max)},
		{"catchup max without a follower", inMicros(alone.hist.max)},
	}, nil
}

// reach waits until the member has applied an etcd index.
func (s *server) reach(ctx context.Context, index uint64) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		if at, err := s.index(); err == nil && at >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("the member has not reached index %d\n%s", index, s.log.String())
}

// index asks for the etcd index.
func (s *server) index() (uint64, error) {
	resp, err := http.Get("http://" + s.addr + "/v2/keys/bench-start")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
}

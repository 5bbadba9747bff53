package main

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// service runs until its context ends or it fails.
type service func(ctx context.Context) error

// together runs services until the first of them returns, stops the others, waits
// for them and returns the first error.
func together(ctx context.Context, services ...service) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	for _, run := range services {
		running.Go(func() { stop(run(ctx)) })
	}
	running.Wait()
	return failure(ctx)
}

// stacked runs services of which each stands on those before it. When ctx ends or
// one of them returns, they stop from the top: each once the one above it has
// returned. The result is the first error.
func stacked(ctx context.Context, services ...service) error {
	over, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var ends []func()
	for _, run := range services {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var running sync.WaitGroup
		running.Go(func() { stop(run(own)) })
		ends = append(ends, func() {
			cancel()
			running.Wait()
		})
	}
	<-over.Done()
	for _, end := range slices.Backward(ends) {
		end()
	}
	return failure(over)
}

// failure is the error that ended ctx, nil when it was just time to stop.
func failure(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Package pause is the time between one try and the next.
package pause

import (
	"context"
	"time"
)

// For waits for d, or less when ctx ends, whose cause it returns.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Growing is a pause that doubles from one time to the next. One goroutine at a
// time may use it.
type Growing struct {
	Min time.Duration // the first; required
	Max time.Duration // none is longer; required

	last time.Duration
}

// Next is how long the next pause is to be.
func (g *Growing) Next() time.Duration {
	g.last = min(max(2*g.last, g.Min), g.Max)
	return g.last
}

// Wait waits as For does, for the next pause.
func (g *Growing) Wait(ctx context.Context) error { return For(ctx, g.Next()) }

// Reset makes the next pause the first one again.
func (g *Growing) Reset() { g.last = 0 }

package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"etcd2/client"
	"etcd2/internal/pause"
)

const (
	// Pauses between attempts at a place that does not answer.
	retryMin = 2 * time.Second
	retryMax = time.Minute
	// idleMin is the first pause between looks that bring nothing new although
	// something happened: a busy or hostile place must not keep this process busy.
	// They grow up to tellEvery.
	idleMin = 100 * time.Millisecond
	// tellEvery is the least time between two lines about the progress.
	tellEvery = 5 * time.Second
)

// persist repeats a request until it is answered. The error is that of ctx or one
// that will not go away.
func (p *place) persist(ctx context.Context, what string, request func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, requestMax)
		err := request(attempt)
		cancel()
		if err == nil {
			p.retry.Reset()
			return nil
		}
		if err := p.failed(ctx, what, err); err != nil {
			return err
		}
	}
}

// failed waits before the next attempt when err is one that may go away, and else
// returns what to tell about it.
func (p *place) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var nobody *client.ClusterError
	var reasons []error
	switch {
	case errors.As(err, &nobody):
		reasons = nobody.Errors
	case errors.Is(err, context.DeadlineExceeded):
		reasons = []error{fmt.Errorf("no answer within %v", requestMax)}
	case errors.Is(err, client.ErrTooLong):
		return fmt.Errorf("%w: an answer of more than %d bytes", ErrBadEndpoint, listBytesMax)
	case errors.Is(err, client.ErrInvalidJSON), errors.Is(err, client.ErrEmptyBody):
		return ErrBadEndpoint
	default:
		return err
	}
	for i, reason := range reasons {
		p.log.Error(fmt.Sprintf("error #%d: %v", i, reason))
	}
	told := p.retry.Next()
	p.log.Info(fmt.Sprintf("%s: error connecting to %s, retrying in %s", what, p.base, told))
	// The wait is up to a quarter shorter than it says, so that members which lost the
	// same server come back one by one.
	return pause.For(ctx, told-rand.N(told/4))
}

// progress decides when a line about the progress is due: when more have arrived,
// but not too often, and each pollMax in between.
type progress struct {
	at      time.Time // of the last line; zero: none yet
	arrived int
}

// due tells whether to tell that so many have arrived, and notes that it is done.
func (p *progress) due(arrived int) bool {
	if !p.at.IsZero() && p.next(arrived) > 0 {
		return false
	}
	p.at, p.arrived = time.Now(), arrived
	return true
}

// next is the time until the next line.
func (p *progress) next(arrived int) time.Duration {
	every := pollMax
	if arrived != p.arrived {
		every = tellEvery
	}
	return max(0, time.Until(p.at.Add(every)))
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"etcd2/client"
)

const (
	retryMin = 2 * time.Second
	retryMax = time.Minute
	// tellEvery is the least time between two lines about the progress.
	tellEvery = 5 * time.Second
)

// backoff is the wait between attempts: it doubles up to retryMax.
type backoff struct{ wait time.Duration }

// next returns the wait as it is told to people. The real one is up to a quarter
// shorter, so that members which lost the same server come back one by one.
func (b *backoff) next() (told, real time.Duration) {
	b.wait = min(max(2*b.wait, retryMin), retryMax)
	return b.wait, b.wait - rand.N(b.wait/4)
}

// persist repeats a request until it is answered. The error is that of ctx or one
// that will not go away.
func (p *place) persist(ctx context.Context, what string, request func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, requestMax)
		err := request(attempt)
		cancel()
		if err == nil {
			p.retry = backoff{}
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
	told, wait := p.retry.next()
	p.log.Info(fmt.Sprintf("%s: error connecting to %s, retrying in %s", what, p.base, told))
	return sleep(ctx, wait)
}

// pause is the wait between looks that bring nothing new although something
// happened, so that a busy or hostile place does not keep this process busy.
type pause struct{ length time.Duration }

func (w *pause) wait(ctx context.Context) error {
	w.length = min(max(2*w.length, 100*time.Millisecond), tellEvery)
	return sleep(ctx, w.length)
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

// sleep waits for d, or less when ctx ends, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package proc

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// pollEvery is the pause between looks at a condition outside this process.
const pollEvery = 10 * time.Millisecond

// Eventually looks again and again until the condition holds, which nothing tells
// of because it is one of another process. The test fails when that takes longer
// than a good run could.
func Eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for end := time.Now().Add(within); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// Output collects what a process prints. Any goroutine may write and read. Its zero
// value is empty.
type Output struct {
	mu    sync.Mutex // guards the fields below
	text  []byte
	grown chan struct{} // closed by the next Write; nil when nobody waits
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if o.grown != nil {
		close(o.grown)
		o.grown = nil
	}
	return len(p), nil
}

// String is all that was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Await waits until the text is printed. It is false if ended was closed or ctx ended
// first; a nil ended is that of a process which goes on.
func (o *Output) Await(ctx context.Context, text string, ended <-chan struct{}) bool {
	for {
		got, more := o.look()
		if strings.Contains(got, text) {
			return true
		}
		select {
		case <-more:
		case <-ended:
			return strings.Contains(o.String(), text)
		case <-ctx.Done():
			return false
		}
	}
}

// look returns the text and a channel that is closed when there is more.
func (o *Output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown == nil {
		o.grown = make(chan struct{})
	}
	return string(o.text), o.grown
}

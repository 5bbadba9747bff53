package proc

import (
	"bytes"
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

// Output collects what a process prints. Any goroutine may write and read.
type Output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is all that was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopSignals ask the process to stop.
var stopSignals = [...]os.Signal{syscall.SIGTERM, os.Interrupt}

// exit ends the process. After a signal it ends by that same signal, so that the
// parent sees why; the first process of a container cannot be killed by its own
// signals and leaves with status 0.
func (o outcome) exit() {
	number, ok := o.signal.(syscall.Signal)
	if !ok {
		os.Exit(o.status)
	}
	if os.Getpid() == 1 {
		os.Exit(exitGood)
	}
	signal.Reset(o.signal)
	if err := syscall.Kill(os.Getpid(), number); err == nil {
		// Delivery may take a moment; a parent that had the signal ignored has
		// to do with the status a shell would show.
		time.Sleep(time.Second)
	}
	os.Exit(128 + int(number))
}

//go:build !unix

package main

import "os"

// stopSignals ask the process to stop.
var stopSignals = [...]os.Signal{os.Interrupt}

// exit ends the process. A process here cannot end by a signal, so being asked to
// stop counts as a good end.
func (o outcome) exit() {
	if o.signal != nil {
		os.Exit(exitGood)
	}
	os.Exit(o.status)
}

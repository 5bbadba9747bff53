package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// gcPercent makes a collection start when the heap has grown by half. The tree
	// lives long and is cheap to mark beside the garbage of requests, so memory is
	// worth more than the collector's time.
	gcPercent = 50
	// gcFloorBytes counts as live in the collector's sums, so that a small tree is
	// not marked many times a second. It is address space only: never touched, it
	// takes no memory.
	gcFloorBytes = 64 << 20
)

// paceGC sets the pace of the garbage collector, unless GOGC does, until release
// is called.
func paceGC() (release func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	floor := make([]byte, gcFloorBytes)
	return func() {
		runtime.KeepAlive(floor)
		debug.SetGCPercent(before)
	}
}

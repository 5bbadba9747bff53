//go:build unix

package main

import (
	"os"
	"syscall"
)

// endedBy tells which signal ended a process, if one did.
func endedBy(state *os.ProcessState) (int, bool) {
	status, ok := state.Sys().(syscall.WaitStatus)
	return int(status.Signal()), ok && status.Signaled()
}

//go:build unix

package openfiles

import (
	"os"
	"syscall"
)

// Limit is how many files the process may hold open, false when unknown.
func Limit() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}

// Count is how many files the process holds open, 0 when unknown.
func Count() int {
	f, err := os.Open("/dev/fd")
	if err != nil {
		return 0
	}
	defer f.Close()
	names, err := f.Readdirnames(0)
	if err != nil {
		return 0
	}
	return len(names) - 1 // without f
}

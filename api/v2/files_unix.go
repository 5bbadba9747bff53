//go:build unix

package v2

import (
	"os"
	"syscall"
)

// fileLimit is how many files the process may hold open, 0 when unknown.
func fileLimit() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Cur)
}

// openFiles is how many files the process holds open, 0 when unknown.
func openFiles() int {
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

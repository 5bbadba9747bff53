//go:build unix

package main

import "syscall"

// openFileLimit is how many files this process may have open, false if that
// cannot be found out.
func openFileLimit() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}

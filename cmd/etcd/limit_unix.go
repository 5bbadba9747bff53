//go:build unix

package main

import "golang.org/x/sys/unix"

// openFileLimit is how many files this process may have open, false if that
// cannot be found out.
func openFileLimit() (uint64, bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}

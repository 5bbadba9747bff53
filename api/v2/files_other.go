//go:build !unix

package v2

// fileLimit is how many files the process may hold open, 0 when unknown.
func fileLimit() uint64 { return 0 }

// openFiles is how many files the process holds open, 0 when unknown.
func openFiles() int { return 0 }

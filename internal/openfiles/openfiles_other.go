//go:build !unix

package openfiles

// Limit knows none: this system does not number open files.
func Limit() (uint64, bool) { return 0, false }

// Count is 0, for unknown.
func Count() int { return 0 }

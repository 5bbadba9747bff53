//go:build !unix

package main

// openFileLimit finds no limit: this system does not number open files.
func openFileLimit() (uint64, bool) { return 0, false }

//go:build !unix

package chaos

// systemFaults are those that not every system knows.
func systemFaults() []fault { return nil }

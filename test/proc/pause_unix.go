//go:build unix

package proc

import "syscall"

// CanPause reports whether this system can pause a process.
const CanPause = true

// Pause stops the process where it is. The process does not notice.
func (m *Member) Pause() error { return m.Signal(syscall.SIGSTOP) }

// Resume lets a paused process continue.
func (m *Member) Resume() error { return m.Signal(syscall.SIGCONT) }

//go:build !unix

package proc

import "errors"

// CanPause reports whether this system can pause a process.
const CanPause = false

// Pause returns an error: this system cannot pause a process.
func (m *Member) Pause() error { return errors.ErrUnsupported }

// Resume returns an error, like Pause.
func (m *Member) Resume() error { return errors.ErrUnsupported }

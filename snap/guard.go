package snap

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errPanic marks an error that was a panic of bbolt.
var errPanic = errors.New("snap: bbolt gave up")

// guard calls f, which calls bbolt. What bbolt reads was verified at the load,
// but the disk may have changed since, and bbolt answers damage with a panic or
// with an access outside its mapping. Both become ErrCorrupt.
func guard(file string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%w)", corrupt(file, "changed on the disk since it was loaded: %v", p), errPanic)
		}
	}()
	return f()
}

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync uses fdatasync: times of access and change need not reach the disk.
func (f osFile) Sync() error {
	err := again(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Allocate(size int64) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	err = again(func() error { return unix.Fallocate(int(f.Fd()), 0, have, size-have) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return f.extend(size)
	default:
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
}

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func (f osFile) Sync() error { return f.File.Sync() }

// Allocate extends the file; Windows reserves the room when it sets the size.
func (f osFile) Allocate(size int64) error { return f.extend(size) }

// syncDir has nothing to do: NTFS keeps names in its own journal and offers no
// call to flush a directory.
func syncDir(string) error { return nil }

func lock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func free(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var avail uint64
	err = windows.GetDiskFreeSpaceEx(name, &avail, nil, nil)
	return avail, err
}

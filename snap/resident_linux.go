package snap

import (
	"os"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// forget takes the mapped pages of a file out of the memory of the process. bbolt
// reads through a mapping, and a commit touches pages all over a large file: they
// count as the process's own although the system may drop them at any time. What is
// needed again comes back from the page cache. It is only advice, so errors do
// not matter.
func forget(db *bolt.DB) {
	info, err := os.Stat(db.Path())
	if err != nil {
		return
	}
	pages := uintptr(os.Getpagesize())
	length := (uintptr(info.Size()) + pages - 1) / pages * pages
	syscall.Syscall(syscall.SYS_MADVISE, db.Info().Data, length, syscall.MADV_DONTNEED)
}

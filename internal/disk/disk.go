// Package disk is the seam between the server and the file system.
//
// Code that must survive crashes takes an FS as an argument: OS in production,
// a simulated disk in tests. The interface is as small as a log needs, and each
// method says what is durable when it returns.
package disk

import (
	"errors"
	"io"
	"os"
)

// ErrLocked is returned by Lock while another holder, most likely another
// process, has the lock.
var ErrLocked = errors.New("file already locked")

// FS is a file system. Its methods may be called from several goroutines, and
// their errors wrap those of package os, so os.ErrNotExist, os.ErrPermission
// and syscall.ENOSPC are found with errors.Is.
type FS interface {
	// OpenFile opens name as os.OpenFile does. A file it creates is durable
	// under its name only after SyncDir on the directory.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)

	// ReadDir lists the names in a directory in ascending order.
	ReadDir(name string) ([]string, error)

	// Rename gives a file a new name and replaces what had it. The change is
	// durable, whole or not at all, after SyncDir.
	Rename(oldname, newname string) error

	// Remove deletes a file. The change is durable after SyncDir.
	Remove(name string) error

	// MkdirAll makes a directory and the parents it lacks. The names of those it
	// makes are durable.
	MkdirAll(name string, perm os.FileMode) error

	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error

	// Lock takes an exclusive lock on name, creating the file when it is
	// absent, and holds it until the result is closed or the process ends. It
	// never waits: the answer is ErrLocked when somebody else has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file without a position of its own.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync makes the bytes of the file, and the size needed to read them back,
	// durable.
	Sync() error

	// Truncate cuts the file to size bytes, or extends it with zeros.
	Truncate(size int64) error

	// Allocate extends the file with zeros to size bytes and, where the file
	// system can, reserves the room. A file that is longer stays as it is.
	Allocate(size int64) error

	// Size is the length of the file in bytes.
	Size() (int64, error)
}

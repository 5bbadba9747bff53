package wal_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"etcd2/internal/disk"
)

// errFrozen is what every attempt to change a frozen disk gets.
var errFrozen = errors.New("frozen disk")

// frozen is a disk that can be read and locked, and gives errFrozen otherwise.
type frozen map[string][]byte

func (d frozen) OpenFile(name string, flag int, _ os.FileMode) (disk.File, error) {
	b, ok := d[name]
	switch {
	case flag != os.O_RDONLY:
		return nil, errFrozen
	case !ok:
		return nil, os.ErrNotExist
	}
	return frozenFile(b), nil
}

func (d frozen) ReadDir(dir string) ([]string, error) {
	var names []string
	for name := range d {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (frozen) Rename(string, string) error        { return errFrozen }
func (frozen) Remove(string) error                { return errFrozen }
func (frozen) MkdirAll(string, os.FileMode) error { return errFrozen }
func (frozen) SyncDir(string) error               { return errFrozen }
func (frozen) Lock(string) (io.Closer, error)     { return frozenFile(nil), nil }

type frozenFile []byte

func (f frozenFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (frozenFile) WriteAt([]byte, int64) (int, error) { return 0, errFrozen }
func (frozenFile) Close() error                       { return nil }
func (frozenFile) Sync() error                        { return errFrozen }
func (frozenFile) Truncate(int64) error               { return errFrozen }
func (frozenFile) Allocate(int64) error               { return errFrozen }
func (f frozenFile) Size() (int64, error)             { return int64(len(f)), nil }

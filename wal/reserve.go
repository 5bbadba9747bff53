package wal

import (
	"errors"
	"fmt"
	"syscall"

	"etcd2/internal/disk"
)

const (
	firstRoom  = 1 << 20 // preallocated at first, then doubled as needed
	spareBytes = 1       // zeros that stay behind the last group
)

// reserve preallocates room up to end and beyond, in doubling steps up to the
// segment size, so that a sync rarely has to record a new file size. A disk too
// full for that may still hold the group itself.
//
// The new size is durable before reserve returns. So no crash leaves a file that
// ends in a group, or right behind one: such a file was cut short.
func (l *Log) reserve(end int64) error {
	end += spareBytes
	if end <= l.size {
		return nil
	}
	size, err := allocate(l.file, end, grown(l.size, end, l.cfg.SegmentBytes))
	if err != nil {
		return fmt.Errorf("wal: cannot reserve room in %s: %w", l.path(l.head.name()), err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("wal: cannot sync %s: %w", l.path(l.head.name()), err)
	}
	l.size = size
	return nil
}

// grown returns the size to which a file of the given size is extended when it must
// reach end. Servers that did not set flagReserved used the same rule.
func grown(size, end, limit int64) int64 {
	return max(end, min(max(firstRoom, 2*size), limit))
}

// allocate extends a file to most bytes, or, when the disk is too full, to least. It
// returns the size that it reached.
func allocate(f disk.File, least, most int64) (int64, error) {
	err := full(f.Allocate(most))
	if errors.Is(err, ErrFull) && least < most {
		return least, full(f.Allocate(least))
	}
	return most, err
}

// full marks an error that came from a full disk, and no other, as ErrFull.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

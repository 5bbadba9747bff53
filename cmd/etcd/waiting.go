package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// waitingFile is there, in the data directory, while a member that has registered at
// its discovery URL waits for the others. It holds the URL.
//
// A member that comes to the URL a second time has lost its data and must not take
// part again: it would break what it promised the first time. One that was stopped
// while it waited has promised nothing. The file tells them apart.
const waitingFile = "discovery"

// waiting is the wait of a member for the others.
type waiting struct {
	dir string // data directory
	url string
}

func (c *Config) waiting() waiting { return waiting{c.DataDir, c.Discovery} }

func (w waiting) file() string { return filepath.Join(w.dir, waitingFile) }

// Begun tells whether the member waits already, from an earlier run.
func (w waiting) Begun() (bool, error) {
	url, err := os.ReadFile(w.file())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(url) == w.url, err
}

// Begin notes that the member waits from now on. That the note might be lost in a
// crash does no harm.
func (w waiting) Begin() error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(w.file(), []byte(w.url), 0o600)
}

// End forgets the wait, if there was one.
func (w waiting) End() error {
	if err := os.Remove(w.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rehearse opens all addresses once and closes them again. A mistake in them is found
// out here, before the member registers and others count on it. While it waits for
// them nothing listens, so that clients go on to the next endpoint.
func rehearse(ctx context.Context, c Config) error {
	l, err := newListeners(&c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := l.Open(ctx, &c); err != nil {
		return err
	}
	l.Close()
	return nil
}

package tlsconf

import (
	"context"
	"os"
	"slices"
	"time"
)

// lookEvery is the time between two looks at the files.
const lookEvery = time.Second

// Run watches the files until ctx ends, then returns nil. A change counts once
// two looks in a row have seen the same, so that a certificate is not taken
// before its key has been written too.
func (s *Source) Run(ctx context.Context) error {
	if len(s.cfg.files()) == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w := watcher{source: s, last: s.now.Load().seen}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look()
		}
	}
}

// watcher is the memory of Run.
type watcher struct {
	source    *Source
	last      []os.FileInfo // as the last look saw the files
	complaint string        // about the files as they are; "" when they are in order
}

// look reads the files again when there is a reason to.
func (w *watcher) look() {
	s := w.source
	old := s.now.Load()
	now := stat(s.cfg.files())
	settled := slices.EqualFunc(now, w.last, same)
	w.last = now
	due := s.cfg.Auto && time.Until(old.expires) < autoRenew
	if !due && slices.EqualFunc(now, old.seen, same) {
		w.complaint = ""
		return
	}
	if !settled {
		return
	}
	// What failed is tried at every look: a file may become readable without
	// looking different.
	m, err := load(&s.cfg)
	if err != nil {
		if w.complaint != err.Error() {
			w.complaint = err.Error()
			s.cfg.Logger.Warn("changed certificate files are not in order, keeping the old ones",
				"cert", s.cfg.Cert, "error", err)
		}
		return
	}
	w.complaint = ""
	s.now.Store(m)
	s.cfg.Logger.Info("certificate files read again", "cert", s.cfg.Cert, "expires", m.expires)
	m.warn(s.cfg.Logger)
}

// stat returns what the file system knows of the files, nil for one that cannot
// be looked at.
func stat(names []string) []os.FileInfo {
	infos := make([]os.FileInfo, len(names))
	for i, name := range names {
		if info, err := os.Stat(name); err == nil {
			infos[i] = info
		}
	}
	return infos
}

// same tells whether a file looks as it did.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
)

// stopper ends a context when the process is asked to stop.
type stopper struct {
	signals chan os.Signal // holds two: the one that asks and the one that insists
	quit    chan struct{}  // closed by release
	done    sync.WaitGroup
	first   os.Signal // read after done
}

// watchSignals returns a context that ends with the first signal that asks the
// process to stop. A second one ends the process at once.
func watchSignals(parent context.Context, log *slog.Logger) (context.Context, *stopper) {
	ctx, cancel := context.WithCancel(parent)
	s := &stopper{signals: make(chan os.Signal, 2), quit: make(chan struct{})}
	signal.Notify(s.signals, stopSignals[:]...)
	s.done.Go(func() {
		defer cancel()
		select {
		case s.first = <-s.signals:
		case <-s.quit:
			return
		}
		notice(log.With(pkgKey, "osutil"), fmt.Sprintf("received %v signal, shutting down...", s.first))
		cancel()
		select {
		case again := <-s.signals:
			outcome{status: exitError, signal: again}.exit()
		case <-s.quit:
		}
	})
	return ctx, s
}

// release stops watching and returns the signal that came, nil if none did.
func (s *stopper) release() os.Signal {
	signal.Stop(s.signals)
	close(s.quit)
	s.done.Wait()
	return s.first
}

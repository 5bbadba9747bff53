package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"etcd2/api/v2"
	"etcd2/etcdserver"
	"etcd2/peer"
)

// serve is one member from its open data directory to its last answer: the only
// place where all packages meet.
func serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	defer paceGC()()
	l, err := newListeners(&cfg, log)
	if err != nil {
		return err
	}
	from, err := findOrigin(ctx, &cfg, l.peer.source, log)
	if ctx.Err() != nil {
		return nil // asked to stop while it waited for others
	}
	if err != nil {
		return err
	}
	if err := l.Open(ctx, &cfg); err != nil {
		return err
	}
	defer l.Close()
	logConfig(&cfg, log)
	metrics := v2.NewMetrics()
	member, err := etcdserver.Open(memberConfig(&cfg, from, metrics, log))
	if err != nil {
		return err
	}
	// Requests under way are finished before the member stops.
	memberCtx, stopMember := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMember()
	return together(ctx,
		func(context.Context) error { return member.Run(memberCtx) },
		func(ctx context.Context) error {
			defer stopMember()
			return together(ctx,
				func(ctx context.Context) error { return serveClients(ctx, &cfg, member, metrics, l, log) },
				func(ctx context.Context) error { return serveHTTP(ctx, peer.Handler(member), l.Peers, log) },
				l.Run,
			)
		},
	)
}

// serveClients serves the client URLs until ctx ends.
func serveClients(ctx context.Context, cfg *Config, member *etcdserver.Server, metrics *v2.Metrics, l *listeners, log *slog.Logger) error {
	h := v2.Handler(member, v2.Config{
		CORS:     cfg.CORS,
		Pprof:    cfg.EnablePprof,
		Metrics:  metrics,
		LogLevel: &cfg.Levels.All,
		Stop:     ctx,
		Logger:   log.With(pkgKey, "etcdhttp"),

		Certificates: l.expiries(),
	})
	awaitAnnounced(ctx, member, cfg.Election)
	return v2.NewFront(newHTTPServer(h, log)).Run(ctx, l.Clients...)
}

// memberConfig is the part of the configuration that the member itself needs.
func memberConfig(cfg *Config, from *origin, metrics *v2.Metrics, log *slog.Logger) etcdserver.Config {
	return etcdserver.Config{
		Name:              cfg.Name,
		Dir:               cfg.DataDir,
		WALDir:            cfg.LogDir(),
		ClientURLs:        cfg.AdvertiseClientURLs,
		Founders:          from.Founders,
		Self:              from.Self,
		ClusterID:         from.ClusterID,
		Tick:              cfg.Heartbeat,
		Election:          cfg.Election,
		CheckpointEntries: cfg.SnapshotCount,
		HistoryEvents:     cfg.HistoryEvents,
		MinFreeBytes:      cfg.MinFreeBytes,
		Logger:            log.With(pkgKey, "etcdserver"),
		Observe: etcdserver.Observer{
			LogSync:    metrics.ObserveSync,
			Commit:     metrics.ObserveCommit,
			Proposal:   metrics.ObserveProposal,
			Failed:     metrics.ObserveProposalFailed,
			Checkpoint: metrics.ObserveCheckpoint,
		},
	}
}

// awaitAnnounced lets the member publish itself before the first client is
// served, so that its own writes come first in the log. It waits no longer than
// an election may take: reads are served without a leader too.
func awaitAnnounced(ctx context.Context, member *etcdserver.Server, election time.Duration) {
	select {
	case <-member.Announced():
	case <-time.After(2 * election):
	case <-ctx.Done():
	}
}

// serveHTTP serves the listeners until ctx ends, then cuts the connections.
func serveHTTP(ctx context.Context, h http.Handler, on []net.Listener, log *slog.Logger) error {
	srv := newHTTPServer(h, log)
	serving := make([]service, 0, len(on)+1)
	for _, l := range on {
		serving = append(serving, func(context.Context) error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	serving = append(serving, func(ctx context.Context) error {
		<-ctx.Done()
		return srv.Close()
	})
	return together(ctx, serving...)
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return v2.NewHTTPServer(h, log.With(pkgKey, "http"))
}

// service runs until its context ends or it fails.
type service func(ctx context.Context) error

// together runs services until the first of them returns, stops the others, waits
// for them and returns the first error.
func together(ctx context.Context, services ...service) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	for _, run := range services {
		running.Go(func() { stop(run(ctx)) })
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

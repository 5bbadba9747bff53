package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"time"

	"etcd2/api/v2"
	"etcd2/discovery"
	"etcd2/etcdserver"
	"etcd2/peer"
)

// serve is one member, or one proxy, from its open data directory to its last
// answer: the only place where all packages meet.
func serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.Meets {
		if err := rehearse(ctx, cfg); err != nil {
			return err
		}
	}
	l, err := newListeners(&cfg, log)
	if err != nil {
		return err
	}
	if cfg.Proxies {
		return serveProxy(ctx, &cfg, l, log)
	}
	from, err := findOrigin(ctx, &cfg, l.peer.source, log)
	switch {
	case ctx.Err() != nil:
		return nil // asked to stop while it waited for others
	case errors.Is(err, discovery.ErrFull) && cfg.Fallback == fallbackProxy:
		notice(log.With(pkgKey, "etcdmain"), "discovery cluster full, falling back to proxy")
		if err := cfg.waiting().End(); err != nil {
			return err
		}
		return serveProxy(ctx, &cfg, l, log)
	case err != nil:
		return err
	}
	return serveMember(ctx, &cfg, from, l, log)
}

// serveMember opens the listeners and the data, in this order, and serves.
func serveMember(ctx context.Context, cfg *Config, from *origin, l *listeners, log *slog.Logger) error {
	defer paceGC()()
	if err := l.Open(ctx, cfg); err != nil {
		return err
	}
	defer l.Close()
	logConfig(cfg, log)
	m := &running{cfg: cfg, metrics: v2.NewMetrics(), listeners: l, log: log}
	if err := m.open(from); err != nil {
		return err
	}
	if err := cfg.waiting().End(); err != nil { // from here on it has data to lose
		return err
	}
	return m.run(ctx)
}

// running is a member with all that serves it.
type running struct {
	cfg       *Config
	metrics   *v2.Metrics
	listeners *listeners
	peers     *peer.Transport
	member    *etcdserver.Server
	log       *slog.Logger
}

// open readies the member and its way to the others, which know each other.
func (m *running) open(from *origin) error {
	cfg := memberConfig(m.cfg, from, m.metrics, m.log)
	cfg.Peers = func(s *etcdserver.Server) etcdserver.Peers {
		m.peers = peer.New(peer.Config{
			TLS:                    m.listeners.peer.source.Client,
			PeerURLs:               m.cfg.AdvertisePeerURLs,
			SnapshotBytesPerSecond: limit(m.cfg.SnapshotRate),
			Logger:                 m.log.With(pkgKey, "peer"),
		}, s)
		return m.peers
	}
	var err error
	m.member, err = etcdserver.Open(cfg)
	return err
}

// run serves until ctx ends or the member can no longer keep its promises. A stop
// goes from the outside to the inside: leadership is handed over while all goes on,
// then clients are sent away, and when their requests are finished the member and
// its way to the others stop.
func (m *running) run(ctx context.Context) error {
	return stacked(ctx,
		m.serveMembers,
		m.serveClients,
		func(over context.Context) error {
			<-over.Done()
			if ctx.Err() != nil { // not because something failed
				m.handOver(ctx)
			}
			return nil
		},
	)
}

// serveMembers is the member itself and its way to the others.
func (m *running) serveMembers(ctx context.Context) error {
	return together(ctx,
		m.member.Run,
		m.peers.Run,
		func(ctx context.Context) error { return serveHTTP(ctx, m.peers.Handler(), m.listeners.Peers, 0, m.log) },
		m.listeners.Run,
	)
}

// handOver spares the cluster an election: another member leads from here on.
func (m *running) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Election)
	defer cancel()
	m.member.HandOver(ctx)
}

// serveClients serves the client URLs until ctx ends.
func (m *running) serveClients(ctx context.Context) error {
	h := v2.Handler(m.member, v2.Config{
		CORS:     m.cfg.CORS,
		Pprof:    m.cfg.EnablePprof,
		Metrics:  m.metrics,
		LogLevel: &m.cfg.Levels.All,
		Stop:     ctx,
		Logger:   m.log.With(pkgKey, "etcdhttp"),

		DefaultRead:  m.cfg.DefaultRead,
		Certificates: m.listeners.expiries(),
	})
	awaitAnnounced(ctx, m.member, m.cfg.Election)
	if m.cfg.DiscoveryServiceOnly {
		return serveHTTP(ctx, m.meetingPlace(h).Beside(pagesOnly(h)), m.listeners.Clients, 0, m.log)
	}
	srv := newHTTPServer(h, m.log)
	front := v2.NewFront(srv)
	if m.cfg.DiscoveryService {
		srv.Handler = m.meetingPlace(h).Beside(h)
	}
	return front.Run(ctx, m.listeners.Clients...)
}

// memberConfig is the part of the configuration that the member itself needs.
func memberConfig(cfg *Config, from *origin, metrics *v2.Metrics, log *slog.Logger) etcdserver.Config {
	return etcdserver.Config{
		Name:              cfg.Name,
		Dir:               cfg.DataDir,
		WALDir:            cfg.LogDir(),
		ClientURLs:        cfg.AdvertiseClientURLs,
		Self:              from.Self,
		ClusterID:         from.ClusterID,
		Founders:          from.Founders,
		Join:              from.Join,
		Remotes:           from.Remotes,
		Generation:        from.Generation,
		ForceNewCluster:   cfg.ForceNewCluster,
		StrictReconfig:    cfg.StrictReconfig,
		AgreementInterval: cmp.Or(cfg.AgreementInterval, -1),
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

// limit is a rate as package peer has it, where 0 stands for a default.
func limit(rate uint64) int64 { return cmp.Or(int64(min(rate, math.MaxInt64)), -1) }

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

// serveHTTP serves the listeners until ctx ends, then gives requests under way the
// grace and cuts the connections.
func serveHTTP(ctx context.Context, h http.Handler, on []net.Listener, grace time.Duration, log *slog.Logger) error {
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
		if grace > 0 {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			srv.Shutdown(ctx) // an error means that some requests are still under way
		}
		return srv.Close()
	})
	return together(ctx, serving...)
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return v2.NewHTTPServer(h, log.With(pkgKey, "http"))
}

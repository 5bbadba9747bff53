package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"etcd2/discovery"
	"etcd2/membership"
	"etcd2/proxy"
)

// proxyGrace is how long requests under way may take once a proxy is to stop. Long
// polls use it up, so it is short.
const proxyGrace = time.Second

// serveProxy is a proxy from its first question to its last answer.
func serveProxy(ctx context.Context, c *Config, l *listeners, log *slog.Logger) error {
	kept, err := proxy.OpenPeers(c.DataDir)
	if err != nil {
		return err
	}
	urls, err := proxyPeers(ctx, c, kept, log.With(pkgKey, "etcdmain"))
	if ctx.Err() != nil {
		return nil // asked to stop while it waited for others
	}
	if err != nil {
		return err
	}
	clientTLS, peerTLS := l.MemberTLS(c)
	p := proxy.New(proxy.Config{
		PeerURLs:        urls,
		Kept:            kept,
		Members:         asker(c, peerTLS, log.With(pkgKey, "etcdserver")),
		Readonly:        c.Proxy == proxyReadonly,
		CORS:            c.CORS,
		RefreshInterval: c.ProxyRefresh,
		FailureWait:     cmp.Or(c.ProxyFailureWait, -1),
		DialTimeout:     cmp.Or(c.ProxyDialTimeout, -1),
		WriteTimeout:    cmp.Or(c.ProxyWriteTimeout, -1),
		ReadTimeout:     c.ProxyReadTimeout,
		TLS:             clientTLS,
		Logger:          log.With(pkgKey, "proxy"),
	})
	return runProxy(ctx, c, l, p, log)
}

// proxyPeers returns the peer URLs at which a proxy asks for the members first:
// those it has kept, or else those of the source it was given.
func proxyPeers(ctx context.Context, c *Config, kept *proxy.Peers, log *slog.Logger) ([]string, error) {
	if urls := kept.URLs(); len(urls) > 0 {
		for source, given := range map[string]string{"discovery token": c.Discovery, "DNS SRV discovery": c.DiscoverySRV} {
			if given != "" {
				log.Warn(fmt.Sprintf("%s ignored since the proxy has already been initialized. Valid cluster file found at %q", source, kept.File()))
			}
		}
		return urls, nil
	}
	if c.Discovery != "" {
		peers, err := discovery.Members(ctx, c.discoveryURL(log))
		return urlsOf(peers), err
	}
	if c.DiscoverySRV != "" {
		urls, err := discovery.SRVMembers(ctx, c.srv(log))
		if err != nil {
			err = fmt.Errorf("error setting up initial cluster: %w", err)
		}
		return urls, err
	}
	peers, err := initialCluster(ctx, c, log)
	return urlsOf(peers), err
}

// urlsOf returns the peer URLs of all members, sorted.
func urlsOf(peers membership.Peers) []string {
	var urls []string
	for _, of := range peers {
		urls = append(urls, of...)
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// runProxy serves until ctx ends. The listeners open once the members were asked, so
// that a client who gets through finds endpoints if there are any; they close before
// the proxy stops.
func runProxy(ctx context.Context, c *Config, l *listeners, p *proxy.Proxy, log *slog.Logger) error {
	return stacked(ctx, p.Run, func(ctx context.Context) error {
		select {
		case <-p.Ready():
		case <-ctx.Done():
			return nil
		}
		if err := l.OpenProxy(ctx, c); err != nil {
			return err
		}
		defer l.Close()
		return together(ctx,
			func(ctx context.Context) error { return serveHTTP(ctx, p, l.Clients, proxyGrace, log) },
			l.Run,
		)
	})
}

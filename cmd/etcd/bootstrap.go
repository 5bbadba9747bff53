package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"etcd2/discovery"
	"etcd2/membership"
	"etcd2/wal"
)

// bootstrap decides what the process starts as. The checks of the initial cluster
// come before any listener is opened, so that a mistake in it is not hidden by
// another one.
func bootstrap(ctx context.Context, c *Config, log *slog.Logger) error {
	was, err := lookInto(c.DataDir, log)
	if err != nil {
		return err
	}
	if was == roleProxy || was == roleOpen && c.Proxy != proxyOff {
		c.Proxies = true
		return checkProxy(c, log)
	}
	hasLog, err := wal.Exists(wal.Config{Dir: c.LogDir()})
	if err != nil {
		return err
	}
	if hasLog { // what it was told about the initial cluster no longer counts, however wrong that is
		if c.Discovery != "" {
			log.Warn(fmt.Sprintf("discovery token ignored since a cluster has already been initialized. Valid log found at %q", c.LogDir()))
		}
		return nil
	}
	switch {
	case c.Discovery != "" && c.ClusterState == stateExisting:
		return errors.New("discovery URL should not be set when joining existing initial cluster")
	case c.Discovery != "":
		c.Meets = true
		if was == roleMember || c.DiscoveryServiceOnly {
			c.Fallback = fallbackExit // a proxy has a data directory of its own, and does not serve discovery
		}
		return nil
	}
	peers, err := initialCluster(ctx, c, log)
	if err != nil {
		return err
	}
	if err := checkFounding(ctx, c, peers, log); err != nil {
		return err
	}
	c.Founding = peers
	return nil
}

// checkProxy refuses a proxy that is asked for what only a member can do.
func checkProxy(c *Config, log *slog.Logger) error {
	if c.DiscoveryServiceOnly {
		return fmt.Errorf("cannot serve discovery as a proxy: use a data directory other than %s, and no --proxy", c.DataDir)
	}
	if c.DiscoveryService {
		log.Warn("a proxy passes --enable-discovery-service over: its members are the discovery service if they have that flag")
	}
	if c.EnablePprof {
		log.Warn("a proxy passes --enable-pprof over: /debug/pprof/ is that of its members")
	}
	return nil
}

// initialCluster is the initial cluster as the DNS or the flag has it.
func initialCluster(ctx context.Context, c *Config, log *slog.Logger) (membership.Peers, error) {
	var peers membership.Peers
	var err error
	if c.DiscoverySRV != "" {
		peers, err = discovery.SRV(ctx, c.srv(log), c.advertised())
	} else {
		peers, err = membership.ParsePeers(c.InitialCluster)
	}
	if err != nil {
		return nil, fmt.Errorf("error setting up initial cluster: %w", err)
	}
	return peers, nil
}

// advertised is this member as it presents itself to others.
func (c *Config) advertised() membership.Member {
	return membership.Member{Name: c.Name, PeerURLs: c.AdvertisePeerURLs}
}

// srv says where SRV records are.
func (c *Config) srv(log *slog.Logger) discovery.SRVConfig {
	return discovery.SRVConfig{
		Domain: c.DiscoverySRV,
		Name:   c.SRVName,
		Server: c.DNSServer,
		Lookup: c.Lookup,
		Logger: log.With(pkgKey, "discovery"),
	}
}

// discoveryURL says where founding members meet.
func (c *Config) discoveryURL(log *slog.Logger) discovery.URLConfig {
	return discovery.URLConfig{URL: c.Discovery, Proxy: c.DiscoveryProxy, Logger: log.With(pkgKey, "discovery")}
}

// checkFounding refuses an initial cluster that this member cannot found.
func checkFounding(ctx context.Context, c *Config, peers membership.Peers, log *slog.Logger) error {
	if err := peers.CheckListed(c.Name); err != nil {
		return err
	}
	if c.ClusterState == stateNew {
		if err := peers.CheckAdvertised(ctx, c.Name, c.AdvertisePeerURLs, c.Lookup, log); err != nil {
			return err
		}
	}
	return peers.CheckDistinct()
}

// logConfig prints the settings a member starts with.
func logConfig(c *Config, log *slog.Logger) {
	log = log.With(pkgKey, "etcdserver")
	log.Info("name = " + c.Name)
	if c.ForceNewCluster {
		log.Info("force new cluster")
	}
	log.Info("data dir = " + c.DataDir)
	log.Info("member dir = " + c.MemberDir())
	if c.WALDir != "" {
		log.Info("dedicated WAL dir = " + c.WALDir)
	}
	log.Info(fmt.Sprintf("heartbeat = %dms", c.Heartbeat.Milliseconds()))
	log.Info(fmt.Sprintf("election = %dms", c.ElectionTicks()*int(c.Heartbeat.Milliseconds())))
	log.Info(fmt.Sprintf("snapshot count = %d", c.SnapshotCount))
	if c.Meets {
		log.Info("discovery URL = " + withoutPassword(c.Discovery))
	}
	if len(c.CORS) > 0 {
		log.Info("cors = " + joined(c.CORS))
	}
	log.Info("advertise client URLs = " + joined(c.AdvertiseClientURLs))
	if c.Founding != nil && c.ClusterState == stateNew {
		log.Info("initial advertise peer URLs = " + joined(c.AdvertisePeerURLs))
		log.Info("initial cluster = " + c.Founding.String())
	}
}

// withoutPassword is a URL as it may be logged.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

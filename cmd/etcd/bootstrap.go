package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"etcd2/membership"
	"etcd2/wal"
)

// bootstrap decides what the process starts as and fills in Founding. The checks
// of the initial cluster come before any listener is opened, so that a mistake in
// it is not hidden by another one.
func bootstrap(ctx context.Context, c *Config, log *slog.Logger) error {
	was, err := lookInto(c.DataDir, log)
	if err != nil {
		return err
	}
	if was == roleProxy || was == roleOpen && c.Proxy != proxyOff {
		return fmt.Errorf("cannot start as a proxy in %s: this build serves members only", c.DataDir)
	}
	running, err := wal.Exists(wal.Config{Dir: c.LogDir()})
	if err != nil {
		return err
	}
	if running {
		restart(c, log)
		return nil
	}
	switch {
	case c.Discovery != "" && c.ClusterState == stateExisting:
		return errors.New("discovery URL should not be set when joining existing initial cluster")
	case c.Discovery != "":
		return errors.New("cannot use --discovery: this build founds a cluster from --initial-cluster only")
	case c.DiscoverySRV != "":
		return errors.New("cannot use --discovery-srv: this build founds a cluster from --initial-cluster only")
	}
	peers, err := membership.ParsePeers(c.InitialCluster)
	if err != nil {
		return fmt.Errorf("error setting up initial cluster: %w", err)
	}
	if err := checkFounding(ctx, c, peers, log); err != nil {
		return err
	}
	c.Founding = peers
	return nil
}

// restart is the start of a member that has a log: what it was told about the
// initial cluster no longer counts, however wrong that is.
func restart(c *Config, log *slog.Logger) {
	if c.Discovery != "" {
		log.Warn(fmt.Sprintf("discovery token ignored since a cluster has already been initialized. Valid log found at %q", c.LogDir()))
	}
}

// checkFounding refuses an initial cluster that this member cannot found.
func checkFounding(ctx context.Context, c *Config, peers membership.Peers, log *slog.Logger) error {
	if err := peers.CheckListed(c.Name); err != nil {
		return err
	}
	if c.ClusterState == stateNew {
		if err := peers.CheckAdvertised(ctx, c.Name, c.AdvertisePeerURLs, lookup, log); err != nil {
			return err
		}
	}
	if err := peers.CheckDistinct(); err != nil {
		return err
	}
	return nil
}

// lookup resolves host names the way the system does.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
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
	if len(c.CORS) > 0 {
		log.Info("cors = " + joined(c.CORS))
	}
	log.Info("advertise client URLs = " + joined(c.AdvertiseClientURLs))
	if c.Founding != nil && c.ClusterState == stateNew {
		log.Info("initial advertise peer URLs = " + joined(c.AdvertisePeerURLs))
		log.Info("initial cluster = " + c.Founding.String())
	}
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"etcd2/discovery"
)

// electionMax is the longest election timeout.
const electionMax = 50 * time.Second

// Refusals of a combination of flags.
var (
	errManyMethods = errors.New(`multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv"`)
	errAdvertise   = errors.New("-advertise-client-urls is required when -listen-client-urls is set explicitly")
	errPeers       = errors.New("-peers and -peers-file join a running cluster in a way this build lacks: add the member first, then start it with -initial-cluster and -initial-cluster-state existing")
)

// check completes the configuration from what the flags leave open and refuses
// flags that contradict each other.
func (o *options) check() error {
	methods := 0
	for _, name := range []string{"discovery", "initial-cluster", "discovery-srv"} {
		if o.set(name) {
			methods++
		}
	}
	if methods > 1 {
		return errManyMethods
	}
	if err := o.applyLegacy(); err != nil {
		return err
	}
	if o.set("peers") || o.set("peers-file") {
		return errPeers
	}
	c := o.cfg
	mayBeProxy := c.Proxy != proxyOff || c.Discovery != "" && c.Fallback == fallbackProxy
	// etcd 3.4 lets a configuration file leave the advertised URLs out.
	listens := o.set("listen-client-urls") && o.sources["listen-client-urls"].line == 0
	if listens && !o.set("advertise-client-urls") && !o.set("addr") && !mayBeProxy {
		return errAdvertise
	}
	if c.Proxy != proxyOff && c.ProxyRefresh == 0 {
		return errors.New("-proxy-refresh-interval[0ms] should be at least 1ms")
	}
	if err := checkTLS(c); err != nil {
		return err
	}
	if err := checkTiming(c.Heartbeat, c.Election); err != nil {
		return err
	}
	if err := c.Meeting.check(); err != nil {
		return err
	}
	if c.DNSServer != "" {
		var err error
		if c.Lookup, err = discovery.HostResolver(c.DNSServer); err != nil {
			return fmt.Errorf("-dns-server: %w", err)
		}
	}
	if methods == 0 && o.set("peer-addr") {
		c.InitialCluster = clusterOf(c.Name, c.AdvertisePeerURLs)
		o.sources["initial-cluster"] = o.sources["peer-addr"]
	} else if c.InitialCluster == clusterOf(defaultName, mustURLs(defaultPeerURLs)) {
		c.InitialCluster = c.defaultCluster()
	}
	return nil
}

// checkTiming refuses timings that lead to needless elections or to none.
func checkTiming(heartbeat, election time.Duration) error {
	switch {
	case heartbeat == 0:
		return errors.New("-heartbeat-interval[0ms] should be at least 1ms")
	case heartbeat > election/5:
		return fmt.Errorf("-election-timeout[%dms] should be at least as 5 times as -heartbeat-interval[%dms]",
			election.Milliseconds(), heartbeat.Milliseconds())
	case election > electionMax:
		return fmt.Errorf("-election-timeout[%dms] is too long, and should be set less than %dms",
			election.Milliseconds(), electionMax.Milliseconds())
	}
	return nil
}

// defaultCluster is the initial cluster of a member that was told none.
func (c *Config) defaultCluster() string {
	return clusterOf(cmp.Or(c.Name, defaultName), mustURLs(defaultPeerURLs))
}

// settle fills in the defaults that are worth a line in the log and sets the
// levels of the packages.
func (o *options) settle(log *slog.Logger) {
	o.warnLegacy(log)
	log = log.With(pkgKey, "etcdmain")
	c := o.cfg
	if o.set("experimental-v3demo") || o.set("experimental-gRPC-addr") || o.set("experimental-auto-compaction-retention") {
		log.Warn("the experimental v3 flags have no effect: the v3 preview is not part of this server")
	}
	if c.LogPackages != "" {
		if err := c.Levels.setPackages(c.LogPackages); err != nil {
			log.Warn(fmt.Sprintf("couldn't parse log level string: %v, continuing with default levels", err))
		}
	}
	if c.SnapshotCount == 0 {
		log.Info(fmt.Sprintf("set snapshot count to default %d", defaultSnapshotCount))
		c.SnapshotCount = defaultSnapshotCount
	}
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
		log.Warn("no data-dir provided, using default data-dir ./" + c.DataDir)
	}
}

// startLevels is the level of the log that --debug and --log-level ask for.
func (o *options) startLevels() *levels {
	level, err := parseLevel(o.cfg.LogLevel)
	if err != nil {
		panic("etcd: the level passed its flag: " + err.Error())
	}
	if o.cfg.Debug {
		level = min(level, slog.LevelDebug)
	}
	return newLevels(level)
}

// hints tells what to do about an initial cluster that lists other URLs for this
// member than it advertises.
func (c *Config) hints() []string {
	var hints []string
	untold := c.InitialCluster == c.defaultCluster()
	if untold {
		hints = append(hints, "forgot to set --initial-cluster flag?")
	}
	if slices.Equal(c.AdvertisePeerURLs, mustURLs(defaultPeerURLs)) {
		hints = append(hints, "forgot to set --initial-advertise-peer-urls flag?")
	}
	if untold && c.Discovery == "" {
		hints = append(hints, "if you want to use discovery service, please set --discovery flag.")
	}
	return hints
}

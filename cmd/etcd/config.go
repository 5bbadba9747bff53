package main

import (
	"path/filepath"
	"time"

	"etcd2/api/v2"
	"etcd2/discovery"
	"etcd2/internal/tlsconf"
	"etcd2/membership"
)

// Config is everything the command line and the environment decide. Flags are
// bound straight to its fields; check then completes it, so that what serve
// receives is whole and free of contradictions.
type Config struct {
	// The member.

	Name          string
	DataDir       string        // never empty once checked
	WALDir        string        // where exactly the log goes; "" for its place in the data directory
	SnapshotCount uint64        // entries applied between checkpoints
	Heartbeat     time.Duration // raft tick
	Election      time.Duration // silence before an election; see ElectionTicks
	CORS          []string      // origins that browsers may come from; "*" for all

	ListenPeerURLs      []string // sorted, as are all URL lists
	ListenClientURLs    []string
	AdvertisePeerURLs   []string
	AdvertiseClientURLs []string

	HistoryEvents int    // events kept for watchers that come late
	MinFreeBytes  uint64 // disk space that writes leave alone; 0 turns the guard off

	DefaultRead       string        // what a read without a quorum parameter gets: readLocal or readQuorum
	AgreementInterval time.Duration // between two comparisons of the members' trees; 0 makes none
	SnapshotRate      uint64        // bytes per second of a checkpoint sent to another member; 0 for no limit

	MaxSnapshots uint // accepted for old command lines: one checkpoint file is kept
	MaxWALs      uint // accepted for old command lines: the log keeps what it needs

	// The cluster it founds or joins.

	InitialCluster  string // as written; Founding is what it means
	ClusterState    string // stateNew or stateExisting
	ClusterToken    string
	Discovery       string // URL where the founding members meet
	DiscoverySRV    string // DNS domain
	SRVName         string // tells several clusters of the domain apart
	DNSServer       string // asked for records and hosts instead of those of the system
	DiscoveryProxy  string
	Fallback        string // what to do when the discovered cluster is full
	StrictReconfig  bool   // refuse changes that would cost the quorum
	ForceNewCluster bool

	Lookup membership.Resolver // of the hosts in all of these

	// What bootstrap found out. All are zero when the data directory already has a
	// log: then the log says who belongs to the cluster.

	Founding membership.Peers // the initial cluster that the member founds or joins
	Meets    bool             // the initial cluster is not known before all have met at Discovery
	Proxies  bool             // it is no member but a proxy

	// The discovery service for the founders of other clusters.

	DiscoveryService     bool
	DiscoveryServiceOnly bool // nothing else is served to clients
	Meeting              meeting

	// Security, profiling, logging.

	ClientTLS   tlsconf.Config
	PeerTLS     tlsconf.Config
	EnablePprof bool
	LogFormat   string // "text" or "json"
	LogLevel    string
	LogPackages string
	Debug       bool
	Levels      *levels // what the three above came to; may be changed while running

	// A proxy instead of a member.

	Proxy             string // proxyOff, proxyReadonly or proxyOn
	ProxyFailureWait  time.Duration
	ProxyRefresh      time.Duration
	ProxyDialTimeout  time.Duration // 0 for none, as the two below
	ProxyWriteTimeout time.Duration
	ProxyReadTimeout  time.Duration
}

// The values of the flags that take one of a few words.
const (
	stateNew      = "new"
	stateExisting = "existing"

	proxyOff      = "off"
	proxyReadonly = "readonly"
	proxyOn       = "on"

	readLocal  = v2.ReadLocal
	readQuorum = v2.ReadQuorum

	fallbackExit  = "exit"
	fallbackProxy = "proxy"

	formatText = "text"
	formatJSON = "json"
)

// Defaults that other rules refer to.
const (
	defaultName          = "default"
	defaultClientURLs    = "http://localhost:2379,http://localhost:4001"
	defaultPeerURLs      = "http://localhost:2380,http://localhost:7001"
	defaultSnapshotCount = 10000
	defaultHistoryEvents = 100_000
	defaultMinFreeBytes  = 64 << 20 // one log segment, so that a checkpoint may still begin
	defaultSnapshotRate  = 64 << 20 // half of what a network of 1 Gbit/s carries
)

// newConfig returns the defaults.
func newConfig() *Config {
	clients := mustURLs(defaultClientURLs)
	peers := mustURLs(defaultPeerURLs)
	return &Config{
		Name:                defaultName,
		SnapshotCount:       defaultSnapshotCount,
		Heartbeat:           100 * time.Millisecond,
		Election:            time.Second,
		ListenPeerURLs:      peers,
		ListenClientURLs:    clients,
		AdvertisePeerURLs:   peers,
		AdvertiseClientURLs: clients,
		HistoryEvents:       defaultHistoryEvents,
		MinFreeBytes:        defaultMinFreeBytes,
		DefaultRead:         readLocal,
		AgreementInterval:   5 * time.Minute,
		SnapshotRate:        defaultSnapshotRate,
		MaxSnapshots:        5,
		MaxWALs:             5,
		InitialCluster:      clusterOf(defaultName, peers),
		ClusterState:        stateNew,
		ClusterToken:        "etcd-cluster",
		Fallback:            fallbackProxy,
		Lookup:              discovery.SystemHosts,
		StrictReconfig:      true,
		LogFormat:           formatText,
		LogLevel:            "info",
		Meeting:             newMeeting(),
		Proxy:               proxyOff,
		ProxyFailureWait:    5 * time.Second,
		ProxyRefresh:        30 * time.Second,
		ProxyDialTimeout:    time.Second,
		ProxyWriteTimeout:   5 * time.Second,
	}
}

// ElectionTicks is the election timeout in heartbeats.
func (c *Config) ElectionTicks() int { return int(c.Election / c.Heartbeat) }

// MemberDir is where a member keeps its data.
func (c *Config) MemberDir() string { return filepath.Join(c.DataDir, "member") }

// LogDir is where the raft log lives.
func (c *Config) LogDir() string {
	if c.WALDir != "" {
		return c.WALDir
	}
	return filepath.Join(c.MemberDir(), "wal")
}

// clusterOf writes a one-member cluster the way --initial-cluster has it.
func clusterOf(name string, urls []string) string {
	return membership.Peers{name: urls}.String()
}

// mustURLs reads a list of URLs that this package itself wrote.
func mustURLs(list string) []string {
	urls, err := membership.ParseURLs(list)
	if err != nil {
		panic("etcd: default URLs: " + err.Error())
	}
	return urls
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
)

// legacy holds the flags of the 0.x generation. They are not in the help text.
type legacy struct {
	addr, bindAddr         hostPort // clients
	peerAddr, peerBindAddr hostPort // members
	peers, peersFile       string
	ignored                [len(ignoredFlags)]bool
}

// hostPort is an address of old: without a scheme, the port maybe still open.
type hostPort struct {
	host, port string
}

// Ports of a 0.x server.
const (
	legacyClientPort = "4001"
	legacyPeerPort   = "7001"
)

// ignoredFlags once had a meaning; giving one draws a warning.
var ignoredFlags = [...]string{
	"cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "config", "force",
	"max-result-buffer", "max-retry-attempts", "peer-heartbeat-interval", "peer-election-timeout",
	"retry-interval", "snapshot", "v", "vv",
}

// options lists the flags of old.
func (l *legacy) options() []option {
	all := []option{
		{name: "addr", value: address(&l.addr, false), usage: "Old form of --advertise-client-urls."},
		{name: "bind-addr", value: address(&l.bindAddr, true), usage: "Old form of --listen-client-urls."},
		{name: "peer-addr", value: address(&l.peerAddr, false), usage: "Old form of --initial-advertise-peer-urls."},
		{name: "peer-bind-addr", value: address(&l.peerBindAddr, true), usage: "Old form of --listen-peer-urls."},
		{name: "peers", value: text(&l.peers), usage: "Members of a cluster to join."},
		{name: "peers-file", value: text(&l.peersFile), usage: "File that lists members of a cluster to join."},
	}
	for i, name := range ignoredFlags {
		all = append(all, option{name: name, value: ignored(&l.ignored[i]), usage: "Accepted and without effect."})
	}
	return all
}

// address takes host:port or, with bare, also an IP address alone.
func address(to *hostPort, bare bool) *setting[hostPort] {
	return &setting[hostPort]{to: to, kind: "address",
		show: func(a hostPort) string {
			if a == (hostPort{}) {
				return ""
			}
			return net.JoinHostPort(a.host, a.port)
		},
		parse: func(s string) (hostPort, error) {
			if bare && net.ParseIP(s) != nil {
				return hostPort{host: s}, nil
			}
			host, port, err := net.SplitHostPort(s)
			if err != nil {
				return hostPort{}, err
			}
			if host == "" {
				return hostPort{}, errors.New("bad IP in address specification")
			}
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return hostPort{}, errors.New("bad port in address specification")
			}
			return hostPort{host: host, port: port}, nil
		}}
}

// ignored takes anything.
func ignored(to *bool) *setting[bool] {
	return &setting[bool]{to: to, kind: kindBool, show: strconv.FormatBool,
		parse: func(string) (bool, error) { return true, nil }}
}

// applyLegacy turns the flags of old into settings. It fails when a setting is
// given under both its names.
func (o *options) applyLegacy() error {
	l := &o.legacy
	client, peer := "http", "http"
	bindFrom, peerBindFrom := cmp.Or(o.sources["bind-addr"], o.sources["addr"]), cmp.Or(o.sources["peer-bind-addr"], o.sources["peer-addr"])
	if t := &o.cfg.ClientTLS; t.Given() || t.Auto {
		client = "https"
	}
	if t := &o.cfg.PeerTLS; t.Given() || t.Auto {
		peer = "https"
	}
	l.bindAddr.bindLike(l.addr, legacyClientPort)
	l.peerBindAddr.bindLike(l.peerAddr, legacyPeerPort)
	for _, pair := range []struct {
		old, flag string
		addr      hostPort
		source    source
		scheme    string
		to        *[]string
	}{
		{"peer-bind-addr", "listen-peer-urls", l.peerBindAddr, peerBindFrom, peer, &o.cfg.ListenPeerURLs},
		{"peer-addr", "initial-advertise-peer-urls", l.peerAddr, o.sources["peer-addr"], peer, &o.cfg.AdvertisePeerURLs},
		{"bind-addr", "listen-client-urls", l.bindAddr, bindFrom, client, &o.cfg.ListenClientURLs},
		{"addr", "advertise-client-urls", l.addr, o.sources["addr"], client, &o.cfg.AdvertiseClientURLs},
	} {
		if pair.addr == (hostPort{}) {
			continue
		}
		if o.set(pair.flag) {
			return fmt.Errorf("Set only one of flags -%s and -%s", pair.flag, pair.old)
		}
		*pair.to = []string{pair.scheme + "://" + net.JoinHostPort(pair.addr.host, pair.addr.port)}
		o.sources[pair.flag] = pair.source
	}
	return nil
}

// bindLike completes an address to listen on by the address that is advertised:
// its port, and all interfaces unless one was given.
func (a *hostPort) bindLike(advertised hostPort, port string) {
	if advertised.port != "" {
		port = advertised.port
		if a.host == "" {
			a.host = "::"
		}
	}
	if a.host != "" && a.port == "" {
		a.port = port
	}
}

// warnLegacy logs the flags that have no effect any more.
func (o *options) warnLegacy(log *slog.Logger) {
	log = log.With("pkg", "flags")
	for i, name := range ignoredFlags {
		if o.legacy.ignored[i] {
			log.Warn(fmt.Sprintf(`flag "-%s" is no longer supported - ignoring.`, name))
		}
	}
}

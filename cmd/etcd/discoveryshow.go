package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"etcd2/discovery"
	"etcd2/membership"
)

// discoveryShow is the command that prints the initial cluster of the DNS.
func (v *invocation) discoveryShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show --discovery-srv DOMAIN [flags of etcd]",
		Short: "Print the cluster that SRV records describe",
		Long: `Print the cluster that a member started with the same flags would found or join,
by the SRV records of the domain, without starting it.`,
		Args:                  noWords,
		DisableFlagsInUseLine: true,
	}
	o := withOptions(cmd, func(o *options) error {
		if err := v.configure(o); err != nil {
			return err
		}
		if o.cfg.DiscoverySRV == "" {
			return &verifyError{errors.New("'etcd discovery show' needs -discovery-srv")}
		}
		return v.showSRV(o.cfg)
	})
	o.flags.VisitAll(func(f *pflag.Flag) { // etcd --help has the others
		f.Hidden = !strings.HasPrefix(f.Name, "discovery-srv") && f.Name != "dns-server"
	})
	return cmd
}

// showSRV prints what the records say. When this member is none of the cluster it
// prints where the others are, and fails as the member would.
func (v *invocation) showSRV(c *Config) error {
	ctx, signals := watchSignals(context.Background(), v.log)
	defer func() { v.stopped = signals.release() }()
	log := v.log.With(pkgKey, "etcdmain")
	peers, err := initialCluster(ctx, c, log)
	absent := errors.As(err, new(*discovery.NoSelfError))
	if err == nil {
		v.showCluster(c, peers)
		err = checkFounding(ctx, c, peers, log)
	}
	if absent {
		urls, failed := discovery.SRVMembers(ctx, c.srv(slog.New(slog.DiscardHandler)))
		if failed != nil {
			return failed
		}
		for _, u := range urls {
			fmt.Fprintf(v.stdout, "peer %s\n", u)
		}
	}
	if clients, failed := discovery.SRVClients(ctx, c.srv(log)); failed == nil {
		for _, u := range clients {
			fmt.Fprintf(v.stdout, "client %s\n", u)
		}
	}
	return err
}

// showCluster prints the members as lines of ID, name and URLs.
func (v *invocation) showCluster(c *Config, peers membership.Peers) {
	members := peers.Members(c.ClusterToken)
	if c.ClusterState == stateNew { // one that runs has told its members their IDs
		fmt.Fprintf(v.stdout, "cluster %s\n", membership.ClusterID(members))
		for _, m := range members {
			fmt.Fprintf(v.stdout, "member %s %s %s\n", m.ID, m.Name, joined(m.PeerURLs))
		}
	}
	fmt.Fprintf(v.stdout, "--initial-cluster %s\n", peers)
}

package main

import (
	"context"
	"log/slog"

	"etcd2/discovery"
	"etcd2/internal/tlsconf"
	"etcd2/membership"
)

// origin is how a member without data comes into its cluster. It is empty for a
// member that has a log.
type origin struct {
	Self      membership.ID
	ClusterID membership.ID
	Founders  []membership.Member // of a new cluster
	Joins     bool                // the cluster runs already
	Others    []membership.Member // of the cluster that runs
}

// findOrigin makes the member a founder of the initial cluster or asks the cluster
// for its place in it. Other members are dialled with the certificates of the peer
// side.
func findOrigin(ctx context.Context, c *Config, certs *tlsconf.Source, log *slog.Logger) (*origin, error) {
	if c.Founding == nil {
		return new(origin), nil
	}
	client := discovery.New(discovery.Config{
		TLS:    certs.Client,
		Lookup: lookup,
		Logger: log.With(pkgKey, "etcdserver"),
	})
	if c.ClusterState == stateExisting {
		return join(ctx, c, client)
	}
	return found(ctx, c, client)
}

// found refuses to be a founder a second time: what the member promised the first
// time is lost with its data.
func found(ctx context.Context, c *Config, client *discovery.Client) (*origin, error) {
	o := &origin{Founders: c.Founding.Members(c.ClusterToken)}
	o.ClusterID = membership.ClusterID(o.Founders)
	var others []string
	for _, m := range o.Founders {
		if m.Name == c.Name {
			o.Self = m.ID
			continue
		}
		others = append(others, m.PeerURLs...)
	}
	if client.Bootstrapped(ctx, o.Self, others) {
		return nil, discovery.BootstrappedError(o.Self)
	}
	return o, nil
}

// join takes the IDs of the members and of the cluster from those that run.
func join(ctx context.Context, c *Config, client *discovery.Client) (*origin, error) {
	place, err := client.Join(ctx, c.Name, c.Founding)
	if err != nil {
		return nil, err
	}
	return &origin{Self: place.Self, ClusterID: place.ClusterID, Joins: true, Others: place.Others}, nil
}

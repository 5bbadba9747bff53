package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"

	"etcd2/discovery"
	"etcd2/etcdserver"
	"etcd2/internal/tlsconf"
	"etcd2/membership"
)

// origin is how a member without data comes into its cluster. It is empty for a
// member that has a log.
type origin struct {
	Self      membership.ID
	ClusterID membership.ID
	Founders  []membership.Member // of a new cluster
	Join      bool                // the cluster runs already
	Remotes   []membership.Member // with Join: the other members

	Generation string // with Join: of the cluster
}

// findOrigin makes the member a founder of the initial cluster, of those it meets at
// the discovery URL, or asks the cluster for its place in it. Other members are
// dialled with the certificates of the peer side.
func findOrigin(ctx context.Context, c *Config, certs *tlsconf.Source, log *slog.Logger) (*origin, error) {
	switch client := asker(c, certs.Client, log.With(pkgKey, "etcdserver")); {
	case c.Meets:
		return meet(ctx, c, log)
	case c.Founding == nil:
		return new(origin), nil
	case c.ClusterState == stateExisting:
		return join(ctx, c, client)
	default:
		return found(ctx, c, client)
	}
}

// asker asks members that run already who they are.
func asker(c *Config, certs func() *tls.Config, log *slog.Logger) *discovery.Client {
	return discovery.New(discovery.Config{TLS: certs, Lookup: c.Lookup, Logger: log})
}

// meet waits for the other founders. That the member was not among them before, with
// data that are lost now, the meeting place knows.
func meet(ctx context.Context, c *Config, log *slog.Logger) (*origin, error) {
	if err := (etcdserver.Config{Dir: c.DataDir, WALDir: c.LogDir()}).CheckUnused(); err != nil {
		return nil, err // before others count on this member
	}
	at := c.discoveryURL(log)
	var err error
	if at.Registered, err = c.waiting().Begun(); err != nil {
		return nil, err
	}
	at.Registering = c.waiting().Begin
	peers, err := discovery.Join(ctx, at, c.advertised())
	if errors.Is(err, discovery.ErrDuplicateID) && !at.Registered {
		// It was another life of this member that registered. The next start must not
		// take that for its own wait.
		err = errors.Join(err, c.waiting().End())
	}
	if err != nil {
		return nil, err
	}
	c.Founding = peers
	o, _ := founder(c, c.Discovery)
	return o, nil
}

// founder makes the member one of the founders. The other founders' URLs come with
// it.
func founder(c *Config, token string) (o *origin, others []string) {
	o = &origin{Founders: c.Founding.Members(token)}
	o.ClusterID = membership.ClusterID(o.Founders)
	for _, m := range o.Founders {
		if m.Name == c.Name {
			o.Self = m.ID
			continue
		}
		others = append(others, m.PeerURLs...)
	}
	return o, others
}

// found refuses to be a founder a second time: what the member promised the first
// time is lost with its data.
func found(ctx context.Context, c *Config, client *discovery.Client) (*origin, error) {
	o, others := founder(c, c.ClusterToken)
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
	return &origin{Self: place.Self, ClusterID: place.ClusterID, Join: true, Remotes: place.Remotes, Generation: place.Generation}, nil
}

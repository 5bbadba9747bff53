package discovery

import (
	"context"
	"net"
	"net/netip"

	"etcd2/membership"
)

// SystemHosts finds the addresses of a host name the way the system does, so that
// /etc/hosts counts. It is a membership.Resolver.
func SystemHosts(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// HostResolver finds the addresses of host names with a name server, "host" or
// "host:port", instead of those of the system.
func HostResolver(server string) (membership.Resolver, error) {
	n, err := newNames(server)
	if err != nil {
		return nil, err
	}
	return n.addresses, nil
}

package discovery

import "etcd2/membership"

// HostResolver finds the addresses of host names with a name server, "host" or
// "host:port", instead of those of the system.
func HostResolver(server string) (membership.Resolver, error) {
	n, err := newNames(server)
	if err != nil {
		return nil, err
	}
	return n.addresses, nil
}

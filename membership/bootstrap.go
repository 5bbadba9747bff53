package membership

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Resolver looks up the addresses of a host name. The LookupNetIP method of a
// net.Resolver, with its network argument filled in, is one.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// NotListedError says that an initial cluster lacks the member itself.
type NotListedError struct {
	Name string
}

func (e *NotListedError) Error() string {
	return fmt.Sprintf("couldn't find local name %q in the initial cluster configuration", e.Name)
}

// MismatchError says that an initial cluster has other peer URLs for the member
// than the member advertises.
type MismatchError struct {
	Name      string
	Advertise []string
}

func (e *MismatchError) Error() string {
	must := Peers{e.Name: e.Advertise}
	return fmt.Sprintf("--initial-cluster must include %s given --initial-advertise-peer-urls=%s",
		must, strings.Join(e.Advertise, ","))
}

// CheckListed returns a *NotListedError unless the cluster has a member of this
// name.
func (p Peers) CheckListed(name string) error {
	if len(p[name]) == 0 {
		return &NotListedError{Name: name}
	}
	return nil
}

// CheckAdvertised returns a *MismatchError unless the cluster lists the member
// with exactly the peer URLs it advertises. Host names other than localhost
// count as the address they resolve to; a name that does not resolve makes the
// sets differ. Each look-up is logged.
func (p Peers) CheckAdvertised(ctx context.Context, name string, advertise []string, look Resolver, log *slog.Logger) error {
	if !SameURLs(ctx, advertise, p[name], look, log) {
		return &MismatchError{Name: name, Advertise: advertise}
	}
	return nil
}

// CheckDistinct refuses a cluster in which a peer URL appears twice.
func (p Peers) CheckDistinct() error {
	all := p.URLs()
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		return fmt.Errorf("initial cluster %s has duplicate url", p)
	}
	return nil
}

// SameURLs tells whether two lists are the same set of URLs. Host names other than
// localhost count as the address they resolve to; a name that does not resolve
// makes the sets differ. Each look-up is logged.
func SameURLs(ctx context.Context, a, b []string, look Resolver, log *slog.Logger) bool {
	r := resolving{look: look, log: log.With("pkg", "netutil")}
	return r.sameURLs(ctx, a, b)
}

// resolving compares URLs by the addresses behind their host names.
type resolving struct {
	look Resolver
	log  *slog.Logger
}

// sameURLs tells whether two lists are the same set of URLs.
func (r resolving) sameURLs(ctx context.Context, a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	left, ok := r.addresses(ctx, a)
	if !ok {
		return false
	}
	right, ok := r.addresses(ctx, b)
	return ok && slices.Equal(left, right)
}

// addresses replaces the host names in urls by addresses and sorts the result;
// false if one does not resolve.
func (r resolving) addresses(ctx context.Context, urls []string) ([]string, bool) {
	out := make([]string, 0, len(urls))
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			r.log.Error(fmt.Sprintf("could not read URL %s (%v)", text, err))
			return nil, false
		}
		host, ok := r.address(ctx, u.Host)
		if !ok {
			return nil, false
		}
		u.Host = host
		out = append(out, u.String())
	}
	slices.Sort(out)
	return out, true
}

// address resolves the host of host:port unless it needs none.
func (r resolving) address(ctx context.Context, hostport string) (string, bool) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		r.log.Error(fmt.Sprintf("could not parse url %s during tcp resolving", hostport))
		return "", false
	}
	if host == "" || host == "localhost" || net.ParseIP(host) != nil {
		return hostport, true
	}
	found, err := r.look(ctx, host)
	if err != nil || len(found) == 0 {
		r.log.Error("could not resolve host " + hostport)
		return "", false
	}
	addr := net.JoinHostPort(prefer4(found).String(), port)
	r.log.Info(fmt.Sprintf("resolving %s to %s", hostport, addr))
	return addr, true
}

// prefer4 picks the first IPv4 address, as dialling a host name does, or else
// the first address.
func prefer4(addrs []netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return a
		}
	}
	return addrs[0]
}

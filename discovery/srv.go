package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"etcd2/membership"
)

// srvPatience is the default of SRVConfig.Patience.
const srvPatience = 30 * time.Second

// SRVConfig says where the SRV records of a cluster are. A zero field takes the
// default named beside it.
type SRVConfig struct {
	Domain   string              // that has the records; required
	Name     string              // tells several clusters of a domain apart: _etcd-server-NAME._tcp; none
	Server   string              // name server to ask, host or host:port; those of the system
	Lookup   membership.Resolver // finds the addresses of a host name; Server if given, else the system
	Patience time.Duration       // how long a name server that fails is asked again; 30s
	Logger   *slog.Logger        // discard
}

// NoSelfError says that no record leads to the member itself.
type NoSelfError struct{ Name string }

func (e *NoSelfError) Error() string {
	return fmt.Sprintf("cannot find local etcd member %q in SRV records", e.Name)
}

// Guide is the sentence of the clustering guide about the error, which a user may
// look for behind "etcd: ".
func (e *NoSelfError) Guide() string {
	return fmt.Sprintf("cannot find local etcd %s from SRV records.", e.Name)
}

// SRV makes an initial cluster of SRV records: _etcd-server-ssl._tcp gives https
// URLs, _etcd-server._tcp http ones. Of two sets, the one counts whose scheme self
// advertises. The member whose addresses are those of the peer URLs of self gets the
// name of self, the others a number each.
//
// A name server that fails is asked again, and when it goes on failing there is no
// cluster: a part of it would be another one. A host name that does not exist, by
// the word of the name server, is left out as etcd 2.3 does, after a few looks.
//
// The error is a *NoSelfError, that of ctx, or says which look-up failed.
func SRV(ctx context.Context, cfg SRVConfig, self membership.Member) (membership.Peers, error) {
	f, err := newFinder(cfg)
	if err != nil {
		return nil, err
	}
	own, err := f.own(ctx, self.PeerURLs)
	if err != nil {
		return nil, err
	}
	wanted := "http"
	if slices.ContainsFunc(self.PeerURLs, func(u string) bool { return strings.HasPrefix(u, "https:") }) {
		wanted = "https"
	}
	sets, err := f.sets(ctx, "etcd-server", wanted)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(sets, func(s *set) bool { return s.scheme == wanted }); i >= 0 {
		sets = sets[i : i+1]
	}
	peers, err := f.cluster(ctx, sets, self.Name, own)
	if err != nil {
		return nil, err
	}
	if len(peers[self.Name]) == 0 {
		return nil, &NoSelfError{Name: self.Name}
	}
	return peers, nil
}

// SRVMembers returns the peer URLs of all records, for a proxy. Host names are not
// looked up.
func SRVMembers(ctx context.Context, cfg SRVConfig) ([]string, error) {
	f, err := newFinder(cfg)
	if err != nil {
		return nil, err
	}
	sets, err := f.sets(ctx, "etcd-server", "")
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, s := range sets {
		for _, r := range s.records {
			f.found(s, r)
			urls = append(urls, s.url(r))
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls), nil
}

// SRVClients returns the client URLs of the records _etcd-client-ssl._tcp, which
// are https, and then _etcd-client._tcp, both in the order in which a client should
// try them.
func SRVClients(ctx context.Context, cfg SRVConfig) ([]string, error) {
	cfg.Logger = nil // the error tells everything
	f, err := newFinder(cfg)
	if err != nil {
		return nil, err
	}
	secure, plain := f.query(ctx, "etcd-client")
	if secure.err != nil && plain.err != nil {
		return nil, fmt.Errorf("dns lookup errors: %w and %w", secure.err, plain.err)
	}
	var urls []string
	for _, s := range []*set{secure, plain} {
		for _, r := range spread(s.records) {
			urls = append(urls, s.url(r))
		}
	}
	return urls, nil
}

// finder looks things up.
type finder struct {
	cfg   SRVConfig
	names *names
	log   *slog.Logger
}

func newFinder(cfg SRVConfig) (*finder, error) {
	cfg.Domain = strings.TrimSuffix(cfg.Domain, ".")
	if !isHost("_" + serviceName("etcd-server-ssl", cfg.Name) + "._tcp." + cfg.Domain) {
		return nil, fmt.Errorf("discovery: no DNS records can be at domain %q with name %q", cfg.Domain, cfg.Name)
	}
	n, err := newNames(cfg.Server)
	if err != nil {
		return nil, err
	}
	if cfg.Lookup == nil {
		cfg.Lookup = SystemHosts
		if cfg.Server != "" {
			cfg.Lookup = n.addresses
		}
	}
	if cfg.Patience == 0 {
		cfg.Patience = srvPatience
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &finder{cfg: cfg, names: n, log: cfg.Logger}, nil
}

// set is the records of one service.
type set struct {
	service string
	scheme  string
	records []record
	err     error // why there are none
}

// fails tells whether the name server could not tell, which is not the same as no
// records.
func (s *set) fails() bool { return s.err != nil && !isNotFound(s.err) }

func (s *set) url(r record) string { return s.scheme + "://" + r.address() }

// serviceName is the name of a service of one of several clusters.
func serviceName(service, cluster string) string {
	if cluster == "" {
		return service
	}
	return service + "-" + cluster
}

// query asks for both sets of a service.
func (f *finder) query(ctx context.Context, service string) (secure, plain *set) {
	ask := func(service, scheme string) *set {
		s := &set{service: serviceName(service, f.cfg.Name), scheme: scheme}
		s.records, s.err = f.names.services(ctx, "_"+s.service+"._tcp."+f.cfg.Domain)
		return s
	}
	return ask(service+"-ssl", "https"), ask(service, "http")
}

// sets returns the sets that have records. It asks again while the name server
// fails to tell about the set of the wanted scheme, or about either when there are no
// records at all.
func (f *finder) sets(ctx context.Context, service, wanted string) ([]*set, error) {
	for tries := newTries(f.cfg.Patience); ; {
		secure, plain := f.query(ctx, service)
		both := []*set{secure, plain}
		none := secure.err != nil && plain.err != nil
		if slices.ContainsFunc(both, func(s *set) bool { return s.fails() && (none || s.scheme == wanted) }) {
			again, err := f.again(ctx, tries, "the name server does not tell about SRV records")
			if err != nil {
				return nil, err
			}
			if again {
				continue
			}
		}
		for _, s := range both {
			if !none && s.fails() && s.scheme == wanted {
				return nil, s.err // the other set would make another cluster
			}
			if none || s.fails() {
				f.log.Warn(fmt.Sprintf("error querying DNS SRV records for _%s %v", s.service, s.err))
			}
		}
		if none {
			f.log.Error("SRV discovery failed: too many errors querying DNS SRV records")
			return nil, plain.err
		}
		return slices.DeleteFunc(both, func(s *set) bool { return s.err != nil }), nil
	}
}

// found logs a record that counts.
func (f *finder) found(s *set, r record) {
	f.log.Log(context.Background(), levelNotice, fmt.Sprintf("got bootstrap from DNS for %s at %s", s.service, s.url(r)))
}

// own resolves the peer URLs of the member itself.
func (f *finder) own(ctx context.Context, urls []string) (map[netip.AddrPort]bool, error) {
	var hosts []string
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, u.Host)
	}
	found, err := f.resolve(ctx, hosts, slog.LevelError)
	if err != nil {
		return nil, err
	}
	own := make(map[netip.AddrPort]bool)
	for _, h := range hosts {
		if found[h].err != nil {
			return nil, found[h].err
		}
		for _, a := range found[h].addrs {
			own[a] = true
		}
	}
	return own, nil
}

// cluster gives every record of the sets a name.
func (f *finder) cluster(ctx context.Context, sets []*set, name string, own map[netip.AddrPort]bool) (membership.Peers, error) {
	var hosts []string
	for _, s := range sets {
		for _, r := range s.records {
			hosts = append(hosts, r.address())
		}
	}
	found, err := f.resolve(ctx, hosts, slog.LevelWarn)
	if err != nil {
		return nil, err
	}
	peers := make(membership.Peers)
	number := 0
	for _, s := range sets {
		for _, r := range s.records {
			host := found[r.address()]
			if host.err != nil {
				f.log.Warn(fmt.Sprintf("host %s does not exist and is left out of the cluster", r.address()))
				continue
			}
			who := name
			if !slices.ContainsFunc(host.addrs, func(a netip.AddrPort) bool { return own[a] }) {
				// A member may be called "0" itself.
				for who = strconv.Itoa(number); who == name; who = strconv.Itoa(number) {
					number++
				}
				number++
			}
			f.found(s, r)
			peers[who] = append(peers[who], s.url(r))
			slices.Sort(peers[who])
		}
	}
	return peers, nil
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"etcd2/membership"
	"etcd2/test/zone"
)

// hostsZone is three hosts.
func hostsZone() zone.Records {
	return zone.Records{"infra0.example.com. A 10.0.1.10", "infra1.example.com. A 10.0.1.11", "infra2.example.com. A 10.0.1.12"}
}

// three is a record for each of the three hosts.
func three(service string) zone.Records {
	var z zone.Records
	for i := range 3 {
		z = append(z, fmt.Sprintf("%s._tcp.example.com. SRV %d 0 2380 infra%d.example.com.", service, i, i))
	}
	return z
}

func TestSRV(t *testing.T) {
	plain, secure := three("_etcd-server"), three("_etcd-server-ssl")
	tests := []struct {
		name      string
		zone      []zone.Records
		cfg       SRVConfig
		self      string // URLs, comma separated
		want, err string
		log       []string
	}{
		{name: "host name", zone: []zone.Records{hostsZone(), plain}, self: "http://infra0.example.com:2380",
			want: "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380",
			log: []string{"INFO+2 got bootstrap from DNS for etcd-server at http://infra0.example.com:2380",
				"INFO+2 got bootstrap from DNS for etcd-server at http://infra1.example.com:2380",
				"INFO+2 got bootstrap from DNS for etcd-server at http://infra2.example.com:2380"}},
		{name: "address, not the first", zone: []zone.Records{hostsZone(), plain}, self: "http://10.0.1.11:2380",
			want: "0=http://infra0.example.com:2380,1=http://infra2.example.com:2380,me=http://infra1.example.com:2380"},
		{name: "domain with a dot", zone: []zone.Records{hostsZone(), plain}, cfg: SRVConfig{Domain: "example.com."}, self: "http://10.0.1.10:2380",
			want: "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380"},
		{name: "one of several clusters", zone: []zone.Records{hostsZone(), three("_etcd-server-two")}, cfg: SRVConfig{Name: "two"}, self: "http://10.0.1.10:2380",
			want: "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380",
			log: []string{"INFO+2 got bootstrap from DNS for etcd-server-two at http://infra0.example.com:2380",
				"INFO+2 got bootstrap from DNS for etcd-server-two at http://infra1.example.com:2380",
				"INFO+2 got bootstrap from DNS for etcd-server-two at http://infra2.example.com:2380"}},
		{name: "TLS", zone: []zone.Records{hostsZone(), secure}, self: "https://10.0.1.10:2380",
			want: "0=https://infra1.example.com:2380,1=https://infra2.example.com:2380,me=https://infra0.example.com:2380"},
		{name: "both sets, https", zone: []zone.Records{hostsZone(), secure, plain}, self: "https://10.0.1.10:2380",
			want: "0=https://infra1.example.com:2380,1=https://infra2.example.com:2380,me=https://infra0.example.com:2380"},
		{name: "both sets, http", zone: []zone.Records{hostsZone(), secure, plain}, self: "http://10.0.1.10:2380",
			want: "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380"},
		{name: "only the other set", zone: []zone.Records{hostsZone(), secure}, self: "http://10.0.1.10:2380",
			want: "0=https://infra1.example.com:2380,1=https://infra2.example.com:2380,me=https://infra0.example.com:2380"},
		{name: "two URLs of one member", zone: []zone.Records{hostsZone(), plain, {service + ". SRV 9 0 7001 infra0.example.com."}}, self: "http://10.0.1.10:2380,http://10.0.1.10:7001",
			want: "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380,me=http://infra0.example.com:7001"},
		{name: "not listed", zone: []zone.Records{hostsZone(), plain}, self: "http://10.0.1.13:2380", err: `cannot find local etcd member "me" in SRV records`},
		{name: "other port", zone: []zone.Records{hostsZone(), plain}, self: "http://10.0.1.10:2381", err: `cannot find local etcd member "me" in SRV records`},
		{name: "no records", zone: []zone.Records{hostsZone()}, self: "http://10.0.1.10:2380", err: "lookup _etcd-server._tcp.example.com on SERVER: no such host",
			log: []string{"WARN error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.example.com on SERVER: no such host",
				"WARN error querying DNS SRV records for _etcd-server lookup _etcd-server._tcp.example.com on SERVER: no such host",
				"ERROR SRV discovery failed: too many errors querying DNS SRV records"}},
		{name: "no domain", self: "http://10.0.1.10:2380", cfg: SRVConfig{Domain: "exa mple.com"}, err: `discovery: no DNS records can be at domain "exa mple.com" with name ""`},
		{name: "port that is none", self: "http://10.0.1.10:99999", err: `port of 10.0.1.10:99999: strconv.ParseUint: parsing "99999": value out of range`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := nameServer(t, slices.Concat(tt.zone...).ServeDNS)
			out := newLogged()
			if tt.cfg.Domain == "" {
				tt.cfg.Domain = "example.com"
			}
			tt.cfg.Server, tt.cfg.Logger = server, slog.New(out)
			peers, err := SRV(t.Context(), tt.cfg, membership.Member{Name: "me", PeerURLs: strings.Split(tt.self, ",")})
			if tt.err != "" && (err == nil || strings.ReplaceAll(err.Error(), server, "SERVER") != tt.err) || tt.err == "" && (err != nil || peers.String() != tt.want) {
				t.Errorf("SRV = %v, %v, want %s%s", peers, err, tt.want, tt.err)
			}
			if got, want := strings.ReplaceAll(out.all(), server, "SERVER"), strings.Join(tt.log, "\n"); tt.log != nil && got != want {
				t.Errorf("logged\n%s\nwant\n%s", got, want)
			}
		})
	}
	e := &NoSelfError{Name: "infra3"}
	if e.Guide() != "cannot find local etcd infra3 from SRV records." {
		t.Errorf("Guide = %q", e.Guide())
	}
}

func TestNumbersAndNames(t *testing.T) {
	server := nameServer(t, slices.Concat(hostsZone(), three("_etcd-server")).ServeDNS)
	peers, err := SRV(t.Context(), SRVConfig{Domain: "example.com", Server: server}, membership.Member{Name: "0", PeerURLs: []string{"http://10.0.1.12:2380"}})
	if want := "0=http://infra2.example.com:2380,1=http://infra0.example.com:2380,2=http://infra1.example.com:2380"; err != nil || peers.String() != want {
		t.Errorf("SRV of a member called 0 = %v, %v, want %s", peers, err, want)
	}
}

func TestSRVMembersAndClients(t *testing.T) {
	server := nameServer(t, slices.Concat(three("_etcd-server"), three("_etcd-server-ssl")[:1],
		three("_etcd-client"), three("_etcd-client-ssl")[:1]).ServeDNS)
	cfg := SRVConfig{Domain: "example.com", Server: server}
	want := "http://infra0.example.com:2380 http://infra1.example.com:2380 http://infra2.example.com:2380 https://infra0.example.com:2380"
	if urls, err := SRVMembers(t.Context(), cfg); err != nil || strings.Join(urls, " ") != want {
		t.Errorf("SRVMembers = %v, %v, want %s", urls, err, want)
	}
	want = "https://infra0.example.com:2380 http://infra0.example.com:2380 http://infra1.example.com:2380 http://infra2.example.com:2380"
	if urls, err := SRVClients(t.Context(), cfg); err != nil || strings.Join(urls, " ") != want {
		t.Errorf("SRVClients = %v, %v, want %s", urls, err, want)
	}
	cfg.Domain = "example.org"
	want = "dns lookup errors: lookup _etcd-client-ssl._tcp.example.org on " + server + ": no such host and lookup _etcd-client._tcp.example.org on " + server + ": no such host"
	if urls, err := SRVClients(t.Context(), cfg); err == nil || err.Error() != want {
		t.Errorf("SRVClients = %v, %v, want %s", urls, err, want)
	}
	if _, err := SRVMembers(t.Context(), cfg); !isNotFound(err) {
		t.Errorf("SRVMembers = %v", err)
	}
}

// TestNameServerComesBack: records that cannot be had at first are not taken for
// records that are not there.
func TestNameServerComesBack(t *testing.T) {
	asked := 0
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == service+"." {
			if asked++; asked <= 2 { // both attempts of the first round
				m := new(dns.Msg)
				w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
				return
			}
		}
		slices.Concat(hostsZone(), three("_etcd-server"), three("_etcd-server-ssl")).ServeDNS(w, q)
	})
	out := newLogged()
	peers, err := SRV(t.Context(), SRVConfig{Domain: "example.com", Server: server, Logger: slog.New(out)}, membership.Member{Name: "me", PeerURLs: []string{"http://10.0.1.10:2380"}})
	if want := "me=http://infra0.example.com:2380"; err != nil || !strings.HasSuffix(peers.String(), want) {
		t.Errorf("SRV = %v, %v, want %s and others\n%s", peers, err, want, out.all())
	}
	if want := "the name server does not tell about SRV records, asking again in 500ms"; !strings.Contains(out.all(), want) {
		t.Errorf("logged\n%s\nwant %s", out.all(), want)
	}
}

// TestNameServerFailsForOneSet: the records of the other scheme are no substitute for
// those that cannot be had, except for a proxy.
func TestNameServerFailsForOneSet(t *testing.T) {
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == service+"." {
			m := new(dns.Msg)
			w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
			return
		}
		slices.Concat(hostsZone(), three("_etcd-server-ssl")).ServeDNS(w, q)
	})
	cfg := SRVConfig{Domain: "example.com", Server: server, Patience: time.Millisecond}
	peers, err := SRV(t.Context(), cfg, membership.Member{Name: "me", PeerURLs: []string{"http://10.0.1.10:2380"}})
	if err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("SRV = %v, %v", peers, err)
	}
	if urls, err := SRVMembers(t.Context(), cfg); len(urls) != 3 || err != nil {
		t.Errorf("SRVMembers = %v, %v", urls, err)
	}
}

// TestHostsThatDoNotResolve: a failing name server is asked for a while and then
// there is no cluster; a name that does not exist is left out after a few looks.
func TestHostsThatDoNotResolve(t *testing.T) {
	none := notFound("infra1.example.com", "ns")
	fails := &net.DNSError{Err: "server misbehaving", Name: "infra1.example.com", IsTemporary: true}
	const others = "0=http://infra2.example.com:2380,me=http://infra0.example.com:2380"
	const all = "0=http://infra1.example.com:2380,1=http://infra2.example.com:2380,me=http://infra0.example.com:2380"
	tests := []struct {
		name    string
		answers func(n int) error // of look n, from 1, for infra1
		want    string
		err     error
		looks   int
		within  time.Duration
	}{
		{"never existed", func(int) error { return none }, others, nil, looksMin, 1500 * time.Millisecond},
		{"exists at last", func(n int) error { return when(n < 3, none) }, all, nil, 3, 1500 * time.Millisecond},
		{"fails twice", func(n int) error { return when(n < 3, fails) }, all, nil, 3, 1500 * time.Millisecond},
		{"fails for ever", func(int) error { return fails }, "", fails, 9, srvPatience},
		{"fails, then does not exist", func(n int) error { return cmpErr(when(n < 6, fails), none) }, others, nil, 6, srvPatience},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			looks := 0
			out := newLogged()
			f, err := newFinder(SRVConfig{Domain: "example.com", Server: "ns", Logger: slog.New(out), Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
				if host == "infra1.example.com" {
					looks++
					if err := tt.answers(looks); err != nil {
						return nil, err
					}
				}
				return []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, 10 + host[5] - '0'})}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			var records []record
			for i := range 3 {
				records = append(records, record{target: fmt.Sprintf("infra%d.example.com", i), port: 2380})
			}
			began := time.Now()
			peers, err := f.cluster(t.Context(), []*set{{service: "etcd-server", scheme: "http", records: records}}, "me", map[netip.AddrPort]bool{netip.MustParseAddrPort("10.0.1.10:2380"): true})
			if !errors.Is(err, tt.err) || peers.String() != tt.want || looks != tt.looks || time.Since(began) > tt.within {
				t.Errorf("%s: cluster = %v, %v after %d looks and %v, want %s, %v after %d and at most %v",
					tt.name, peers, err, looks, time.Since(began), tt.want, tt.err, tt.looks, tt.within)
			}
			if want := "WARN couldn't resolve host infra1.example.com:2380 during SRV discovery "; strings.Count(out.all(), want) != 1 {
				t.Errorf("%s: logged\n%s\nwant once %s", tt.name, out.all(), want)
			}
		})
	}
}

// when is err if the condition holds.
func when(holds bool, err error) error {
	if holds {
		return err
	}
	return nil
}

// cmpErr is the first that is not nil.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// TestOwnHost: an advertised host that does not exist is an error, and the end of
// ctx is one at once.
func TestOwnHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newLogged()
		f, err := newFinder(SRVConfig{Domain: "example.com", Server: "ns", Logger: slog.New(out), Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, notFound(host, "ns:53")
		}})
		if err != nil {
			t.Fatal(err)
		}
		own, err := f.own(t.Context(), []string{"http://nx.example.com:2380"})
		if err == nil || err.Error() != "lookup nx.example.com on ns:53: no such host" {
			t.Errorf("own = %v, %v", own, err)
		}
		if want := "ERROR couldn't resolve host nx.example.com:2380 during SRV discovery "; !strings.Contains(out.all(), want) {
			t.Errorf("logged\n%s\nwant %s", out.all(), want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.own(ctx, []string{"http://nx.example.com:2380"}); err != context.DeadlineExceeded {
			t.Errorf("own with a second to live = %v", err)
		}
	})
}

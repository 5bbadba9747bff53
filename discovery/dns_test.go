package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"etcd2/test/zone"
)

// nameServer runs a name server for the test, on UDP and TCP, and returns its
// address.
func nameServer(t *testing.T, f dns.HandlerFunc) string {
	t.Helper()
	var pc net.PacketConn
	var l net.Listener
	for { // until a port is free for both
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: f}, {Listener: l, Handler: f}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return pc.LocalAddr().String()
}

// ask returns a names that asks this server, without a second attempt.
func ask(t *testing.T, server string) *names {
	t.Helper()
	n, err := newNames(server)
	if err != nil {
		t.Fatal(err)
	}
	n.config.Attempts, n.config.Timeout = 1, 1
	return n
}

const service = "_etcd-server._tcp.example.com"

func TestServices(t *testing.T) {
	good := zone.Records{
		service + ". SRV 20 0 2380 infra2.example.com.",
		service + ". SRV 10 1 2380 infra1.example.com.",
		service + ". SRV 10 5 2380 Infra0.example.com.",
		service + ". SRV 30 5 2380 INFRA0.example.com.", // the same again
	}
	const want = "Infra0.example.com:2380 infra1.example.com:2380 infra2.example.com:2380"
	var many zone.Records
	for i := range 300 {
		many = append(many, fmt.Sprintf("%s. SRV 0 0 %d a-long-name-of-a-host-that-takes-room.example.com.", service, i+1))
	}
	tests := []struct {
		name string
		f    dns.HandlerFunc
		want string // "" : any
		err  string
	}{
		{"good", good.ServeDNS, want, ""},
		{"too much for UDP", func(w dns.ResponseWriter, q *dns.Msg) {
			m := many.Answer(q)
			if w.LocalAddr().Network() == "udp" {
				m.Truncate(int(q.IsEdns0().UDPSize()))
			}
			w.WriteMsg(m)
		}, "", ""},
		{"no EDNS here", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				m := new(dns.Msg)
				w.WriteMsg(m.SetRcodeFormatError(q))
				return
			}
			good.ServeDNS(w, q)
		}, want, ""},
		{"a wrong ID first", func(w dns.ResponseWriter, q *dns.Msg) {
			forged := zone.Records{service + ". SRV 0 0 1 evil.example.com."}.Answer(q)
			forged.Id++
			w.WriteMsg(forged)
			good.ServeDNS(w, q)
		}, want, ""},
		{"alias", append(zone.Records{service + ". CNAME there.example.com."}, rename(good, "there.example.com")...).ServeDNS, want, ""},
		{"alias in the answer", func(w dns.ResponseWriter, q *dns.Msg) {
			m := zone.Records{service + ". CNAME there.example.com."}.Answer(q)
			there := q.Copy()
			there.Question[0].Name = "there.example.com."
			m.Answer = append(m.Answer, rename(good, "there.example.com").Answer(there).Answer...)
			w.WriteMsg(m)
		}, want, ""},
		{"aliases in a circle", zone.Records{service + ". CNAME b.example.com.", "b.example.com. CNAME " + service + "."}.ServeDNS, "", "more than 10 aliases"},
		{"alias of itself", zone.Records{service + ". CNAME " + service + "."}.ServeDNS, "", "more than 10 aliases"},
		{"no such name", zone.Records{}.ServeDNS, "", "no such host"},
		{"a name without such records", zone.Records{service + ". A 10.0.0.1"}.ServeDNS, "", "no such host"},
		{"decidedly not there", zone.Records{service + ". SRV 0 0 0 ."}.ServeDNS, "", "no such host"},
		{"fails", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
		}, "", "server misbehaving: SERVFAIL"},
		{"silent", func(dns.ResponseWriter, *dns.Msg) {}, "", "i/o timeout"},
		{"garbage", func(w dns.ResponseWriter, q *dns.Msg) {
			w.Write(append([]byte{byte(q.Id >> 8), byte(q.Id), 0x80, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, strings.Repeat("\xc0", 200)...))
		}, "", "dns: "},
		{"answer to another question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := good.Answer(q)
			m.Question[0].Name = "_etcd-server._tcp.example.org."
			w.WriteMsg(m)
		}, "", "an answer to another question"},
		{"records of others", func(w dns.ResponseWriter, q *dns.Msg) {
			m := rename(good, "_etcd-server._tcp.example.org").Answer(q)
			m.Rcode = dns.RcodeSuccess
			w.WriteMsg(m)
		}, "", "no such host"},
		{"target that is no host", zone.Records{service + `. SRV 0 0 2380 a\047\@b.example.com.`}.ServeDNS, "", "names no host and port"},
		{"port zero", zone.Records{service + `. SRV 0 0 0 a.example.com.`}.ServeDNS, "", "names no host and port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := ask(t, nameServer(t, tt.f))
			found, err := n.services(t.Context(), service)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), "lookup "+service+" on 127.0.0.1:") && tt.err != "more than 10 aliases" {
					t.Errorf("services = %v, %v, want %s", found, err, tt.err)
				}
				if isNotFound(err) != (tt.err == "no such host") {
					t.Errorf("%v: isNotFound = %v", err, isNotFound(err))
				}
				return
			}
			var got []string
			for _, r := range found {
				got = append(got, r.address())
			}
			if err != nil || tt.want != "" && strings.Join(got, " ") != tt.want || tt.want == "" && len(got) != len(many) {
				t.Errorf("services = %v, %v, want %s", got, err, tt.want)
			}
		})
	}
}

// rename gives the records of a zone another owner.
func rename(z zone.Records, name string) zone.Records {
	var out zone.Records
	for _, text := range z {
		_, rest, _ := strings.Cut(text, ". ")
		out = append(out, name+". "+rest)
	}
	return out
}

func TestAddresses(t *testing.T) {
	n := ask(t, nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "half.example.com." && q.Question[0].Qtype == dns.TypeAAAA {
			m := new(dns.Msg)
			w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
			return
		}
		zone.Records{
			"both.example.com. A 10.0.0.1", "both.example.com. A 10.0.0.2", "both.example.com. AAAA fe80::1",
			"half.example.com. A 10.0.0.3", "alias.example.com. CNAME both.example.com.", "text.example.com. TXT hello",
		}.ServeDNS(w, q)
	}))
	tests := []struct {
		host     string
		want     []string
		notFound bool
	}{
		{"both.example.com", []string{"10.0.0.1", "10.0.0.2", "fe80::1"}, false},
		{"BOTH.example.com.", []string{"10.0.0.1", "10.0.0.2", "fe80::1"}, false},
		{"alias.example.com", []string{"10.0.0.1", "10.0.0.2", "fe80::1"}, false},
		{"half.example.com", []string{"10.0.0.3"}, false},
		{"text.example.com", nil, true},
		{"none.example.com", nil, true},
		{strings.Repeat("x", 70) + ".example.com", nil, false},
	}
	for _, tt := range tests {
		found, err := n.addresses(t.Context(), tt.host)
		var got []string
		for _, a := range found {
			got = append(got, a.String())
		}
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) || isNotFound(err) != tt.notFound {
			t.Errorf("addresses(%q) = %v, %v, want %v, not found: %v", tt.host, got, err, tt.want, tt.notFound)
		}
	}
}

// TestSecondServer: a server that fails is not the last word, and another attempt
// is made.
func TestSecondServer(t *testing.T) {
	var asked atomic.Int32
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) == 1 {
			m := new(dns.Msg)
			w.WriteMsg(m.SetRcode(q, dns.RcodeRefused))
			return
		}
		zone.Records{"a.example.com. A 10.0.0.1"}.ServeDNS(w, q)
	})
	n := ask(t, server)
	n.config.Attempts = 2
	rrs, told, err := n.ask(t.Context(), "a.example.com", dns.TypeA)
	if err != nil || told != server || !slices.Equal(addressesOf(rrs), []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
		t.Errorf("ask = %v, %q, %v", rrs, told, err)
	}
}

// TestStopDuringQuestion: the end of ctx does not wait for a silent server.
func TestStopDuringQuestion(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	n := ask(t, nameServer(t, func(dns.ResponseWriter, *dns.Msg) { stop() }))
	n.config.Timeout = 600
	if found, err := n.services(ctx, service); err != context.Canceled {
		t.Errorf("services = %v, %v, want %v", found, err, context.Canceled)
	}
}

func TestServerAddress(t *testing.T) {
	tests := []struct{ server, host, port string }{
		{"10.0.0.1", "10.0.0.1", "53"},
		{"10.0.0.1:5353", "10.0.0.1", "5353"},
		{"::1", "::1", "53"},
		{"[::1]", "::1", "53"},
		{"[::1]:5353", "::1", "5353"},
		{"ns.example.com", "ns.example.com", "53"},
		{":53", "", ""},
	}
	for _, tt := range tests {
		n, err := newNames(tt.server)
		if tt.host == "" {
			if err == nil {
				t.Errorf("newNames(%q) = %+v", tt.server, n.config)
			}
			continue
		}
		if err != nil || n.config.Servers[0] != tt.host || n.config.Port != tt.port {
			t.Errorf("newNames(%q) = %+v, %v, want %s and %s", tt.server, n, err, tt.host, tt.port)
		}
	}
}

// TestSpread: priorities are an order, weights are chances.
func TestSpread(t *testing.T) {
	records := []record{{target: "a", weight: 9}, {target: "b", weight: 0}, {target: "c", priority: 1}, {target: "d", priority: 2, weight: 100}}
	first := make(map[string]int)
	const runs = 1100
	for range runs {
		out := spread(records)
		if len(out) != 4 || out[2].target != "c" || out[3].target != "d" || out[0].priority != 0 || out[0] == out[1] {
			t.Fatalf("spread = %v", out)
		}
		first[out[0].target]++
	}
	if first["b"] < runs/50 || first["b"] > runs/5 { // one in eleven
		t.Errorf("b was the first %d times in %d", first["b"], runs)
	}
}

// FuzzRecords: whatever a name server answers, what comes out can stand in a URL.
func FuzzRecords(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion(service+".", dns.TypeSRV)
	for _, z := range []zone.Records{
		{service + ". SRV 0 0 2380 infra0.example.com.", service + ". SRV 0 0 0 ."},
		{service + `. SRV 1 2 3 a\047\@b.example.com.`, service + ". CNAME x.example.com."},
		{service + ". CNAME " + service + "."},
		{service + ". A 10.0.0.1"},
	} {
		wire, err := z.Answer(q).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if rrs, _, err := pick(m, service+".", qtype); err == nil {
				addressesOf(rrs)
			}
		}
		rrs, _, err := pick(m, service+".", dns.TypeSRV)
		if err != nil {
			return
		}
		found, err := services(rrs)
		if err != nil {
			return
		}
		for _, r := range spread(found) {
			host, err := splitHost(r.address())
			if err != nil || host.name != r.target || host.port != r.port || host.port == 0 || !isHost(host.name) {
				t.Fatalf("%+v reads as %+v, %v", r, host, err)
			}
		}
	})
}

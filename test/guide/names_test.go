package guide

import (
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// zoneEnv is set in the process that answers for the guide's domain, to its records.
const zoneEnv = "GUIDE_ZONE"

// nameServer is the host that answers.
const nameServer = "10.0.1.53"

// serveNames answers for a zone on port 53 until the process ends.
func serveNames(zone string) int {
	records := map[dns.Question][]dns.RR{}
	names := map[string]bool{}
	zp := dns.NewZoneParser(strings.NewReader(zone), "", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		h := rr.Header()
		q := dns.Question{Name: h.Name, Qtype: h.Rrtype, Qclass: h.Class}
		records[q] = append(records[q], rr)
		names[h.Name] = true
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		q := m.Question[0]
		q.Name = strings.ToLower(q.Name)
		r.Authoritative, r.Answer = true, records[q]
		if !names[q.Name] {
			r.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(r) // who has gone does not ask any more
	})
	conn, err := net.ListenPacket("udp", net.JoinHostPort(nameServer, "53"))
	if err == nil {
		err = zp.Err()
	}
	if err == nil {
		fmt.Println("ready")
		err = (&dns.Server{PacketConn: conn, Handler: answer}).ActivateAndServe()
	}
	fmt.Println(err)
	return 1
}

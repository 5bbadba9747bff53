// Package zone is a name server for tests.
package zone

import (
	"net"
	"strings"

	"github.com/miekg/dns"
)

// Records are all that the name server knows, each in the text form of a zone file
// with the whole name of its owner, such as "a.example.com. A 10.0.1.10". Names that
// own none do not exist.
type Records []string

// Serve answers questions over UDP until conn is closed.
func (z Records) Serve(conn net.PacketConn) error {
	return (&dns.Server{PacketConn: conn, Handler: z}).ActivateAndServe()
}

// ServeDNS answers one question.
func (z Records) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	w.WriteMsg(z.Answer(query)) // who has gone does not ask any more
}

// Answer is what there is of the name and type that query asks for, and an alias. It
// panics at a record that is none.
func (z Records) Answer(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetRcode(query, dns.RcodeNameError)
	reply.Authoritative, reply.RecursionAvailable = true, true
	for _, text := range z {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if !strings.EqualFold(rr.Header().Name, query.Question[0].Name) {
			continue
		}
		reply.Rcode = dns.RcodeSuccess
		if t := rr.Header().Rrtype; t == query.Question[0].Qtype || t == dns.TypeCNAME {
			reply.Answer = append(reply.Answer, rr)
		}
	}
	return reply
}

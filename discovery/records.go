package discovery

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// aliasesMax is how many CNAME records in a row are followed.
const aliasesMax = 10

// record is a SRV record: where one member or its client port is.
type record struct {
	target   string // host name without a dot at the end
	port     uint16
	priority uint16 // lower ones come first
	weight   uint16
}

// address is target and port.
func (r record) address() string {
	return net.JoinHostPort(r.target, strconv.Itoa(int(r.port)))
}

// pick takes the records of a type that an answer has for a name. The name may be
// an alias: final is the last one that the answer leads to.
func pick(answer *dns.Msg, name string, qtype uint16) (found []dns.RR, final string, err error) {
	for range aliasesMax {
		alias := ""
		for _, rr := range answer.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == qtype {
				found = append(found, rr)
			}
			if other, ok := rr.(*dns.CNAME); ok {
				alias = other.Target
			}
		}
		if len(found) > 0 || alias == "" {
			return found, name, nil
		}
		name = alias
	}
	return nil, "", fmt.Errorf("more than %d aliases", aliasesMax)
}

// services reads SRV records. One that cannot be right spoils all of them: to leave
// it out would make another cluster.
func services(rrs []dns.RR) ([]record, error) {
	if len(rrs) > sizeMax {
		return nil, fmt.Errorf("more than %d SRV records", sizeMax)
	}
	var found []record
	for _, rr := range rrs {
		srv, ok := rr.(*dns.SRV)
		if !ok {
			return nil, fmt.Errorf("a record of type %T among SRV records", rr)
		}
		if srv.Target == "." {
			continue // RFC 2782: decidedly not there
		}
		r := record{target: strings.TrimSuffix(srv.Target, "."), port: srv.Port, priority: srv.Priority, weight: srv.Weight}
		if !isHost(r.target) || r.port == 0 {
			return nil, fmt.Errorf("the SRV record %.300q port %d names no host and port", srv.Target, srv.Port)
		}
		if !slices.ContainsFunc(found, func(o record) bool { return o.port == r.port && strings.EqualFold(o.target, r.target) }) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight), cmp.Compare(a.address(), b.address()))
	})
	return found, nil
}

// isHost tells whether a name can stand in a URL.
func isHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, isOdd) {
			return false
		}
	}
	return true
}

// isOdd tells whether a host name must not have this character. Underscores are not
// allowed, but in use.
func isOdd(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// addressesOf reads address records.
func addressesOf(rrs []dns.RR) []netip.Addr {
	var found []netip.Addr
	for _, rr := range rrs {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			found = append(found, a.Unmap())
		}
	}
	return found
}

// spread puts the records into the order in which a client tries them: by priority,
// and within one by chance in proportion to the weights (RFC 2782). They have to be
// sorted by priority.
func spread(records []record) []record {
	out := make([]record, 0, len(records))
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].priority == records[0].priority {
			n++
		}
		same := slices.Clone(records[:n])
		records = records[n:]
		for len(same) > 0 {
			i := draw(same)
			out = append(out, same[i])
			same = slices.Delete(same, i, i+1)
		}
	}
	return out
}

// draw chooses one of the records. A weight of zero has a small chance too.
func draw(records []record) int {
	total := 0
	for _, r := range records {
		total += int(r.weight) + 1
	}
	n := rand.N(total)
	for i, r := range records {
		if n -= int(r.weight) + 1; n < 0 {
			return i
		}
	}
	return len(records) - 1
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// resolvConf says whom the system asks.
	resolvConf = "/etc/resolv.conf"
	// udpBytes is the size of answers that pass every network in one piece.
	udpBytes = 1232
	// Limits of what resolv.conf may ask for.
	dnsServersMax  = 3
	dnsTimeoutMax  = 30 // s
	dnsAttemptsMax = 5
)

// names asks name servers. The errors of its methods are *net.DNSError: IsNotFound
// is the word of a server that there is no such record, all others may go away.
type names struct {
	config *dns.ClientConfig // nil: the system has its own ways
}

// newNames asks the server, "host" or "host:port"; with "" those of the system.
func newNames(server string) (*names, error) {
	if server != "" {
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			host, port = strings.Trim(server, "[]"), "53"
		}
		if host == "" {
			return nil, fmt.Errorf("discovery: %q is no DNS server; give host or host:port", server)
		}
		return &names{config: &dns.ClientConfig{Servers: []string{host}, Port: port, Ndots: 1, Timeout: 5, Attempts: 2}}, nil
	}
	config, err := dns.ClientConfigFromFile(resolvConf)
	if errors.Is(err, fs.ErrNotExist) {
		return new(names), nil
	}
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if len(config.Servers) == 0 {
		config.Servers = []string{"127.0.0.1"}
	}
	config.Servers = config.Servers[:min(len(config.Servers), dnsServersMax)]
	config.Timeout = min(max(config.Timeout, 1), dnsTimeoutMax)
	config.Attempts = min(max(config.Attempts, 1), dnsAttemptsMax)
	return &names{config: config}, nil
}

// services looks up the SRV records of a name, sorted by priority.
func (n *names) services(ctx context.Context, name string) ([]record, error) {
	if n.config == nil {
		return systemServices(ctx, name)
	}
	rrs, server, err := n.ask(ctx, name, dns.TypeSRV)
	if err != nil {
		return nil, err
	}
	found, err := services(rrs)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, Server: server}
	}
	if len(found) == 0 {
		return nil, notFound(name, server)
	}
	return found, nil
}

// systemServices is services where there is no resolv.conf.
func systemServices(ctx context.Context, name string) ([]record, error) {
	_, list, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for _, s := range list {
		rrs = append(rrs, &dns.SRV{Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: s.Target})
	}
	found, err := services(rrs)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name}
	}
	return found, nil
}

// addresses looks up a host name; it is a membership.Resolver.
func (n *names) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	var failure error
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		rrs, _, err := n.ask(ctx, host, qtype)
		if err != nil && (failure == nil || isNotFound(failure)) {
			failure = err
		}
		found = append(found, addressesOf(rrs)...)
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, failure
}

// ask returns the records of a type, at least one, and the server that told.
func (n *names) ask(ctx context.Context, name string, qtype uint16) ([]dns.RR, string, error) {
	var failure error
	for _, full := range n.config.NameList(name) {
		rrs, server, err := n.follow(ctx, full, qtype)
		if err == nil {
			return rrs, server, nil
		}
		if failure == nil || isNotFound(failure) {
			failure = err
		}
	}
	var told *net.DNSError
	if errors.As(failure, &told) {
		told.Name = name
	}
	return nil, "", failure
}

// follow asks for a full name, and for what it is an alias of when the answer does
// not tell that too.
func (n *names) follow(ctx context.Context, name string, qtype uint16) ([]dns.RR, string, error) {
	asked := name
	for range aliasesMax {
		answer, server, err := n.exchange(ctx, asked, qtype)
		if err != nil {
			return nil, "", err
		}
		found, final, err := pick(answer, asked, qtype)
		switch {
		case err != nil:
			return nil, "", &net.DNSError{Err: err.Error(), Name: name, Server: server}
		case len(found) > 0:
			return found, server, nil
		case answer.Rcode == dns.RcodeNameError || final == asked:
			return nil, "", notFound(name, server)
		}
		asked = final
	}
	return nil, "", &net.DNSError{Err: fmt.Sprintf("more than %d aliases", aliasesMax), Name: name}
}

// exchange asks the servers in turn until one gives an answer that can be used:
// success, or the word that there is no such name.
func (n *names) exchange(ctx context.Context, name string, qtype uint16) (*dns.Msg, string, error) {
	failure := &net.DNSError{Err: "no answer", Name: name, IsTemporary: true}
	for range n.config.Attempts {
		for _, host := range n.config.Servers {
			server := net.JoinHostPort(host, n.config.Port)
			answer, err := n.askServer(ctx, server, name, qtype)
			if ctx.Err() != nil {
				return nil, "", context.Cause(ctx)
			}
			if err == nil && (answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError) {
				return answer, server, nil
			}
			failure.Server = server
			failure.IsTimeout = errors.Is(err, os.ErrDeadlineExceeded)
			switch {
			case failure.IsTimeout:
				failure.Err = "i/o timeout"
			case err != nil:
				failure.Err = err.Error()
			default:
				failure.Err = "server misbehaving: " + dns.RcodeToString[answer.Rcode]
			}
		}
	}
	return nil, "", failure
}

// askServer asks one server by UDP, and by TCP when the answer was too long for it.
func (n *names) askServer(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), qtype)
	question.SetEdns0(udpBytes, false)
	timeout := time.Duration(n.config.Timeout) * time.Second
	answer, err := send(ctx, "udp", server, question, timeout)
	if err == nil && (answer.Rcode == dns.RcodeFormatError || answer.Rcode == dns.RcodeNotImplemented) {
		question.Extra = nil // a server from before EDNS
		answer, err = send(ctx, "udp", server, question, timeout)
	}
	if answer != nil && answer.Truncated {
		return send(ctx, "tcp", server, question, timeout)
	}
	return answer, err
}

// send asks once. An answer to another question is an error.
func send(ctx context.Context, network, server string, question *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	c := dns.Client{Net: network, Timeout: timeout}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the exchange only knows its deadline
	defer stop()
	answer, _, err := c.ExchangeWithConnContext(ctx, question, conn)
	if err != nil {
		return answer, err
	}
	if !isAnswer(answer, question.Question[0]) {
		return nil, errors.New("an answer to another question")
	}
	return answer, nil
}

// isAnswer tells whether an answer is one to this question. A refusal may leave out
// the question.
func isAnswer(answer *dns.Msg, question dns.Question) bool {
	if len(answer.Question) == 0 {
		return answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError
	}
	q := answer.Question[0]
	return answer.Response && q.Qtype == question.Qtype && strings.EqualFold(q.Name, question.Name)
}

func notFound(name, server string) error {
	return &net.DNSError{Err: "no such host", Name: name, Server: server, IsNotFound: true}
}

// isNotFound tells whether the name server said so, and did not just fail.
func isNotFound(err error) bool {
	var told *net.DNSError
	return errors.As(err, &told) && told.IsNotFound
}

package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"etcd2/test/pki"
)

// A client of two sides is accepted by the servers of either, with the certificate that
// the server wants, and accepts both.
func TestClientOf(t *testing.T) {
	one, two, third := newPlace(t), newPlace(t), newPlace(t)
	asking := func(p *place, uses ...x509.ExtKeyUsage) *Source {
		c := p.config(uses...)
		c.ClientCertAuth = true
		return mustLoad(t, c)
	}
	a, b := asking(one, pki.Client), asking(two, pki.Client)
	onlyServes := asking(one)
	trusts := mustLoad(t, Config{TrustedCA: one.file("ca.crt")})
	picky := two.config(pki.Client)
	picky.AllowedCN = "somebody"
	system := mustLoad(t, Config{})
	tests := []struct {
		name   string
		server *Source
		client *tls.Config
		host   string
		err    string // of the client, or of the server; "" when both are content
	}{
		{"server of the first", a, ClientOf(a, b), "localhost", ""},
		{"server of the second", b, ClientOf(a, b), "localhost", ""},
		{"server of the second, by address", b, ClientOf(a, b), "127.0.0.1", ""},
		{"server of neither", asking(third), ClientOf(a, b), "localhost", "certificate signed by unknown authority"},
		{"server of another name", b, ClientOf(a, b), "elsewhere", "not elsewhere"},
		{"no name", b, ClientOf(a, b), "", errNoName.Error()},
		{"the first has no certificate", a, ClientOf(trusts, a), "localhost", ""},
		{"no certificate at all", a, ClientOf(trusts, system), "localhost", "certificate required"},
		{"the first is not for clients", a, ClientOf(onlyServes, a), "localhost", ""},
		{"none is for clients", a, ClientOf(onlyServes, trusts), "localhost", "bad certificate"},
		{"common name, other side", a, ClientOf(a, mustLoad(t, picky)), "localhost", ""},
		{"common name", b, ClientOf(a, mustLoad(t, picky)), "localhost", errCommonName.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.ServerName = tt.host
			_, _, err := shake(t, tt.server.Server(), tt.client)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	if _, _, err := shake(t, asking(third).Server(), named(ClientOf(a, b))); !errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("error %T, want the type of crypto/tls", err)
	}
}

// A server that is revoked by one side's list is not let in by that side.
func TestClientOfHeedsRevocations(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	c := p.config(pki.Client)
	c.ClientCertAuth = true
	good := mustLoad(t, c)
	leaf := good.now.Load().cert.Leaf
	c.CRL = p.ca.WriteRevoked(p.file("crl"), &pki.Pair{Leaf: leaf})
	revoking := mustLoad(t, c)
	client := ClientOf(mustLoad(t, other.config(pki.Client)), revoking)
	client.ServerName = "localhost"
	if _, _, err := shake(t, good.Server(), client); !errors.Is(err, errRevoked) {
		t.Errorf("error %v, want %v", err, errRevoked)
	}
}

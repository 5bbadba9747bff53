package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
)

// errNoName says that settings were used for a connection to no host in particular.
var errNoName = errors.New("tlsconf: no server name to verify")

// ClientOf returns the settings of one connection to a server that may belong to any of
// several sides, to be dialled now with Handshake. The certificate of the server has to
// be in order for one of them, by its CAs, revocation lists and name. The certificate
// shown to the server is one that it asks for, and rather that of the side which accepts
// the server: CAs may bear the same name.
func ClientOf(sides ...*Source) *tls.Config {
	all := make([]side, len(sides))
	for i, s := range sides {
		all[i] = side{&s.cfg, s.now.Load()}
	}
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does all of it
	}
	t.VerifyConnection = func(c tls.ConnectionState) error {
		return acceptAny(all, t.ServerName, c)
	}
	t.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return choose(all, r), nil
	}
	return t
}

// side is what a Source has for one connection.
type side struct {
	cfg *Config
	*material
}

// acceptAny makes the side that accepts the server the first one. The error is that of
// the first side which knows the CA, or that of the first.
func acceptAny(sides []side, name string, c tls.ConnectionState) error {
	var first error
	for i, s := range sides {
		err := s.verifyServer(name, c)
		if err == nil {
			sides[0], sides[i] = sides[i], sides[0]
			return nil
		}
		if first == nil || errors.As(first, new(x509.UnknownAuthorityError)) && !errors.As(err, new(x509.UnknownAuthorityError)) {
			first = err
		}
	}
	return first
}

// verifyServer does what crypto/tls does for a client, and verify.
func (s *side) verifyServer(name string, c tls.ConnectionState) error {
	if !s.cfg.Auto {
		if name == "" {
			return errNoName
		}
		between := x509.NewCertPool()
		for _, cert := range c.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		var err error
		c.VerifiedChains, err = c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: s.authorities, DNSName: name, Intermediates: between})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: c.PeerCertificates, Err: err}
		}
	}
	return s.verify(c)
}

// choose returns the certificate to show to a server: one whose CA it names, and rather
// one that is made for clients. Without such a one it is empty, as with crypto/tls.
func choose(sides []side, r *tls.CertificateRequestInfo) *tls.Certificate {
	var chosen *tls.Certificate
	for _, s := range sides {
		switch cert := &s.cert; {
		case !s.cfg.Given() || r.SupportsCertificate(cert) != nil:
		case forClients(cert.Leaf):
			return cert
		case chosen == nil:
			chosen = cert
		}
	}
	if chosen == nil {
		return new(tls.Certificate)
	}
	return chosen
}

// forClients reports whether a server may accept the certificate from a client.
func forClients(c *x509.Certificate) bool {
	uses := c.ExtKeyUsage
	return len(uses)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(uses, x509.ExtKeyUsageClientAuth) || slices.Contains(uses, x509.ExtKeyUsageAny)
}

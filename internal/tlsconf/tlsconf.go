// Package tlsconf turns certificate files into TLS settings, for those who listen
// and those who dial, and keeps up with the files.
//
// A Source begins with files that are all in order, or not at all. While Run
// runs, a file that is replaced counts for the handshakes from then on;
// connections that are open stay as they are. New files that are not in order
// change nothing but the log.
//
// The settings allow TLS 1.2 and above, and agree on no protocol by ALPN: what
// they carry is HTTP/1.1. Handshakes never wait for a file. Handshake is that of one
// who dials.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Config names the files of one side of a member and what it asks of the other
// end of its connections.
type Config struct {
	// Both or neither. Without them a Source only dials, and shows no certificate.
	Cert string // PEM file, the certificate and those between it and its authority
	Key  string // PEM file

	TrustedCA      string // PEM file of authorities; those of the system
	CA             string // the old way to say TrustedCA and ClientCertAuth at once
	ClientCertAuth bool   // refuse who dials without a certificate of an authority
	CRL            string // revocation lists, PEM or one DER; whom they name is refused
	AllowedCN      string // the only common name that is not refused; all are welcome

	// Auto makes Cert and Key when they are missing, soon at their end or not for
	// AutoHosts. The certificate is its own authority, so who dials with it does
	// not verify the other end.
	Auto      bool
	AutoHosts []string

	Logger *slog.Logger // discard
}

// Given tells whether a certificate or a key is named.
func (c *Config) Given() bool { return c.Cert != "" || c.Key != "" }

// AsksForCertificates tells whether who dials needs a certificate.
func (c *Config) AsksForCertificates() bool { return c.ClientCertAuth || c.CA != "" }

// Complete tells whether both certificate and key are named. The text of the
// error is that of etcd 2.3.
func (c *Config) Complete() error {
	if c.Cert == "" || c.Key == "" {
		return fmt.Errorf("KeyFile and CertFile must both be present[key: %s, cert: %s]", c.Key, c.Cert)
	}
	return nil
}

// Source is the TLS side of one kind of connection. Its methods may be called by
// any goroutine, Run by one.
type Source struct {
	cfg Config
	now atomic.Pointer[material]
}

// Load reads the files. The error is about the first that is not in order.
func Load(cfg Config) (*Source, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := load(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg}
	s.now.Store(m)
	m.warn(cfg.Logger)
	return s, nil
}

// Server returns the settings of a listener. They stay good for its whole life.
// A Source without a certificate has none to listen with: all handshakes fail.
func (s *Source) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.now.Load().server, nil
		},
	}
}

// Client returns the settings of one connection that is to be dialled now: it
// shows the certificate of this side and verifies the other one's with the same
// authorities.
func (s *Source) Client() *tls.Config {
	m := s.now.Load()
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            m.authorities,
		InsecureSkipVerify: s.cfg.Auto,
		VerifyConnection:   m.verify,
	}
	if s.cfg.Given() {
		t.Certificates = []tls.Certificate{m.cert}
	}
	return t
}

// Expires returns when the certificate that is shown, or one between it and its
// authority, comes to its end; the zero time when none is shown.
func (s *Source) Expires() time.Time { return s.now.Load().expires }

// newServer returns the settings of a listener for the files of m.
func (m *material) newServer(c *Config) *tls.Config {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientCAs:  m.authorities,
	}
	if c.Given() {
		t.Certificates = []tls.Certificate{m.cert}
	}
	if c.AsksForCertificates() {
		t.ClientAuth = tls.RequireAndVerifyClientCert
		t.VerifyConnection = m.verify
		// A ticket would let in for days who has been revoked meanwhile.
		t.SessionTicketsDisabled = true
	}
	return t
}

// Refusals of a certificate that its authority vouches for.
var (
	errRevoked    = errors.New("tlsconf: certificate is revoked")
	errCommonName = errors.New("tlsconf: common name is not allowed")
)

// verify refuses the other end when every way to an authority is revoked, or when
// it has another name than the one allowed. crypto/tls has verified the rest.
func (m *material) verify(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 {
		return nil
	}
	leaf := c.PeerCertificates[0]
	chains := c.VerifiedChains
	if len(chains) == 0 { // nobody asked for an authority
		chains = [][]*x509.Certificate{c.PeerCertificates}
	}
	if !slices.ContainsFunc(chains, m.valid) {
		return fmt.Errorf("%w: serial %x of %s", errRevoked, leaf.SerialNumber, leaf.Issuer)
	}
	if name := leaf.Subject.CommonName; m.allowedCN != "" && name != m.allowedCN {
		return fmt.Errorf("%w: %q", errCommonName, name)
	}
	return nil
}

// valid tells whether nothing in the chain is revoked.
func (m *material) valid(chain []*x509.Certificate) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		return m.revoked[revocation{string(c.RawIssuer), c.SerialNumber.String()}]
	})
}

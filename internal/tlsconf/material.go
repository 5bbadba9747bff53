package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// material is what the files held at one time. It never changes.
type material struct {
	seen        []os.FileInfo // the files, before they were read
	cert        tls.Certificate
	expires     time.Time
	authorities *x509.CertPool // nil for those of the system
	revoked     map[revocation]bool
	allowedCN   string
	server      *tls.Config
	notes       []note
}

// revocation is a certificate that its issuer has taken back. Serial numbers are
// unique for each issuer only.
type revocation struct {
	issuer string // DER of its name
	serial string
}

// note is a warning about files that are in order and yet not as they should be.
type note struct {
	text  string
	attrs []any
}

// warn logs the notes.
func (m *material) warn(log *slog.Logger) {
	for _, n := range m.notes {
		log.Warn(n.text, n.attrs...)
	}
}

// files are all that is read.
func (c *Config) files() []string {
	var names []string
	for _, name := range []string{c.Cert, c.Key, c.CA, c.TrustedCA, c.CRL} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// load reads all files.
func load(c *Config) (*material, error) {
	if c.Given() {
		if err := c.Complete(); err != nil {
			return nil, err
		}
	}
	if c.Auto {
		if err := c.makePair(time.Now()); err != nil {
			return nil, err
		}
	}
	m := &material{seen: stat(c.files()), allowedCN: c.AllowedCN}
	if c.Given() {
		if err := m.loadPair(c); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{c.CA, c.TrustedCA} {
		if err := m.loadAuthorities(name); err != nil {
			return nil, err
		}
	}
	if err := m.loadRevocations(c.CRL); err != nil {
		return nil, err
	}
	m.server = m.newServer(c)
	return m, nil
}

func (m *material) loadPair(c *Config) error {
	var err error
	if m.cert, err = tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
		return err
	}
	for _, der := range m.cert.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Cert, err)
		}
		if m.expires.IsZero() || one.NotAfter.Before(m.expires) {
			m.expires = one.NotAfter
		}
	}
	if time.Now().After(m.expires) {
		m.note("certificate has expired", "file", c.Cert, "expired", m.expires)
	}
	return nil
}

// loadAuthorities adds the certificates of a file to the authorities. A file
// without any is not an error, but then nobody is trusted.
func (m *material) loadAuthorities(name string) error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if m.authorities == nil {
		m.authorities = x509.NewCertPool()
	}
	found, err := blocks(text, "CERTIFICATE")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, der := range found {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.authorities.AddCert(cert)
	}
	if len(found) == 0 {
		m.note("no certificate in the file of authorities", "file", name)
	}
	return nil
}

// loadRevocations reads revocation lists. The file is trusted like that of the
// authorities: no signature is checked, because the authority that signed may be
// one that only the chain of a client holds.
func (m *material) loadRevocations(name string) error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lists, err := blocks(text, "X509 CRL")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(lists) == 0 {
		if bytes.Contains(text, blockStart) { // else it is DER
			return fmt.Errorf("%s: %w", name, errNoList)
		}
		lists = [][]byte{text}
	}
	m.revoked = make(map[revocation]bool)
	for _, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, entry := range list.RevokedCertificateEntries {
			m.revoked[revocation{string(list.RawIssuer), entry.SerialNumber.String()}] = true
		}
		if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			m.note("revocation list is out of date", "file", name, "issuer", list.Issuer.String(), "due", list.NextUpdate)
		}
	}
	return nil
}

// Why a file is not in order.
var (
	errNoList = errors.New("no revocation list in it")
	errBlock  = errors.New("a PEM block in it is damaged or has no end")
)

var blockStart = []byte("-----BEGIN ")

// blocks returns what the PEM blocks of a kind hold. A block that cannot be read is
// an error, where package pem goes on to the next: a list left out would let in
// whom it names.
func blocks(text []byte, kind string) (found [][]byte, err error) {
	read := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		read++
		if block.Type == kind {
			found = append(found, block.Bytes)
		}
	}
	if read != bytes.Count(text, blockStart) {
		return nil, errBlock
	}
	return found, nil
}

func (m *material) note(text string, attrs ...any) { m.notes = append(m.notes, note{text, attrs}) }

// Package pki makes the certificates that tests need, fresh in every run, so that
// none in the repository can expire.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. It belongs to one goroutine.
type Authority struct {
	Cert *x509.Certificate

	t      testing.TB
	key    crypto.Signer
	serial int64
}

// Pair is a certificate with its key.
type Pair struct {
	Leaf *x509.Certificate
	TLS  tls.Certificate

	t testing.TB
}

// Uses of a certificate.
const (
	Server = x509.ExtKeyUsageServerAuth
	Client = x509.ExtKeyUsageClientAuth
)

// New makes an authority.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t), serial: 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.Cert = a.sign(template, template, a.key.Public())
	return a
}

// Issue makes a certificate for a name, good for localhost and 127.0.0.1 during
// life from now on.
func (a *Authority) Issue(name string, life time.Duration, uses ...x509.ExtKeyUsage) *Pair {
	a.t.Helper()
	a.serial++
	key := newKey(a.t)
	leaf := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.Cert, key.Public())
	return &Pair{
		Leaf: leaf, t: a.t,
		TLS: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
	}
}

// sign makes a certificate. The first one is signed by itself.
func (a *Authority) sign(template, parent *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// Pool returns the authority as the only one to trust.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Cert)
	return p
}

// Write writes the certificate of the authority and returns the name of the file.
func (a *Authority) Write(file string) string {
	a.t.Helper()
	return write(a.t, file, "CERTIFICATE", a.Cert.Raw)
}

// Revoke returns a revocation list, due in an hour, as DER.
func (a *Authority) Revoke(pairs ...*Pair) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, p := range pairs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: p.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// WriteRevoked writes a revocation list and returns the name of the file.
func (a *Authority) WriteRevoked(file string, pairs ...*Pair) string {
	a.t.Helper()
	return write(a.t, file, "X509 CRL", a.Revoke(pairs...))
}

// Write writes BASE.crt and BASE.key and returns their names.
func (p *Pair) Write(base string) (cert, key string) {
	p.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.TLS.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return write(p.t, base+".crt", "CERTIFICATE", p.Leaf.Raw), write(p.t, base+".key", "PRIVATE KEY", der)
}

// write replaces a file in one step, as tools that renew certificates do.
func write(t testing.TB, file, kind string, der []byte) string {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	next := filepath.Join(filepath.Dir(file), ".next-"+filepath.Base(file))
	if err := os.WriteFile(next, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

package tlsconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// autoLife is how long a certificate that was made here is good.
	autoLife = 365 * 24 * time.Hour
	// autoRenew is how long before its end another one is made.
	autoRenew = 30 * 24 * time.Hour
	// autoSkew is how far the clock of another machine may be behind.
	autoSkew = time.Hour
)

// makePair writes a pair of certificate and key unless there is one already that will
// do for a while.
func (c *Config) makePair(now time.Time) error {
	if c.madeEarlier(now) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"etcd"}},
		NotBefore:             now.Add(-autoSkew),
		NotAfter:              now.Add(autoLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range c.AutoHosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// A crash in between leaves a pair that does not match: it is made again.
	if err := writePEM(c.Key, "PRIVATE KEY", private); err != nil {
		return err
	}
	if err := writePEM(c.Cert, "CERTIFICATE", cert); err != nil {
		return err
	}
	c.Logger.Info("made a certificate of our own", "cert", c.Cert, "expires", template.NotAfter)
	return nil
}

// madeEarlier tells whether the files hold a pair that will do for a while.
func (c *Config) madeEarlier(now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || now.Before(cert.NotBefore) || now.Add(autoRenew).After(cert.NotAfter) {
		return false
	}
	for _, host := range c.AutoHosts {
		if cert.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

// writePEM writes a file that only its owner may read, and its directory. The file is
// a new one: one that is there could be open to others, and would stay so.
func writePEM(name, kind string, der []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	part := name + ".part"
	err := os.Remove(part)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(part, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	if err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return fmt.Errorf("cannot keep a certificate of our own: %w", err)
	}
	return nil
}

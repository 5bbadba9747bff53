package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// empty tells whether neither certificate nor key is named.
func (t *TLSFiles) empty() bool { return t.Cert == "" && t.Key == "" }

// describe logs the files of a side that has any.
func (t *TLSFiles) describe(side string, log *slog.Logger) {
	if t.empty() {
		return
	}
	log.Info(fmt.Sprintf("%s: cert = %s, key = %s, ca = %s, trusted-ca = %s, client-cert-auth = %v",
		side, t.Cert, t.Key, t.CA, t.TrustedCA, t.ClientCertAuth))
}

// complete tells whether both certificate and key are named; the error texts are
// those of the recorded server.
func (t *TLSFiles) complete() error {
	if t.Cert == "" || t.Key == "" {
		return fmt.Errorf("KeyFile and CertFile must both be present[key: %s, cert: %s]", t.Key, t.Cert)
	}
	return nil
}

// load reads every file that is named, to find mistakes in them.
func (t *TLSFiles) load() error {
	if err := t.complete(); err != nil {
		return err
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		return err
	}
	for _, ca := range []string{t.CA, t.TrustedCA} {
		if ca == "" {
			continue
		}
		if _, err := os.ReadFile(ca); err != nil {
			return err
		}
	}
	return nil
}

// errNoTLS is the refusal of an https URL whose files are all in order.
var errNoTLS = errors.New("this build serves http only; listen on an http URL")

// checkListen looks for mistakes in the files that an URL to listen on needs.
// what is the URL as the message about missing files has it.
func (t *TLSFiles) checkListen(u, scheme, what string) error {
	switch {
	case scheme == "http":
		return nil
	case t.empty():
		return fmt.Errorf("cannot listen on TLS for %s: KeyFile and CertFile are not presented", what)
	}
	if err := t.load(); err != nil {
		return err
	}
	return fmt.Errorf("cannot listen on TLS for %s: %w", u, errNoTLS)
}

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"etcd2/internal/tlsconf"
)

// fixtures is the directory for certificates that a member made itself, below its
// data directory. The names are those of etcd 3.
const fixtures = "fixtures"

// side is one of the two kinds of ports and its certificates.
type side struct {
	name    string // "client" or "peer"
	purpose string // what log lines say its ports are for
	files   *tlsconf.Config
	source  *tlsconf.Source // nil until it is needed
	log     *slog.Logger

	prepared bool
	dialled  bool // a proxy dials members with the files, also when it listens on http
}

// prepare settles what comes of the wish for automatic certificates and logs the
// files of a side that has any. hosts are those it is reached by over https.
func (s *side) prepare(dataDir string, hosts []string) {
	if s.prepared {
		return
	}
	s.prepared = true
	auto := s.files.Auto
	switch {
	case auto && s.files.Given():
		s.files.Auto = false
		s.log.Warn(fmt.Sprintf("ignoring %s auto TLS since certs given", s.name))
	case auto && len(hosts) == 0:
		s.files.Auto = false
		s.log.Warn(fmt.Sprintf("ignoring %s auto TLS since no %s url to listen on is https", s.name, s.name))
	case auto:
		dir := filepath.Join(dataDir, fixtures, s.name)
		s.files.Cert, s.files.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		s.files.AutoHosts = hosts
	}
	if f := s.files; f.Given() {
		s.log.Info(fmt.Sprintf("%sTLS: cert = %s, key = %s, ca = %s, trusted-ca = %s, client-cert-auth = %v",
			s.name, f.Cert, f.Key, f.CA, f.TrustedCA, f.ClientCertAuth))
	}
}

// forDialling reports whether the files say how to dial a server of somebody else: with
// which certificate, or which CA it has.
func (s *side) forDialling() bool {
	f := s.files
	return !f.Auto && (f.Given() || f.TrustedCA != "" || f.CA != "")
}

// load reads the certificates when that has not been done yet.
func (s *side) load() error {
	if s.source != nil {
		return nil
	}
	s.files.Logger = s.log.With(pkgKey, "tls", "side", s.name)
	var err error
	s.source, err = tlsconf.Load(*s.files)
	return err
}

// secure loads what a URL to listen on needs, or warns that it does not need what
// there is. what is the URL as the message about missing files has it.
func (s *side) secure(u *url.URL, what string) error {
	switch {
	case u.Scheme == "https" && !s.files.Given():
		return fmt.Errorf("cannot listen on TLS for %s: KeyFile and CertFile are not presented", what)
	case u.Scheme == "https":
		return s.load()
	case s.files.Given() && !s.dialled:
		s.log.Warn(fmt.Sprintf("The scheme of %s url %s is http while %s key/cert files are presented. Ignored %s key/cert files.",
			s.name, u, s.name, s.name))
	}
	return nil
}

// warnOpen warns once when one of the peer URLs is plain http and not on loopback:
// whoever reaches it can pose as a member.
func (s *side) warnOpen(urls []string) {
	i := slices.IndexFunc(urls, func(text string) bool {
		u, err := url.Parse(text)
		return err == nil && u.Scheme == "http" && !loopback(u.Hostname())
	})
	if i >= 0 {
		s.log.Warn(fmt.Sprintf("the peer URL %s is not protected: whoever reaches it can pose as a member and change all data; "+
			"use https with --peer-cert-file, --peer-key-file, --peer-trusted-ca-file and --peer-client-cert-auth, or let only members reach it", urls[i]))
	}
}

// loopback reports whether a host is this machine alone. Names are not looked up.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// secureHosts are the names a certificate of our own has to be good for when it is
// shown on these ports; none when no port is secure. Listening on all addresses
// names none.
func secureHosts(listen, advertise []string) []string {
	secure := func(u string) bool { return strings.HasPrefix(u, "https://") }
	if !slices.ContainsFunc(listen, secure) {
		return nil
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, text := range slices.Concat(listen, advertise) {
		u, err := url.Parse(text)
		if err != nil || !secure(text) {
			continue
		}
		host := u.Hostname()
		ip := net.ParseIP(host)
		if host == "" || strings.Contains(host, "%") || ip != nil && ip.IsUnspecified() || slices.Contains(hosts, host) {
			continue
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// checkTLS refuses to look at the certificates of those who are not asked for any.
func checkTLS(c *Config) error {
	switch client, peer := &c.ClientTLS, &c.PeerTLS; {
	case client.CRL != "" && !client.AsksForCertificates():
		return errors.New("-client-crl-file is of no use without -client-cert-auth")
	case peer.CRL != "" && !peer.AsksForCertificates():
		return errors.New("-peer-crl-file is of no use without -peer-client-cert-auth")
	case peer.AllowedCN != "" && !peer.AsksForCertificates():
		return errors.New("-peer-cert-allowed-cn is of no use without -peer-client-cert-auth")
	}
	return nil
}

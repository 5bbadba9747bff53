// Package tls runs the server with certificates, and clients of every kind
// against it.
package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"etcd2/test/pki"
	"etcd2/test/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// server is a member whose ports speak TLS.
type server struct {
	*proc.Member
	t    *testing.T
	pool *x509.CertPool // what clients trust
}

// start runs a member with https URLs. flags are added to its command line.
func start(t *testing.T, flags func(dir string) []string) *server {
	t.Helper()
	if proc.Foreign() {
		t.Skip("the other server has other flags")
	}
	dir := t.TempDir()
	s := &server{t: t}
	s.Member = proc.Start(t, proc.Options{HTTPS: true, Dir: filepath.Join(dir, "data"), Flags: flags(dir)})
	return s
}

// get is curl: one request on a connection of its own, with a certificate or none.
func (s *server) get(url string, pair *pki.Pair) (*http.Response, string, error) {
	s.t.Helper()
	config := &tls.Config{RootCAs: s.pool}
	if pair != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair.TLS, nil }
	}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		Timeout:   patience,
	}
	resp, err := client.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// patience bounds what a good run never waits for.
const patience = 20 * time.Second

func TestServerCertificate(t *testing.T) {
	t.Parallel()
	ca := pki.New(t, "authority")
	s := start(t, func(dir string) []string {
		cert, key := ca.Issue("m1", time.Hour, pki.Server, pki.Client).Write(filepath.Join(dir, "m1"))
		return []string{"--cert-file", cert, "--key-file", key, "--peer-cert-file", cert, "--peer-key-file", key}
	})
	s.pool = ca.Pool()
	for url, want := range map[string]string{
		"https://" + s.Client + "/v2/keys/":   `{"action":"get","node":{"dir":true}}`,
		"https://" + s.Client + "/health":     `{"health": "true"}`,
		"https://" + s.Peer + "/members":      `"name":"n1"`,
		"https://" + s.Peer + "/version":      `"etcdserver"`,
		"https://" + s.Peer + "/raft/probing": `"OK":true`,
	} {
		resp, body, err := s.get(url, nil)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(body, want) || resp.ProtoMajor != 1 {
			t.Errorf("GET %s = %v %q, %v, want %q over HTTP/1.1", url, resp, body, err, want)
		}
	}
	for _, port := range []string{s.Client, s.Peer} {
		// net/http's client turns the answer into an error, so this one is by hand.
		c, err := net.DialTimeout("tcp", port, patience)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := io.ReadAll(c)
		c.Close()
		if want := "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"; string(answer) != want {
			t.Errorf("http on an https port: %q, %v, want %q", answer, err, want)
		}
	}
	s.pool = pki.New(t, "stranger").Pool()
	if _, _, err := s.get("https://"+s.Client+"/version", nil); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a client with another authority: %v", err)
	}
	s.pool = ca.Pool()
	_, page, err := s.get("https://"+s.Client+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"client", "peer"} {
		_, rest, _ := strings.Cut(page, `etcd_server_certificate_expiry_seconds{port="`+port+`"} `)
		text, _, _ := strings.Cut(rest, "\n")
		if left, err := strconv.ParseFloat(text, 64); err != nil || left < 3000 || left > 3600 {
			t.Errorf("%s certificate expires in %q seconds, want a little less than an hour", port, text)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, stranger := pki.New(t, "authority"), pki.New(t, "stranger")
	mallory := ca.Issue("mallory", time.Hour, pki.Client)
	alice := ca.Issue("alice", time.Hour, pki.Client)
	member := ca.Issue("member", time.Hour, pki.Server, pki.Client)
	var crl string
	s := start(t, func(dir string) []string {
		cert, key := member.Write(filepath.Join(dir, "m1"))
		root := ca.Write(filepath.Join(dir, "ca.crt"))
		crl = ca.WriteRevoked(filepath.Join(dir, "crl.pem"), mallory)
		return []string{
			"--cert-file", cert, "--key-file", key, "--trusted-ca-file", root, "--client-cert-auth", "--client-crl-file", crl,
			"--peer-cert-file", cert, "--peer-key-file", key, "--peer-ca-file", root, "--peer-cert-allowed-cn", "member",
		}
	})
	s.pool = ca.Pool()
	client, peer := "https://"+s.Client+"/v2/keys/", "https://"+s.Peer+"/members"
	for _, tt := range []struct {
		name string
		url  string
		pair *pki.Pair
		err  string // part of what the client is told; "" when it is served
	}{
		{"a client", client, alice, ""},
		{"a client without", client, nil, "certificate required"},
		{"a stranger", client, stranger.Issue("alice", time.Hour, pki.Client), "unknown certificate authority"},
		{"a server's certificate", client, ca.Issue("x", time.Hour, pki.Server), "bad certificate"},
		{"a revoked one", client, mallory, "bad certificate"},
		{"a member", peer, member, ""},
		{"no member", peer, alice, "bad certificate"},
		{"a member without", peer, nil, "certificate required"},
	} {
		resp, body, err := s.get(tt.url, tt.pair)
		switch {
		case tt.err == "" && (err != nil || resp.StatusCode != 200):
			t.Errorf("%s: %v %q, %v", tt.name, resp, body, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
	ca.WriteRevoked(crl, mallory, alice)
	proc.Eventually(t, patience, "alice is refused once revoked", func() bool {
		_, _, err := s.get(client, alice)
		return err != nil && strings.Contains(err.Error(), "bad certificate")
	})
}

// A renewed certificate is shown without a restart; one that is broken is not, and
// says so once.
func TestRenewal(t *testing.T) {
	t.Parallel()
	ca := pki.New(t, "authority")
	var base string
	s := start(t, func(dir string) []string {
		base = filepath.Join(dir, "m1")
		cert, key := ca.Issue("old", time.Hour, pki.Server).Write(base)
		return []string{"--cert-file", cert, "--key-file", key, "--peer-auto-tls"}
	})
	s.pool = ca.Pool()
	shown := func() string {
		resp, _, err := s.get("https://"+s.Client+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "old" {
		t.Fatalf("shows %q", got)
	}
	if err := os.WriteFile(base+".crt", []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	const complaint = "changed certificate files are not in order, keeping the old ones"
	proc.Eventually(t, patience, "a warning", func() bool { return strings.Contains(s.Log(), complaint) })
	if got := shown(); got != "old" {
		t.Errorf("shows %q beside a broken file", got)
	}
	ca.Issue("new", time.Hour, pki.Server).Write(base)
	proc.Eventually(t, patience, "the new certificate is shown", func() bool { return shown() == "new" })
	if n := strings.Count(s.Log(), complaint); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}

// With --auto-tls the certificate is in the data directory, where clients get it
// from, and stays the same.
func TestAutoTLS(t *testing.T) {
	t.Parallel()
	s := start(t, func(string) []string { return []string{"--auto-tls", "--peer-auto-tls"} })
	trust := func(side string) {
		text, err := os.ReadFile(filepath.Join(s.Dir, "fixtures", side, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		s.pool = x509.NewCertPool()
		s.pool.AppendCertsFromPEM(text)
	}
	ask := func() {
		t.Helper()
		for side, url := range map[string]string{"client": "https://" + s.Client + "/version", "peer": "https://" + s.Peer + "/version"} {
			trust(side)
			if _, body, err := s.get(url, nil); err != nil {
				t.Errorf("GET %s = %q, %v", url, body, err)
			}
		}
	}
	ask()
	before, err := os.ReadFile(filepath.Join(s.Dir, "fixtures", "client", "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	ask()
	if after, err := os.ReadFile(filepath.Join(s.Dir, "fixtures", "client", "cert.pem")); err != nil || string(after) != string(before) {
		t.Errorf("another certificate after the restart, %v", err)
	}
	if strings.Contains(s.Log(), "found invalid file/dir") {
		t.Error("the server does not know its own directory")
	}
}

// Every URL is served by its own scheme.
func TestMixedURLs(t *testing.T) {
	t.Parallel()
	if proc.Foreign() {
		t.Skip("the other server has other flags")
	}
	dir := t.TempDir()
	ca := pki.New(t, "authority")
	cert, key := ca.Issue("m1", time.Hour, pki.Server).Write(filepath.Join(dir, "m1"))
	m := proc.Start(t, proc.Options{
		Dir: filepath.Join(dir, "data"), Mixed: true,
		Flags: []string{"--cert-file", cert, "--key-file", key},
	})
	s := &server{Member: m, t: t, pool: ca.Pool()}
	for _, url := range []string{"http://" + m.Client, "https://" + m.Secure} {
		if _, body, err := s.get(url+"/version", nil); err != nil || !strings.Contains(body, "etcdserver") {
			t.Errorf("GET %s/version = %q, %v", url, body, err)
		}
	}
	if want := "The scheme of client url http://" + m.Client + " is http while client key/cert files are presented. Ignored client key/cert files."; !strings.Contains(m.Log(), want) {
		t.Errorf("log lacks %q", want)
	}
}

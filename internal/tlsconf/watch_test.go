package tlsconf

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/test/pki"
)

// shown returns the name in the certificate a server shows.
func shown(t *testing.T, s *Source, p *place) string {
	t.Helper()
	state, err, clientErr := shake(t, s.Server(), &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"})
	if err != nil || clientErr != nil {
		t.Fatalf("server %v, client %v", err, clientErr)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// watched runs a test beside Run, in a bubble.
func watched(t *testing.T, story func(t *testing.T, p *place, c *Config, s *Source, log *logText)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		c := p.config()
		var log logText
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := mustLoad(t, c)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1) // one result
		go func() { done <- s.Run(ctx) }()
		story(t, p, &c, s, &log)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// looks lets Run look at the files a number of times.
func looks(n int) {
	time.Sleep(time.Duration(n)*lookEvery + lookEvery/2)
	synctest.Wait()
}

func TestRenewedCertificateIsTaken(t *testing.T) {
	watched(t, func(t *testing.T, p *place, c *Config, s *Source, log *logText) {
		looks(3)
		before := s.Expires()
		p.ca.Issue("renewed", 5*time.Hour, pki.Server).Write(p.file("server"))
		looks(2)
		if got := shown(t, s, p); got != "renewed" {
			t.Errorf("shows %q", got)
		}
		if gain := s.Expires().Sub(before); gain < 2*time.Hour {
			t.Errorf("Expires is %v later than before, want about 3h", gain)
		}
		looks(5)
		if n := strings.Count(log.String(), "certificate files read again"); n != 1 {
			t.Errorf("files were read again %d times, want once:\n%s", n, log)
		}
	})
}

// The certificate and its key are two files: between their changes nothing is
// taken and nobody is alarmed.
func TestHalfARenewalWaits(t *testing.T) {
	watched(t, func(t *testing.T, p *place, c *Config, s *Source, log *logText) {
		looks(1)
		cert, key := p.ca.Issue("renewed", time.Hour, pki.Server).Write(p.file("next"))
		if err := os.Rename(cert, c.Cert); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		synctest.Wait()
		if err := os.Rename(key, c.Key); err != nil {
			t.Fatal(err)
		}
		looks(2)
		if got := shown(t, s, p); got != "renewed" || strings.Contains(log.String(), "WARN") {
			t.Errorf("shows %q, log:\n%s", got, log)
		}
	})
}

func TestBrokenFileKeepsTheOld(t *testing.T) {
	watched(t, func(t *testing.T, p *place, c *Config, s *Source, log *logText) {
		const complaint = "changed certificate files are not in order, keeping the old ones"
		if err := os.WriteFile(c.Cert, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		looks(10)
		if got := shown(t, s, p); got != "server" {
			t.Errorf("shows %q", got)
		}
		if n := strings.Count(log.String(), complaint); n != 1 {
			t.Errorf("%d warnings about a broken file, want 1:\n%s", n, log)
		}
		if err := os.Remove(c.Cert); err != nil {
			t.Fatal(err)
		}
		looks(10)
		if n := strings.Count(log.String(), complaint); n != 2 {
			t.Errorf("%d warnings after the file is gone too, want 2:\n%s", n, log)
		}
		p.ca.Issue("mended", time.Hour, pki.Server).Write(p.file("server"))
		looks(3)
		if got := shown(t, s, p); got != "mended" {
			t.Errorf("shows %q after the repair", got)
		}
	})
}

func TestRevocationAndAuthorityAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		alice := p.ca.Issue("alice", time.Hour, pki.Client)
		c := p.config()
		c.ClientCertAuth = true
		c.CRL = p.ca.WriteRevoked(p.file("crl"))
		s := mustLoad(t, c)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.Run(ctx)
		server := s.Server() // one for the life of a listener
		client := &tls.Config{
			RootCAs: p.ca.Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &alice.TLS, nil },
		}
		for range 2 {
			if _, err, _ := shake(t, server, client); err != nil {
				t.Fatalf("before the revocation: %v", err)
			}
		}
		p.ca.WriteRevoked(c.CRL, alice)
		looks(2)
		if _, err, _ := shake(t, server, client); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("after the revocation: %v", err)
		}
		p.ca.WriteRevoked(c.CRL)
		pki.New(t, "another").Write(c.TrustedCA)
		looks(2)
		if _, err, _ := shake(t, server, client); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("after the change of the authority: %v", err)
		}
	})
}

func TestAuto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := Config{
			Cert: dir + "/fixtures/client/cert.pem", Key: dir + "/fixtures/client/key.pem",
			Auto: true, AutoHosts: []string{"localhost", "10.0.0.1"},
		}
		first := mustLoad(t, c)
		leaf := first.now.Load().cert.Leaf
		if err := leaf.VerifyHostname("10.0.0.1"); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(c.Key); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("key file: %v, %v", info, err)
		}
		if again := mustLoad(t, c).now.Load().cert.Leaf; !again.Equal(leaf) {
			t.Error("the second start made another certificate")
		}
		if _, a, b := shake(t, first.Server(), first.Client()); a != nil || b != nil {
			t.Errorf("members with certificates of their own: server %v, client %v", a, b)
		}
		if err := os.Chmod(c.Key, 0o644); err != nil { // as somebody has left it
			t.Fatal(err)
		}
		c.AutoHosts = append(c.AutoHosts, "m1.example.com")
		moved := mustLoad(t, c)
		if info, err := os.Stat(c.Key); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("the next key file: %v, %v", info, err)
		}
		if moved.now.Load().cert.Leaf.Equal(leaf) {
			t.Error("a new address got the old certificate")
		}

		// While it runs, a member renews it in time.
		end := moved.Expires()
		time.Sleep(time.Until(end) - autoRenew - 2*lookEvery)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go moved.Run(ctx)
		looks(1)
		if moved.Expires().After(end) {
			t.Error("renewed too early")
		}
		looks(3)
		if !moved.Expires().After(end) {
			t.Error("not renewed a month before its end")
		}
	})
}

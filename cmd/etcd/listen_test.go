package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"etcd2/internal/tlsconf"
	"etcd2/test/proc"
)

// freeAddress is an address nobody listens on at this moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := proc.Reserve(t)
	defer l.Close()
	return l.Addr().String()
}

// messages returns the log without the times.
func messages(out *bytes.Buffer) string {
	var all strings.Builder
	for line := range strings.Lines(out.String()) {
		_, text, _ := strings.Cut(line, " | ")
		all.WriteString(text)
	}
	return all.String()
}

// listen opens the URLs of c.
func listen(ctx context.Context, c *Config, log *slog.Logger) (*listeners, error) {
	l, err := newListeners(c, log)
	if err != nil {
		return nil, err
	}
	return l, l.Open(ctx, c)
}

func TestListen(t *testing.T) {
	var out bytes.Buffer
	peer, client := "http://"+freeAddress(t), "http://"+freeAddress(t)
	cfg := &Config{ListenPeerURLs: []string{peer}, ListenClientURLs: []string{client}}
	l, err := listen(t.Context(), cfg, newLogger(&out, formatText, newLevels(slog.LevelInfo)))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Peers) != 1 || len(l.Clients) != 1 || "http://"+l.Clients[0].Addr().String() != client {
		t.Fatalf("listeners %v and %v", l.Peers, l.Clients)
	}
	accepted := make(chan net.Conn, 1) // one connection is made
	go func() {
		c, err := l.Clients[0].Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Clients[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	(<-accepted).Close()

	// A second member on the client URL fails and takes its peer URL down.
	other := &Config{ListenPeerURLs: []string{"http://127.0.0.1:0"}, ListenClientURLs: cfg.ListenClientURLs}
	_, err = listen(t.Context(), other, newLogger(&out, formatText, newLevels(slog.LevelInfo)))
	if err == nil || !strings.HasPrefix(err.Error(), "listen tcp "+l.Clients[0].Addr().String()+": bind: ") {
		t.Errorf("second listen: error %v", err)
	}
	l.Close()
	want := strings.ReplaceAll(`etcdmain: listening for peers on PEER
etcdmain: listening for client requests on CLIENT
etcdmain: listening for peers on http://127.0.0.1:0
etcdmain: stopping listening for peers on http://127.0.0.1:0
etcdmain: stopping listening for client requests on CLIENT
etcdmain: stopping listening for peers on PEER
`, "PEER", peer)
	if want = strings.ReplaceAll(want, "CLIENT", client); messages(&out) != want {
		t.Errorf("log:\n%s\nwant:\n%s", messages(&out), want)
	}
}

// certificate writes a self-signed pair BASE.crt, BASE.key.
func certificate(t *testing.T, base string) {
	t.Helper()
	if err := writeCertificate(base); err != nil {
		t.Fatal(err)
	}
}

// writeCertificate does the work of certificate.
func writeCertificate(base string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		base + ".crt": {Type: "CERTIFICATE", Bytes: cert},
		base + ".key": {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	good, other := filepath.Join(dir, "good"), filepath.Join(dir, "other")
	certificate(t, good)
	certificate(t, other)
	text := filepath.Join(dir, "text")
	writeFile(t, text, "no certificate")
	const http, https = "http://127.0.0.1:0", "https://127.0.0.1:0"
	tests := []struct {
		name      string
		peerURL   string
		peer      tlsconf.Config
		clientURL string
		client    tlsconf.Config
		err       string // "" when both are opened
		log       string
	}{
		{name: "half a pair on http", clientURL: http, client: tlsconf.Config{Cert: "c"},
			log: "etcdmain: The scheme of client url http://127.0.0.1:0 is http while client key/cert files are presented. Ignored client key/cert files.\n"},
		{name: "https without files", clientURL: https, err: "cannot listen on TLS for given listener: KeyFile and CertFile are not presented"},
		{name: "https with a CA only", clientURL: https, client: tlsconf.Config{TrustedCA: text}, err: "cannot listen on TLS for given listener: KeyFile and CertFile are not presented"},
		{name: "https with half a pair", clientURL: https, client: tlsconf.Config{Key: "k"}, err: "KeyFile and CertFile must both be present[key: k, cert: ]"},
		{name: "missing file", clientURL: https, client: tlsconf.Config{Cert: good + ".crt", Key: filepath.Join(dir, "absent")}, err: "open " + filepath.Join(dir, "absent") + ": "},
		{name: "no certificate in it", clientURL: https, client: tlsconf.Config{Cert: text, Key: good + ".key"}, err: "tls: failed to find any PEM data in certificate input"},
		{name: "pair of strangers", clientURL: https, client: tlsconf.Config{Cert: good + ".crt", Key: other + ".key"}, err: "tls: private key does not match public key"},
		{name: "missing CA", clientURL: https, client: tlsconf.Config{Cert: good + ".crt", Key: good + ".key", TrustedCA: filepath.Join(dir, "ca")}, err: "open " + filepath.Join(dir, "ca") + ": "},
		{name: "all in order", clientURL: https, client: tlsconf.Config{Cert: good + ".crt", Key: good + ".key", ClientCertAuth: true},
			log: "etcdmain: clientTLS: cert = " + good + ".crt, key = " + good + ".key, ca = , trusted-ca = , client-cert-auth = true\n"},
		{name: "made here", clientURL: https, client: tlsconf.Config{Auto: true},
			log: "tls: made a certificate of our own"},
		{name: "made here for no port", clientURL: http, client: tlsconf.Config{Auto: true},
			log: "etcdmain: ignoring client auto TLS since no client url to listen on is https\n"},
		{name: "made here beside others", clientURL: https, client: tlsconf.Config{Auto: true, Cert: good + ".crt", Key: good + ".key"},
			log: "etcdmain: ignoring client auto TLS since certs given\n"},
		{name: "missing file for members, on http too", peerURL: http, peer: tlsconf.Config{Cert: good + ".crt", Key: filepath.Join(dir, "absent")}, err: "open " + filepath.Join(dir, "absent") + ": "},
		{name: "peer without files", peerURL: https, err: "cannot listen on TLS for https://127.0.0.1:0: KeyFile and CertFile are not presented"},
		{name: "half a pair for members, on http too", peerURL: http, peer: tlsconf.Config{Key: "k"}, err: "KeyFile and CertFile must both be present[key: k, cert: ]",
			log: "etcdmain: peerTLS: cert = , key = k, ca = , trusted-ca = , client-cert-auth = false\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			cfg := &Config{DataDir: t.TempDir(), PeerTLS: tt.peer, ClientTLS: tt.client}
			if tt.peerURL != "" {
				cfg.ListenPeerURLs = []string{tt.peerURL}
			}
			if tt.clientURL != "" {
				cfg.ListenClientURLs = []string{tt.clientURL}
			}
			l, err := listen(t.Context(), cfg, newLogger(&out, formatText, newLevels(slog.LevelInfo)))
			if err == nil {
				l.Close()
			}
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if !strings.Contains(messages(&out), tt.log) {
				t.Errorf("log lacks %q:\n%s", tt.log, messages(&out))
			}
		})
	}
}

func TestLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 1)
	l := newLimited(inner, slots)
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close() // gives back one slot, not two
	second, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if len(slots) != 1 {
		t.Fatalf("%d slots in use, want 1", len(slots))
	}

	// With no slot free, Accept ends when the listener is closed.
	ended := make(chan error, 1) // the one Accept
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on a closed listener: error %v", err)
	}
	second.Close()
	if len(slots) != 0 {
		t.Errorf("%d slots in use at the end", len(slots))
	}
}

func TestConnectionSlots(t *testing.T) {
	tests := []struct {
		files uint64
		known bool
		want  int // -1 for an error
	}{
		{files: 1 << 62, known: true, want: 1 << 20},
		{files: 1024, known: true, want: 1024 - 150},
		{files: 151, known: true, want: 1},
		{files: 150, known: true, want: -1},
		{files: 0, known: false, want: 0},
	}
	for _, tt := range tests {
		got, err := connectionSlots(tt.files, tt.known)
		if tt.want < 0 {
			if err == nil || !strings.HasPrefix(err.Error(), "file descriptor limit[150] of etcd process is too low, and should be set higher than 150") {
				t.Errorf("%d files: error %v", tt.files, err)
			}
			continue
		}
		if err != nil || cap(got) != tt.want {
			t.Errorf("%d files: %d slots, error %v, want %d", tt.files, cap(got), err, tt.want)
		}
	}
}

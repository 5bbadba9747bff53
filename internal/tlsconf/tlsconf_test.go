package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/pki"
)

// shake lets a client and a server meet and returns what each makes of it. Both
// exchange a byte, because a client of TLS 1.3 is content before the server is.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := connect(t)
	defer a.Close()
	defer b.Close()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1) // one result
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("!"))
		}
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	if _, clientErr = c.Read(make([]byte, 1)); clientErr != nil {
		b.Close()
	}
	return c.ConnectionState(), <-done, clientErr
}

// connect returns the ends of a connection. It has room for what both write at the
// same time, which net.Pipe has not.
func connect(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// place is a directory with the files of one side.
type place struct {
	t   *testing.T
	dir string
	ca  *pki.Authority
}

func newPlace(t *testing.T) *place {
	t.Helper()
	return &place{t, t.TempDir(), pki.New(t, "good")}
}

func (p *place) file(name string) string { return filepath.Join(p.dir, name) }

// config names a fresh pair and the authority.
func (p *place) config(uses ...x509.ExtKeyUsage) Config {
	p.t.Helper()
	cert, key := p.ca.Issue("server", 2*time.Hour, append(uses, pki.Server)...).Write(p.file("server"))
	return Config{Cert: cert, Key: key, TrustedCA: p.ca.Write(p.file("ca.crt"))}
}

func mustLoad(t *testing.T, c Config) *Source {
	t.Helper()
	s, err := Load(c)
	if err != nil {
		t.Fatalf("Load(%+v) = %v", c, err)
	}
	return s
}

func TestServer(t *testing.T) {
	p := newPlace(t)
	stranger := pki.New(t, "stranger")
	good := p.ca.Issue("alice", time.Hour, pki.Client)
	revoked := p.ca.Issue("mallory", time.Hour, pki.Client)
	namesake := stranger.Issue("x", time.Hour)
	namesake.Leaf.SerialNumber = good.Leaf.SerialNumber
	der := p.file("der.crl")
	if err := os.WriteFile(der, p.ca.Revoke(revoked), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := p.file("empty")
	if err := os.WriteFile(empty, []byte("no authority"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := p.config()
	asks := base
	asks.ClientCertAuth = true
	crl, derCRL, othersCRL, named, old, nobody := asks, asks, asks, asks, base, asks
	crl.CRL = p.ca.WriteRevoked(p.file("pem.crl"), revoked)
	derCRL.CRL = der
	othersCRL.CRL = stranger.WriteRevoked(p.file("other.crl"), namesake)
	named.AllowedCN = "alice"
	old.CA, old.TrustedCA = old.TrustedCA, ""
	nobody.TrustedCA = empty
	tests := []struct {
		name   string
		config Config
		client *pki.Pair // nil for none
		err    string    // of the server; "" when all is well
	}{
		{"nobody is asked", base, nil, ""},
		{"authority without asking", base, stranger.Issue("x", time.Hour, pki.Client), ""},
		{"asked", asks, good, ""},
		{"asked, old flag", old, good, ""},
		{"asked and none", asks, nil, "tls: client didn't provide a certificate"},
		{"asked and none, old flag", old, nil, "tls: client didn't provide a certificate"},
		{"of a stranger", asks, stranger.Issue("alice", time.Hour, pki.Client), "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"for servers only", asks, p.ca.Issue("x", time.Hour, pki.Server), "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage"},
		{"expired", asks, p.ca.Issue("x", -time.Minute, pki.Client), "tls: failed to verify certificate: x509: certificate has expired"},
		{"nobody is trusted", nobody, good, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"not revoked", crl, good, ""},
		{"revoked", crl, revoked, "tlsconf: certificate is revoked: serial "},
		{"revoked, DER", derCRL, revoked, "tlsconf: certificate is revoked: serial "},
		{"serial revoked by somebody else", othersCRL, good, ""},
		{"right name", named, good, ""},
		{"wrong name", named, revoked, `tlsconf: common name is not allowed: "mallory"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}
			if tt.client != nil {
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.client.TLS, nil }
			}
			state, err, clientErr := shake(t, mustLoad(t, tt.config).Server(), client)
			if tt.err == "" {
				if err != nil || clientErr != nil {
					t.Fatalf("server %v, client %v", err, clientErr)
				}
				if state.NegotiatedProtocol != "" {
					t.Errorf("protocol %q, want none", state.NegotiatedProtocol)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) || clientErr == nil {
				t.Errorf("server %v, client %v, want %q and an error", err, clientErr, tt.err)
			}
		})
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	p := newPlace(t)
	s := mustLoad(t, p.config())
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		client := &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: version}
		if _, err, _ := shake(t, s.Server(), client); (err == nil) != ok {
			t.Errorf("%s: error %v, want success %v", tls.VersionName(version), err, ok)
		}
	}
}

// Members show the same certificate when they dial and verify who answers.
func TestClient(t *testing.T) {
	p := newPlace(t)
	both := p.config(pki.Client)
	both.ClientCertAuth = true
	s := mustLoad(t, both)
	dial := func(server *tls.Config, from *Source) (server1, client1 error) {
		c := from.Client()
		c.ServerName = "localhost"
		_, a, b := shake(t, server, c)
		return a, b
	}
	if a, b := dial(s.Server(), s); a != nil || b != nil {
		t.Errorf("members of one authority: server %v, client %v", a, b)
	}
	other := newPlace(t)
	if a, b := dial(mustLoad(t, other.config()).Server(), s); b == nil {
		t.Errorf("a server of a stranger: server %v, client %v", a, b)
	}
	named := both
	named.AllowedCN = "somebody"
	if a, b := dial(s.Server(), mustLoad(t, named)); !errors.Is(b, errCommonName) {
		t.Errorf("a server with another name: server %v, client %v", a, b)
	}
}

// Who has no certificate still knows whom to trust when it dials.
func TestClientWithoutCertificate(t *testing.T) {
	p := newPlace(t)
	server := mustLoad(t, p.config()).Server()
	state, _, err := shake(t, server, named(mustLoad(t, Config{TrustedCA: p.file("ca.crt")}).Client()))
	if err != nil || len(state.PeerCertificates) == 0 {
		t.Errorf("with the authority: %v", err)
	}
	alone := mustLoad(t, Config{})
	if _, _, err := shake(t, server, named(alone.Client())); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("with the authorities of the system: %v", err)
	}
	if !alone.Expires().IsZero() {
		t.Errorf("no certificate, and yet it expires: %v", alone.Expires())
	}
	if _, serverErr, _ := shake(t, alone.Server(), &tls.Config{InsecureSkipVerify: true}); serverErr == nil {
		t.Error("it served without a certificate")
	}
	asks := p.config()
	asks.ClientCertAuth = true
	if _, serverErr, _ := shake(t, mustLoad(t, asks).Server(), named(mustLoad(t, Config{TrustedCA: p.file("ca.crt")}).Client())); serverErr == nil {
		t.Error("it was let in without a certificate")
	}
}

// named says whom a client expects.
func named(c *tls.Config) *tls.Config {
	c.ServerName = "localhost"
	return c
}

func TestLoadRefuses(t *testing.T) {
	p := newPlace(t)
	good := p.config()
	text := p.file("text")
	if err := os.WriteFile(text, []byte("nothing of use"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := p.file("broken")
	if err := os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, otherKey := p.ca.Issue("x", time.Hour, pki.Server).Write(p.file("other"))
	absent := p.file("absent")
	list, err := os.ReadFile(p.ca.WriteRevoked(p.file("good.crl")))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(good.TrustedCA)
	if err != nil {
		t.Fatal(err)
	}
	// A second one follows that is not there yet to the end, or no longer what it was.
	half := p.file("half")
	if err := os.WriteFile(half, slices.Concat(list, list[:len(list)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := p.file("damaged")
	if err := os.WriteFile(damaged, slices.Concat(bytes.Replace(list, []byte("\nM"), []byte("\n!"), 1), list), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := p.file("begun.crt")
	if err := os.WriteFile(begun, authority[:len(authority)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	halfCA := p.file("half.crt")
	if err := os.WriteFile(halfCA, slices.Concat(authority, authority[:len(authority)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Config)
		err    string
	}{
		{"no key", func(c *Config) { c.Key = "" }, "KeyFile and CertFile must both be present[key: , cert: " + good.Cert + "]"},
		{"no certificate", func(c *Config) { c.Cert = "" }, "KeyFile and CertFile must both be present[key: " + good.Key + ", cert: ]"},
		{"absent certificate", func(c *Config) { c.Cert = absent }, "open " + absent + ": "},
		{"absent key", func(c *Config) { c.Key = absent }, "open " + absent + ": "},
		{"no PEM", func(c *Config) { c.Cert = text }, "tls: failed to find any PEM data in certificate input"},
		{"another key", func(c *Config) { c.Key = otherKey }, "tls: private key does not match public key"},
		{"absent authority", func(c *Config) { c.TrustedCA = absent }, "open " + absent + ": "},
		{"absent authority, old flag", func(c *Config) { c.CA = absent }, "open " + absent + ": "},
		{"broken authority", func(c *Config) { c.TrustedCA = broken }, broken + ": x509: "},
		{"absent list", func(c *Config) { c.CRL = absent }, "open " + absent + ": "},
		{"broken list", func(c *Config) { c.CRL = text }, text + ": x509: "},
		{"half a list", func(c *Config) { c.CRL = half }, half + ": a PEM block in it is damaged"},
		{"a damaged list", func(c *Config) { c.CRL = damaged }, damaged + ": a PEM block in it is damaged"},
		{"half of the only authority", func(c *Config) { c.TrustedCA = begun }, begun + ": a PEM block in it is damaged"},
		{"half an authority", func(c *Config) { c.TrustedCA = halfCA }, halfCA + ": a PEM block in it is damaged"},
		{"a certificate for a list", func(c *Config) { c.CRL = good.Cert }, good.Cert + ": no revocation list in it"},
	}
	for _, tt := range tests {
		c := good
		tt.change(&c)
		if _, err := Load(c); err == nil || !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("%s: Load = %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestLoadWarns(t *testing.T) {
	p := newPlace(t)
	c := p.config()
	c.Cert, c.Key = p.ca.Issue("late", -time.Minute, pki.Server).Write(p.file("late"))
	c.TrustedCA = p.file("none")
	if err := os.WriteFile(c.TrustedCA, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&out, nil))
	s := mustLoad(t, c)
	if left := time.Until(s.Expires()); left > 0 || left < -time.Hour {
		t.Errorf("%v left, want a little less than nothing", left)
	}
	for _, want := range []string{`msg="certificate has expired"`, `msg="no certificate in the file of authorities"`} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("log lacks %s:\n%s", want, &out)
		}
	}
}

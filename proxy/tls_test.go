package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/pki"
)

// Members with TLS are reached with the settings of the moment, shown a
// certificate, and refused when nobody vouches for theirs.
func TestTLS(t *testing.T) {
	ca := pki.New(t, "members")
	server := ca.Issue("member", time.Hour, pki.Server)
	client := ca.Issue("proxy", time.Hour, pki.Client)
	m := httptest.NewUnstartedServer(says("secret"))
	m.TLS = &tls.Config{Certificates: []tls.Certificate{server.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	m.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	m.StartTLS()
	defer m.Close()
	trusting := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client.TLS}}
	for _, tt := range []struct {
		name   string
		tls    func() *tls.Config
		status int
		log    string
	}{
		{"with an authority", trusting.Clone, 200, ""},
		{"without one", func() *tls.Config { return new(tls.Config) }, 502, "x509: certificate signed by unknown authority"},
		{"without settings", nil, 502, "https, but no TLS settings to dial with"},
	} {
		var log journal
		s := new(source)
		s.Set(nil, m.URL)
		p := New(Config{Members: s, TLS: tt.tls, Logger: log.Logger()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		<-p.Ready()
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/keys/x", nil))
		if lines := strings.Join(log.Take(), "\n"); w.Code != tt.status || !strings.Contains(lines, tt.log) {
			t.Errorf("%s: %d, want %d; log:\n%s\nwant %q in it", tt.name, w.Code, tt.status, lines, tt.log)
		}
		stop()
		<-done
	}
}

// An endpoint that takes connections and never answers holds up no handshake for long. A
// write that waits for it was not sent, so another member gets it.
func TestSilentHandshake(t *testing.T) {
	ca := pki.New(t, "members")
	server := ca.Issue("member", time.Hour, pki.Server)
	k := &keeper{name: "a"}
	m := httptest.NewUnstartedServer(k)
	m.TLS = &tls.Config{Certificates: []tls.Certificate{server.TLS}}
	m.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	m.StartTLS()
	defer m.Close()
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		hole, err := net.Listen("tcp", "127.0.0.1:0") // the system takes connections for it
		if err != nil {
			t.Fatal(err)
		}
		defer hole.Close()
		s := new(source)
		s.Set(nil, "https://"+hole.Addr().String(), m.URL)
		p := New(Config{
			Members: s, TLS: (&tls.Config{RootCAs: ca.Pool()}).Clone,
			ProbeTimeout: 100 * time.Millisecond, SilentWriteTimeout: 100 * time.Millisecond,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		<-p.Ready()
		if p.endpoints.Available()[0].text == m.URL {
			p.endpoints.mu.Lock()
			slices.Reverse(p.endpoints.all)
			p.endpoints.update()
			p.endpoints.mu.Unlock()
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(method, "/v2/keys/x", strings.NewReader("value=1")))
		if w.Code != http.StatusOK || w.Body.String() != "a" {
			t.Errorf("%s: %d %s, want the answer of a", method, w.Code, w.Body)
		}
		stop()
		<-done
	}
	if n := len(k.Writes()); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

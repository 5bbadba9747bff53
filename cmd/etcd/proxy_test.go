package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"etcd2/test/pki"
)

// startProxy runs a proxy here.
func (p *place) startProxy(flags ...string) {
	p.t.Helper()
	p.startProgram(append([]string{"--data-dir", p.dir, "--listen-client-urls", p.client}, flags...)...)
}

// TestProxyOverTLS: clients show a certificate to the proxy, and the proxy one to
// the members, on both of their ports.
func TestProxyOverTLS(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "https", "a", "p")
	a, p := all[0], all[1]
	for _, at := range all {
		at.client = strings.Replace(at.client, "http", "https", 1)
	}
	inside, outside := pki.New(t, "inside"), pki.New(t, "outside") // whom members, and clients, trust
	dir := t.TempDir()
	insideCA, outsideCA := inside.Write(filepath.Join(dir, "inside.crt")), outside.Write(filepath.Join(dir, "outside.crt"))
	issue := func(of *pki.Authority, name string) (cert, key string) {
		return of.Issue(name, time.Hour, pki.Server, pki.Client).Write(filepath.Join(dir, name))
	}
	cert, key := issue(inside, "a")
	a.start(cluster(a), "--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", insideCA, "--peer-client-cert-auth",
		"--cert-file", cert, "--key-file", key, "--trusted-ca-file", insideCA, "--client-cert-auth")
	a.prints("published")

	cert, key = issue(inside, "p-inside")
	outerCert, outerKey := issue(outside, "p-outside")
	p.startProxy("--proxy=on", cluster(a), "--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", insideCA,
		"--cert-file", outerCert, "--key-file", outerKey, "--trusted-ca-file", outsideCA, "--client-cert-auth")
	p.prints("proxy: listening for client requests on " + p.client)

	client := func(certs ...tls.Certificate) *http.Client {
		pool := x509.NewCertPool()
		pool.AddCert(outside.Cert)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: patience}
	}
	good := client(outside.Issue("client", time.Hour, pki.Client).TLS)
	if _, err := client().Get(p.client + "/version"); err == nil {
		t.Error("a client without a certificate was served")
	}
	resp, err := good.PostForm(p.client+"/v2/keys/queue", url.Values{"value": {"one"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("POST through the proxy = %s", resp.Status)
	}
	p.holdsAt(good, "/v2/keys/queue?recursive=true", `"value":"one"`)
	p.holdsAt(good, "/v2/keys/queue?recursive=true&wait=true&waitIndex=1", `"value":"one"`)
	p.holdsAt(good, "/v2/config/local/proxy", `{"endpoints":["`+a.client+`"]}`)
	kept, err := os.ReadFile(filepath.Join(p.dir, "proxy", "cluster"))
	if want := `{"PeerURLs":["` + a.peer + `"]}`; err != nil || string(kept) != want {
		t.Errorf("kept %s, error %v, want %s", kept, err, want)
	}

	p.stop()
	p.ends(exitGood, "proxy: stopping listening for client requests on "+p.client)
	p.startProxy("--proxy=on", "--peer-trusted-ca-file", outsideCA) // that is not the one of the members
	p.prints("certificate signed by unknown authority")
	p.ends(exitError, "cannot listen on TLS for "+p.client+": KeyFile and CertFile are not presented")
}

// holdsAt asks until the answer has the text.
func (p *place) holdsAt(c *http.Client, path, text string) {
	p.t.Helper()
	resp, err := c.Get(p.client + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), text) {
		p.t.Errorf("GET %s at %s = %s %s, error %v, want %s", path, p.name, resp.Status, body, err, text)
	}
}

// TestSurplusMember: three are told to found a cluster of two. The first two do, the
// third is their proxy. Later none of them needs the discovery URL.
func TestSurplusMember(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "http", "a", "b", "c", "meet")
	a, b, c, meet := all[0], all[1], all[2], all[3]
	meet.start(cluster(meet), "--enable-discovery-service")
	meet.prints("published")
	token := "--discovery=" + meet.client + meet.mint("?size=2")
	a.start(token)
	a.prints("waiting for 1 more")
	if _, err := os.Stat(filepath.Join(a.dir, waitingFile)); err != nil {
		t.Errorf("while a waits: %v", err)
	}
	b.start(token)
	a.prints("published")
	b.prints("published")
	if _, err := os.Stat(filepath.Join(a.dir, waitingFile)); !os.IsNotExist(err) {
		t.Errorf("while a serves: %v, want that %s is gone", err, waitingFile)
	}
	c.start(token)
	c.prints("discovery cluster full, falling back to proxy")
	c.prints("proxy: listening for client requests on " + c.client)
	a.put("k", "v")
	c.holds("k", "v")
	c.put("k", "w")
	b.holds("k", "w")

	meet.stop()
	c.stop()
	<-c.ended
	c.start(token)
	c.prints("discovery token ignored since the proxy has already been initialized.")
	c.prints("proxy: listening for client requests on " + c.client)
	c.holds("k", "w")

	a.stop()
	<-a.ended
	a.start(token)
	a.prints("discovery token ignored since a cluster has already been initialized.")
	a.prints("published")
	c.put("k", "x")
	a.holds("k", "x")
}

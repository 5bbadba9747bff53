package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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

// TestProxyWithTwoCAs: the members' clients and peers have CAs of their own. A proxy shows
// each port a certificate of its CA; a proxy with the files of one side only gets as far
// as these are accepted.
func TestProxyWithTwoCAs(t *testing.T) {
	t.Parallel()
	clients, peers := pki.New(t, "same name"), pki.New(t, "same name") // which is no help to choose between them
	dir := t.TempDir()
	clientCA, peerCA := clients.Write(filepath.Join(dir, "clients.crt")), peers.Write(filepath.Join(dir, "peers.crt"))
	issue := func(of *pki.Authority, name string, uses ...x509.ExtKeyUsage) []string {
		cert, key := of.Issue(name, time.Hour, uses...).Write(filepath.Join(dir, name))
		return []string{"cert-file", cert, "key-file", key}
	}
	// side returns the flags of one side.
	side := func(prefix, ca string, pair []string, auth bool) []string {
		flags := []string{prefix + "trusted-ca-file", ca}
		for i := 0; i < len(pair); i += 2 {
			flags = append(flags, prefix+pair[i], pair[i+1])
		}
		if auth {
			flags = append(flags, prefix+"client-cert-auth")
		}
		return flags
	}
	const both, peer = "--", "--peer-"
	memberPeer := side(peer, peerCA, issue(peers, "member-peer", pki.Server, pki.Client), true)
	twoCAs := slices.Concat(side(both, clientCA, issue(clients, "member", pki.Server), true), memberPeer)
	peerCAOnly := slices.Concat(side(both, peerCA, issue(peers, "member2", pki.Server), true), memberPeer)
	proxyPeer := side(peer, peerCA, issue(peers, "proxy-peer", pki.Client), false)
	proxyClient := side(both, clientCA, issue(clients, "proxy", pki.Server, pki.Client), false)
	tests := []struct {
		name   string
		member []string
		proxy  []string
		status int
		log    string // of the proxy
	}{
		{"both sides", twoCAs, slices.Concat(proxyPeer, proxyClient), 200, ""},
		{"peer flags alone, clients have their own CA", twoCAs, proxyPeer, 502, "certificate signed by unknown authority"},
		{"peer flags alone, one CA", peerCAOnly, proxyPeer, 200, ""},
		{"client flags alone, one CA", peerCAOnly, side(both, peerCA, issue(peers, "proxy-client", pki.Client), false), 200, ""},
		{"both sides, of which the members take the peer flags", peerCAOnly, slices.Concat(proxyPeer, proxyClient), 200, ""},
		{"both sides, a certificate for servers only", peerCAOnly, slices.Concat(proxyPeer, side(both, peerCA, issue(peers, "only-serves", pki.Server), false)), 200, ""},
		{"client files that are missing, as before", peerCAOnly, slices.Concat(proxyPeer, []string{"--trusted-ca-file", filepath.Join(dir, "none")}), 200, "cannot dial members with the client TLS files, using the peer TLS files alone: open "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := newPlaces(t, "https", "a", "p")
			a, p := all[0], all[1]
			a.client = strings.Replace(a.client, "http:", "https:", 1)
			a.start(append([]string{cluster(a)}, tt.member...)...)
			a.prints("published")
			p.startProxy(append([]string{"--proxy=on", cluster(a)}, tt.proxy...)...)
			p.prints("proxy: listening for client requests on " + p.client)
			res, err := http.Get(p.client + "/v2/keys/")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.status {
				t.Errorf("GET = %s, want %d", res.Status, tt.status)
			}
			p.prints(tt.log)
			if log := p.stderr.String(); tt.status == 200 && tt.log == "" && strings.Contains(log, "Ignored client key/cert files") {
				t.Errorf("the log says of files in use that they are ignored:\n%s", log)
			}
		})
	}
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

package main

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// mint makes a token and returns the path of its URL.
func (p *place) mint(query string) string {
	p.t.Helper()
	status, body := p.ask("GET", "/new"+query, "", "")
	path, ok := strings.CutPrefix(body, p.client)
	if status != http.StatusOK || !ok {
		p.t.Fatalf("GET /new%s at %s = %d %s, want a URL below %s", query, p.name, status, body, p.client)
	}
	return path
}

// answers asks, and expects a status and a part of the answer.
func (p *place) answers(method, path, form string, status int, part string) {
	p.t.Helper()
	if got, body := p.ask(method, path, "application/x-www-form-urlencoded", form); got != status || !strings.Contains(body, part) {
		p.t.Errorf("%s %s at %s = %d %s, want %d and %q", method, path, p.name, got, body, status, part)
	}
}

// All members of a cluster are one discovery service, beside what else they do.
func TestMeetingPlace(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "http", "a", "b")
	a, b := all[0], all[1]
	a.start(cluster(a, b), "--enable-discovery-service", "--discovery-service-max-size=5")
	b.start(cluster(a, b), "--enable-discovery-service")
	a.prints("published")
	b.prints("published")
	token := a.mint("?size=5")
	a.answers("GET", "/new?size=6", "", 400, "from 1 to 5")
	b.answers("GET", token+"/_config/size", "", 200, `"value":"5"`)
	b.answers("PUT", token+"/1f?prevExist=false", "value="+url.QueryEscape("m=http://m:2380"), 201, `"key":"/_etcd/registry`+token+`/1f"`)
	a.answers("GET", token, "", 200, `"value":"m=http://m:2380"`)
	a.answers("GET", token+"/1f?wait=true&waitIndex=1", "", 200, `"action":"create"`)
	a.answers("GET", "/v2/keys/_etcd/registry"+token+"/1f", "", 200, "m=http://m:2380")
	a.answers("GET", "/metrics", "", 200, "\netcd_discovery_tokens_total 1\n")
	b.answers("GET", "/metrics", "", 200, "\netcd_discovery_registrations_total 1\n")
}

func TestNoMeetingPlace(t *testing.T) {
	t.Parallel()
	a := newPlaces(t, "http", "a")[0]
	a.start(cluster(a))
	a.prints("published")
	a.answers("GET", "/new", "", 404, "404 page not found")
}

// One command makes a discovery service, which remembers its tokens and does
// nothing else.
func TestDiscoveryServe(t *testing.T) {
	t.Parallel()
	p := newPlaces(t, "http", "discovery")[0]
	serve := func(flags ...string) {
		p.startProgram(append([]string{"discovery", "serve", "-listen", p.client, "--data-dir", p.dir}, flags...)...)
		p.prints("published")
	}
	serve()
	token := p.mint("")
	p.answers("PUT", token+"/1f?prevExist=false", "value=m", 201, `"action":"create"`)
	for _, path := range []string{"/", "/v2/keys", "/v2/keys/_etcd/registry" + token, "/v2/members", "/v2/machines", "/debug/vars", "/config/local/log"} {
		p.answers("GET", path, "", 404, "")
	}
	for _, path := range []string{"/version", "/health", "/livez", "/readyz", "/metrics"} {
		p.answers("GET", path, "", 200, "")
	}
	p.stop()
	p.ends(exitGood)

	serve("--discovery-service-url=https://disco.example/")
	p.answers("GET", token, "", 200, `"value":"m"`)
	p.answers("GET", "/new", "", 200, "https://disco.example/")
}

func TestDiscoveryServeDefaults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	r := runWith([]string{"discovery", "serve", "--data-dir", dir, "--discovery-service-rate=0"}, nil, nil)
	if r.served == nil {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	c := r.served
	if joined(c.ListenClientURLs) != "http://:8087" || joined(c.AdvertiseClientURLs) != "http://:8087" || len(c.ListenPeerURLs) != 0 ||
		c.Name != "discovery" || c.DataDir != dir || !c.DiscoveryService || !c.DiscoveryServiceOnly {
		t.Errorf("settings: %+v", c)
	}
	if perClient(c.Meeting.Requests) != -1 || perClient(c.Meeting.Tokens) != 10 {
		t.Errorf("rates: %+v", c.Meeting)
	}
	if c, _ := serves(t, nil, nil); c.DiscoveryService || c.DiscoveryServiceOnly {
		t.Errorf("a member is a discovery service by itself: %+v", c.Meeting)
	}
	r = runWith([]string{"discovery", "serve", "-h"}, nil, nil)
	for _, text := range []string{"usage: etcd discovery serve", "--listen 'http://:8087'", "--data-dir 'discovery.etcd'", "--discovery-service-token-ttl '168h0m0s'", "--cert-file ''"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("help lacks %q:\n%s", text, r.stdout)
		}
	}
	for _, text := range []string{"--initial-cluster", "--enable-discovery-service"} {
		if strings.Contains(r.stdout, text+" '") {
			t.Errorf("help lists %s", text)
		}
	}
	if r := runWith([]string{"discovery", "serve", "--version"}, nil, nil); r.served != nil || !strings.HasPrefix(r.stdout, "etcd Version") {
		t.Errorf("--version: %+v", r)
	}
}

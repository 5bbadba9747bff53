package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/pki"
	"etcd2/test/proc"
)

// patience bounds what a good run never waits for.
const patience = 30 * time.Second

// place is where one member of a test lives, and its last run in this process.
type place struct {
	t            *testing.T
	name         string
	dir          string
	peer, client string // URLs
	stop         context.CancelFunc
	ended        chan struct{} // closed at the end of the run; then the outcome is set
	outcome      outcome
	stderr       *proc.Output
}

// newPlaces makes places that nothing runs in yet. Peers speak https or http.
func newPlaces(t *testing.T, scheme string, names ...string) []*place {
	t.Helper()
	var all []*place
	for _, name := range names {
		all = append(all, &place{
			t: t, name: name, dir: filepath.Join(t.TempDir(), name),
			peer: scheme + "://" + freeAddress(t), client: "http://" + freeAddress(t),
		})
	}
	return all
}

// cluster is the flag that lists the places.
func cluster(places ...*place) string {
	var pairs []string
	for _, p := range places {
		pairs = append(pairs, p.name+"="+p.peer)
	}
	return "--initial-cluster=" + strings.Join(pairs, ",")
}

// start runs a member here. It is stopped at the end of the test.
func (p *place) start(flags ...string) {
	p.t.Helper()
	p.startProgram(slices.Concat([]string{
		"--name", p.name, "--data-dir", p.dir, "--listen-peer-urls", p.peer, "--initial-advertise-peer-urls", p.peer,
		"--listen-client-urls", p.client, "--advertise-client-urls", p.client, "--heartbeat-interval=20", "--election-timeout=400",
	}, flags)...)
}

// startProgram is start with nothing but these arguments.
func (p *place) startProgram(args ...string) {
	p.t.Helper()
	ctx, stop := context.WithCancel(p.t.Context())
	p.stop, p.ended, p.stderr = stop, make(chan struct{}), new(proc.Output)
	ended, stderr := p.ended, p.stderr
	go func() {
		defer close(ended)
		p.outcome = run(args, nil, io.Discard, stderr, func(_ context.Context, cfg Config, log *slog.Logger) error {
			return serve(ctx, cfg, log)
		})
	}()
	p.t.Cleanup(func() {
		stop()
		<-ended
		if p.t.Failed() {
			p.t.Logf("log of %s:\n%s", p.name, stderr)
		}
	})
}

// prints waits for a text in the log.
func (p *place) prints(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if !p.stderr.Await(ctx, text, p.ended) {
		p.t.Fatalf("%s never printed %q", p.name, text)
	}
}

// ends waits for the end of the run, which has to have this status and these last
// lines.
func (p *place) ends(status int, lines ...string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end", p.name)
	}
	tail := strings.Join(lines, "\n")
	var plain []string
	for line := range strings.Lines(p.stderr.String()) {
		if _, text, ok := strings.Cut(line, " | "); ok {
			line = text
		}
		plain = append(plain, line)
	}
	if log := strings.TrimSpace(strings.Join(plain, "")); p.outcome.status != status || !strings.HasSuffix(log, tail) {
		p.t.Errorf("%s ended with status %d, want %d and the last lines\n%s", p.name, p.outcome.status, status, tail)
	}
}

// ask sends a request and returns the status and the body.
func (p *place) ask(method, path, kind, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.client+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// put writes a key, which has to succeed.
func (p *place) put(key, value string) {
	p.t.Helper()
	status, body := p.ask("PUT", "/v2/keys/"+key, "application/x-www-form-urlencoded", "value="+value)
	if status != http.StatusCreated && status != http.StatusOK {
		p.t.Fatalf("PUT %s at %s = %d %s", key, p.name, status, body)
	}
}

// holds asks for the latest value of a key.
func (p *place) holds(key, value string) {
	p.t.Helper()
	status, body := p.ask("GET", "/v2/keys/"+key+"?quorum=true", "", "")
	if want := fmt.Sprintf(`"value":%q`, value); status != http.StatusOK || !strings.Contains(body, want) {
		p.t.Fatalf("GET %s at %s = %d %s, want %s", key, p.name, status, body, want)
	}
}

// member is an entry of /v2/members.
type member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// add makes room for a newcomer and returns its ID.
func (p *place) add(newcomer *place) string {
	p.t.Helper()
	status, body := p.ask("POST", "/v2/members", "application/json", fmt.Sprintf(`{"peerURLs":[%q]}`, newcomer.peer))
	var m member
	if err := json.Unmarshal([]byte(body), &m); err != nil || status != http.StatusCreated {
		p.t.Fatalf("adding %s at %s = %d %s", newcomer.name, p.name, status, body)
	}
	return m.ID
}

// TestClusterLife founds a cluster of three, lets a fourth join, removes it, and
// restarts one.
func TestClusterLife(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "http", "a", "b", "c", "d")
	a, b, c, d := all[0], all[1], all[2], all[3]
	founders := all[:3]
	for _, p := range founders {
		p.start(cluster(founders...), "--initial-cluster-token=tok")
	}
	for _, p := range founders {
		p.prints("published")
	}
	a.put("first", "1")
	for _, p := range founders {
		p.put("by-"+p.name, p.name)
		for _, q := range founders {
			q.holds("by-"+p.name, p.name)
		}
	}

	id := b.add(d)
	d.start(cluster(all...), "--initial-cluster-state=existing")
	d.prints("published")
	d.holds("by-c", "c")
	d.put("by-d", "d")
	c.holds("by-d", "d")
	if _, body := c.ask("GET", "/v2/members", "", ""); !strings.Contains(body, fmt.Sprintf(`{"id":%q,"name":"d","peerURLs":[%q],"clientURLs":[%q]}`, id, d.peer, d.client)) {
		t.Errorf("members after the join: %s", body)
	}

	if status, body := a.ask("DELETE", "/v2/members/"+id, "", ""); status != http.StatusNoContent {
		t.Fatalf("removing d = %d %s", status, body)
	}
	removed := []string{
		"etcdserver: the member has been permanently removed from the cluster",
		"etcdserver: the data-dir used by this member must be removed.",
	}
	d.ends(exitGood, removed...)
	d.start(cluster(all...), "--initial-cluster-state=existing")
	d.ends(exitGood, removed...)

	a.stop()
	a.ends(exitGood)
	b.put("without-a", "1")
	a.start()
	a.prints("published")
	a.holds("without-a", "1")
	a.holds("first", "1")
}

// Members of two clusters that are told to be one end with the words of the
// clustering guide.
func TestConflict(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "http", "a", "b")
	a, b := all[0], all[1]
	a.start(cluster(a))
	a.prints("published")
	b.start(cluster(a, b))
	b.prints("etcd: conflicting cluster ID to the target cluster (")
	b.prints("). Exiting.\n")
	if _, line, _ := strings.Cut(b.stderr.String(), "etcd: conflicting"); strings.Count(line, "\n") != 1 {
		t.Errorf("there is more after the line of the guide")
	}
	b.ends(exitError)
	a.put("k", "v")
}

func TestPeersOverTLS(t *testing.T) {
	t.Parallel()
	all := newPlaces(t, "https", "a", "b", "c")
	a, b, c := all[0], all[1], all[2]
	good, bad := pki.New(t, "good"), pki.New(t, "bad")
	dir := t.TempDir()
	ca := good.Write(filepath.Join(dir, "ca.crt"))
	certs := func(of *pki.Authority, name string) []string {
		cert, key := of.Issue(name, time.Hour, pki.Server, pki.Client).Write(filepath.Join(dir, name))
		return []string{"--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth"}
	}
	for _, p := range []*place{a, b} {
		p.start(append(certs(good, p.name), cluster(a, b))...)
	}
	a.prints("published")
	b.prints("published")
	a.put("k", "v")
	b.holds("k", "v")

	b.add(c)
	c.start(append(certs(bad, "stranger"), cluster(all...), "--initial-cluster-state=existing")...)
	c.ends(exitError, "etcdmain: cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls")
	c.start(append(certs(good, c.name), cluster(all...), "--initial-cluster-state=existing")...)
	c.prints("published")
	c.holds("k", "v")
}

// A member without a certificate of its own knows whom to trust all the same.
func TestAuthorityAlone(t *testing.T) {
	t.Parallel()
	a, b := newPlaces(t, "https", "a")[0], newPlaces(t, "http", "b")[0]
	dir := t.TempDir()
	authority := pki.New(t, "good")
	ca := authority.Write(filepath.Join(dir, "ca.crt"))
	cert, key := authority.Issue("a", time.Hour, pki.Server, pki.Client).Write(filepath.Join(dir, "a"))
	a.start(cluster(a, b), "--peer-cert-file", cert, "--peer-key-file", key)
	b.start(cluster(a, b), "--peer-trusted-ca-file", ca)
	a.prints("published")
	b.prints("published")
	b.put("k", "v")
	a.holds("k", "v")
}

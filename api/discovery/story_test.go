package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var errFull = errors.New("cluster is full")

// joiner founds a cluster by the requests of etcd 2.3.
type joiner struct {
	url, id, value string
}

// join returns the initial cluster once all have arrived.
func (j joiner) join(ctx context.Context) (string, error) {
	if _, err := j.look(ctx); err != nil {
		return "", err
	}
	a, err := send(ctx, "PUT", j.url+"/"+j.id+"?prevExist=false", url.Values{"value": {j.value}}.Encode())
	if err != nil || a.status != http.StatusCreated {
		return "", fmt.Errorf("registering: %d %s %v", a.status, a.body, err)
	}
	n, err := parse(a)
	if err != nil {
		return "", err
	}
	a, err = send(ctx, "GET", fmt.Sprintf("%s/%s?recursive=false&wait=true&waitIndex=%d", j.url, j.id, n.CreatedIndex), "")
	if err != nil || a.status != http.StatusOK {
		return "", fmt.Errorf("seeing oneself: %d %s %v", a.status, a.body, err)
	}
	found, err := j.look(ctx)
	if err != nil {
		return "", err
	}
	return found.await(ctx)
}

// gathering is what a joiner has found.
type gathering struct {
	url    string
	size   int
	index  uint64 // of the listing
	nodes  []node
	values []string
}

// look reads the size and the members, and refuses when the joiner is not among
// the first.
func (j joiner) look(ctx context.Context) (*gathering, error) {
	a, err := send(ctx, "GET", j.url+"/_config/size?quorum=false&recursive=false&sorted=false", "")
	if err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("size: %d %s %v", a.status, a.body, err)
	}
	n, err := parse(a)
	if err != nil {
		return nil, err
	}
	g := &gathering{url: j.url}
	if g.size, err = strconv.Atoi(n.Value); err != nil {
		return nil, err
	}
	a, err = send(ctx, "GET", j.url+"?quorum=false&recursive=false&sorted=false", "")
	if err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("list: %d %s %v", a.status, a.body, err)
	}
	if g.index, err = strconv.ParseUint(a.header.Get("X-Etcd-Index"), 10, 64); err != nil {
		return nil, err
	}
	if n, err = parse(a); err != nil {
		return nil, err
	}
	g.nodes = n.Nodes
	slices.SortFunc(g.nodes, func(x, y node) int { return int(x.CreatedIndex) - int(y.CreatedIndex) })
	g.nodes = slices.DeleteFunc(g.nodes, func(n node) bool { return path.Base(n.Key) == "_config" })
	for i, n := range g.nodes {
		if path.Base(n.Key) == j.id && i < g.size {
			return g, nil
		}
	}
	if len(g.nodes) >= g.size {
		return nil, errFull
	}
	return g, nil
}

// await waits for those who are missing.
func (g *gathering) await(ctx context.Context) (string, error) {
	for next := g.index + 1; len(g.nodes) < g.size; {
		a, err := send(ctx, "GET", fmt.Sprintf("%s?recursive=true&wait=true&waitIndex=%d", g.url, next), "")
		if err != nil || a.status != http.StatusOK {
			return "", fmt.Errorf("waiting: %d %s %v", a.status, a.body, err)
		}
		n, err := parse(a)
		if err != nil {
			return "", err
		}
		g.nodes = append(g.nodes, n)
		next = n.CreatedIndex + 1
	}
	for _, n := range g.nodes[:g.size] {
		g.values = append(g.values, n.Value)
	}
	return strings.Join(g.values, ","), nil
}

func parse(a answer) (n node, err error) {
	var body struct{ Node node }
	err = decode(a.body, &body)
	return body.Node, err
}

// Three members of etcd 2.3 meet at once; a fourth is told that it is late, and so
// is a fifth that registers all the same.
func TestMeeting(t *testing.T) {
	s, _ := newService(Config{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	made, err := send(t.Context(), "GET", srv.URL+"/new?size=3", "")
	if err != nil || !strings.HasPrefix(made.body, srv.URL+"/") {
		t.Fatalf("GET /new = %v %v", made, err)
	}
	type outcome struct {
		cluster string
		err     error
	}
	outcomes := make(chan outcome, 3) // one for each
	members := func(url string) []joiner {
		return []joiner{{url, "b069a81907ddfc0f", "c=http://10.0.1.12:2380"}, {url, "c6006e67baa364cb", "a=http://10.0.1.10:2380,a=http://10.0.1.10:7001"}, {url, "652877a57d0879d4", "b=http://10.0.1.11:2380"}}
	}
	all := members(made.body)
	for _, j := range all {
		go func() {
			cluster, err := j.join(t.Context())
			outcomes <- outcome{cluster, err}
		}()
	}
	var first string
	for range all {
		o := <-outcomes
		if o.err != nil {
			t.Fatalf("join = %v", o.err)
		}
		if first == "" {
			first = o.cluster
		}
		if o.cluster != first {
			t.Errorf("clusters differ: %q and %q", o.cluster, first)
		}
		for _, j := range all {
			if !strings.Contains(o.cluster, j.value) {
				t.Errorf("%q lacks %q", o.cluster, j.value)
			}
		}
	}

	late := joiner{made.body, "f", "d=http://10.0.1.13:2380"}
	if _, err := late.join(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("the fourth: %v, want %v", err, errFull)
	}
	arrive(t, s, "/"+path.Base(made.body), "f", "d=http://10.0.1.13:2380")
	if _, err := late.look(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("the fourth, registered: %v, want %v", err, errFull)
	}
	again, err := send(t.Context(), "PUT", made.body+"/"+all[0].id+"?prevExist=false", "value=x")
	if err != nil || again.status != http.StatusPreconditionFailed || again.code() != 105 {
		t.Errorf("registering twice: %d %s %v, want 412 and code 105", again.status, again.body, err)
	}
}

// Machines of etcd 0.4 register a name and a URL for a week, and the first to make
// _state founds the cluster that the others join.
func TestMeetingOfOldMachines(t *testing.T) {
	s, _ := newService(Config{})
	token := mint(t, s, "")
	register := func(name, peer string) {
		t.Helper()
		a := ask(t, s, "PUT", token+"/"+name, "value="+url.QueryEscape(peer)+"&ttl=604800")
		if a.status != http.StatusCreated || a.node(t).TTL != 604800 {
			t.Fatalf("registering %s = %d %s", name, a.status, a.body)
		}
	}
	register("machine1", "http://127.0.0.1:7001")
	if a := ask(t, s, "PUT", token+"/_state?prevExist=false", "value=started"); a.status != http.StatusCreated {
		t.Errorf("the first to make _state = %d %s, want 201", a.status, a.body)
	}
	register("machine2", "http://127.0.0.1:7002")
	if a := ask(t, s, "PUT", token+"/_state?prevExist=false", "value=started"); a.status != http.StatusPreconditionFailed || a.code() != 105 {
		t.Errorf("the second to make _state = %d %s, want 412 and code 105", a.status, a.body)
	}
	a := ask(t, s, "GET", token+"?consistent=true&recursive=true&sorted=false&wait=false", "")
	var peers []string
	for _, n := range a.node(t).Nodes {
		peers = append(peers, path.Base(n.Key)+" "+n.Value)
	}
	if want := []string{"machine1 http://127.0.0.1:7001", "machine2 http://127.0.0.1:7002"}; !slices.Equal(peers, want) {
		t.Errorf("peers %q, want %q", peers, want)
	}
	if a := ask(t, s, "PUT", token+"/machine2", "value="+url.QueryEscape("http://127.0.0.1:7002")+"&ttl=604800"); a.status != http.StatusOK {
		t.Errorf("a heartbeat = %d %s, want 200", a.status, a.body)
	}
}

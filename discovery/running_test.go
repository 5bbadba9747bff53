package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/membership"
	"etcd2/test/pki"
)

// answers is what a member says by path; a path it lacks is answered 404.
type answers map[string]string

// speak runs a member that gives these answers and, unless it is "", a cluster ID.
func speak(t *testing.T, clusterID string, says answers) string {
	t.Helper()
	s := httptest.NewServer(says.handler(clusterID))
	t.Cleanup(s.Close)
	return s.URL
}

func (says answers) handler(clusterID string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clusterID != "" {
			w.Header().Set("X-Etcd-Cluster-ID", clusterID)
		}
		text, ok := says[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, text)
	})
}

// silent is a URL at which nobody listens any more.
func silent() string {
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.URL
}

// newClient returns a Client and its log.
func newClient(cfg Config) (*Client, *bytes.Buffer) {
	var out bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
	return New(cfg), &out
}

func TestRunning(t *testing.T) {
	good := speak(t, "abc123", answers{"/members": `[
		{"id":18446744073709551615,"peerURLs":["http://h:2","http://h:1"],"name":"b","clientURLs":["http://h:3"]},
		{"id":7,"peerURLs":["http://h:4"]}]` + "\n"})
	want := &Running{ClusterID: 0xabc123, Members: []membership.Member{
		{ID: 7, PeerURLs: []string{"http://h:4"}},
		{ID: 1<<64 - 1, Name: "b", PeerURLs: []string{"http://h:1", "http://h:2"}, ClientURLs: []string{"http://h:3"}},
	}}
	down := silent()
	tests := []struct {
		name string
		url  string // beside the good one
		log  string
	}{
		{"nobody there", down, "could not get cluster response from " + down + ": "},
		{"no JSON", speak(t, "abc123", answers{"/members": "hello"}), "could not unmarshal cluster response: "},
		{"no list", speak(t, "abc123", answers{"/members": "{}"}), "could not unmarshal cluster response: "},
		{"no such path", speak(t, "abc123", nil), "could not unmarshal cluster response: "},
		{"no cluster ID", speak(t, "", answers{"/members": "[]"}), "could not parse the cluster ID from cluster res: "},
		{"a body without end", speak(t, "abc123", answers{"/members": strings.Repeat(" ", answerBytesMax+1)}), "could not read the body of cluster response: "},
		{"https without settings", strings.Replace(good, "http:", "https:", 1), "no TLS settings to dial with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, out := newClient(Config{})
			if r, err := c.Running(t.Context(), []string{tt.url}); !errors.Is(err, ErrNobody) {
				t.Errorf("Running(%s) = %v, %v, want ErrNobody", tt.url, r, err)
			}
			if !strings.Contains(out.String(), tt.log) || !strings.Contains(out.String(), "level=WARN") {
				t.Errorf("log lacks %q:\n%s", tt.log, out)
			}
			r, err := c.Running(t.Context(), []string{tt.url, good})
			if err != nil || r.String() != want.String() {
				t.Errorf("Running(%s and a good one) = %v, %v, want %v", tt.url, r, err, want)
			}
		})
	}
}

func TestRunningOverTLS(t *testing.T) {
	ca := pki.New(t, "authority")
	own := ca.Issue("m2", time.Hour, pki.Client)
	s := httptest.NewUnstartedServer(answers{"/members": "[]"}.handler("1"))
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue("m1", time.Hour, pki.Server).TLS},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refusals are the point
	s.StartTLS()
	defer s.Close()
	tests := []struct {
		name string
		tls  *tls.Config
		ok   bool
	}{
		{"certificate and authority", &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{own.TLS}}, true},
		{"no certificate", &tls.Config{RootCAs: ca.Pool()}, false},
		{"another authority", &tls.Config{RootCAs: pki.New(t, "other").Pool(), Certificates: []tls.Certificate{own.TLS}}, false},
	}
	for _, tt := range tests {
		c, out := newClient(Config{TLS: func() *tls.Config { return tt.tls }})
		if _, err := c.Running(t.Context(), []string{s.URL}); (err == nil) != tt.ok {
			t.Errorf("%s: Running = %v, want an answer: %v\n%s", tt.name, err, tt.ok, out)
		}
	}
}

func TestBootstrapped(t *testing.T) {
	quiet := speak(t, "1", answers{"/members": `[{"id":7,"peerURLs":["http://h:4"],"name":"m"}]`})
	known := speak(t, "1", answers{"/members": `[{"id":7,"peerURLs":["http://h:4"],"clientURLs":["http://h:5"]}]`})
	tests := []struct {
		name string
		id   membership.ID
		urls []string
		want bool
	}{
		{"nobody to ask", 7, nil, false},
		{"never served clients", 7, []string{quiet, silent()}, false},
		{"another member", 8, []string{quiet, known}, false},
		{"one knows it", 7, []string{silent(), quiet, known}, true},
	}
	for _, tt := range tests {
		c, out := newClient(Config{})
		if got := c.Bootstrapped(t.Context(), tt.id, tt.urls); got != tt.want || out.Len() > 0 {
			t.Errorf("%s: Bootstrapped = %v, want %v and no log:\n%s", tt.name, got, tt.want, out)
		}
	}
}

func TestStopWhileWaiting(t *testing.T) {
	asked := make(chan struct{}, 1) // the one question
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-asked
		stop()
	}()
	c, _ := newClient(Config{})
	if r, err := c.Running(ctx, []string{s.URL}); err == nil {
		t.Errorf("Running = %v from a member that never answers", r)
	}
}

// hosts is a Resolver over a map.
func hosts(known map[string]string) membership.Resolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if known[host] == "" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(known[host])}, nil
	}
}

func FuzzDecodeMembers(f *testing.F) {
	for _, seed := range []string{
		"", "[]", "null", "[null]", `[{"id":0,"peerURLs":["http://h:1"]}]`, `[{"id":1,"peerURLs":[]}]`, `[{"id":1,"peerURLs":["h"]}]`,
		`[{"id":1,"peerURLs":["http://h:1"]},{"id":1,"peerURLs":["http://h:2"]}]`,
		`[{"id":18446744073709551615,"peerURLs":["http://h:1","http://g:1"],"name":"n","clientURLs":["x"]}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, err := decodeMembers(body)
		if err != nil && members != nil {
			t.Fatalf("decodeMembers(%q) = %v and error %v", body, members, err)
		}
		for i, m := range members {
			if m.ID == 0 || i > 0 && members[i-1].ID >= m.ID {
				t.Fatalf("decodeMembers(%q): IDs of %v are not ascending from 1", body, members)
			}
			if checked, err := membership.CheckURLs(m.PeerURLs); err != nil || !slices.Equal(checked, m.PeerURLs) {
				t.Fatalf("decodeMembers(%q): peer URLs %q, %v", body, m.PeerURLs, err)
			}
		}
	})
}

// Members that join learn the generation of the cluster, if the member that is asked tells
// it.
func TestGeneration(t *testing.T) {
	const forced = "00112233445566778899aabbccddeeff"
	for told, want := range map[string]string{
		"":                         "", // an earlier version
		"generation=":              "",
		"generation=" + forced:     forced,
		"generation=joining":       "",
		"generation=blue":          "",
		"generation=" + forced[1:]: "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Etcd-Cluster-Id", "abc")
			if told != "" {
				w.Header().Set("X-Etcd2-Identity", told)
			}
			io.WriteString(w, `[{"id":1,"peerURLs":["http://127.0.0.1:2380"]}]`)
		}))
		c, _ := newClient(Config{})
		r, err := c.Running(t.Context(), []string{server.URL})
		if err != nil || r.Generation != want {
			t.Errorf("X-Etcd2-Identity: %s: Running = %+v, %v, want generation %q", told, r, err, want)
		}
		server.Close()
	}
}

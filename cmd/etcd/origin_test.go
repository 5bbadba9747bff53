package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"etcd2/discovery"
	"etcd2/etcdserver"
	"etcd2/internal/tlsconf"
	"etcd2/membership"
)

// another is a member that runs already. It says what list and version are, in
// which {U} stands for its own URL.
func another(t *testing.T, list string) string {
	t.Helper()
	var url string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Cluster-ID", "abc")
		switch r.URL.Path {
		case "/members":
			fmt.Fprint(w, strings.ReplaceAll(list, "{U}", url))
		case "/version":
			fmt.Fprint(w, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`)
		}
	}))
	t.Cleanup(s.Close)
	url = s.URL
	return url
}

func TestOrigin(t *testing.T) {
	certs, err := tlsconf.Load(tlsconf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const own = "http://127.0.0.1:1"
	self := membership.NewMember("b", []string{own}, "tok", nil).ID
	tests := []struct {
		name    string
		list    string // of the member that runs
		cluster string
		state   string
		want    string // Self, ClusterID, and whom it founds with or joins
		err     string
	}{
		{name: "data there", want: "0 0 [] false []"},
		{name: "founds alone", cluster: "b=" + own, state: stateNew,
			want: fmt.Sprintf("%s %s [b] false []", self, membership.ClusterID([]membership.Member{{ID: self}}))},
		{name: "joins", cluster: "a={U},b=" + own, state: stateExisting,
			list: fmt.Sprintf(`[{"id":1,"peerURLs":["{U}"],"name":"old"},{"id":17,"peerURLs":[%q]}]`, own),
			want: "11 abc [] true [a]"},
		{name: "founds again", cluster: "a={U},b=" + own, state: stateNew,
			list: fmt.Sprintf(`[{"id":%d,"peerURLs":[%q],"clientURLs":["http://h:1"]}]`, self, own),
			err:  fmt.Sprintf("member %s has already been bootstrapped", self)},
		{name: "joins nobody", cluster: "b=" + own, state: stateExisting, list: "[]",
			err: "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls"},
		{name: "joins unasked", cluster: "a={U},b=" + own, state: stateExisting, list: `[{"id":1,"peerURLs":["{U}"]}]`,
			err: "member count is unequal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			url := another(t, tt.list)
			cfg := &Config{Name: "b", ClusterState: tt.state, ClusterToken: "tok"}
			if tt.cluster != "" {
				if cfg.Founding, err = membership.ParsePeers(strings.ReplaceAll(tt.cluster, "{U}", url)); err != nil {
					t.Fatal(err)
				}
			}
			o, err := findOrigin(t.Context(), cfg, certs, newLogger(&out, formatText, newLevels(slog.LevelInfo)))
			if tt.err != "" {
				if err == nil || !strings.HasSuffix(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(o.Self, o.ClusterID, names(o.Founders), o.Join, names(o.Remotes))
			if got = strings.Join(strings.Fields(got), " "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func names(members []membership.Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return all
}

// TestLostDataListLags: a member that has lost its data is refused, also when the
// list that it reads first does not show that it registered before, and also at the
// starts after that.
func TestLostDataListLags(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Index", "9")
		switch {
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"errorCode":105,"message":"Key already exists","index":9}`)
		case strings.HasSuffix(r.URL.Path, "/size"):
			fmt.Fprint(w, `{"action":"get","node":{"key":"/t/_config/size","value":"3"}}`)
		default:
			fmt.Fprint(w, `{"action":"get","node":{"key":"/t","dir":true}}`)
		}
	}))
	defer s.Close()
	certs, err := tlsconf.Load(tlsconf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &Config{Name: "b", DataDir: t.TempDir(), Discovery: s.URL + "/t", Meets: true, AdvertisePeerURLs: []string{"http://127.0.0.1:1"}}
	_, err = findOrigin(t.Context(), cfg, certs, slog.New(slog.DiscardHandler))
	if !errors.Is(err, discovery.ErrDuplicateID) {
		t.Errorf("error %v, want %v", err, discovery.ErrDuplicateID)
	}
	if begun, err := cfg.waiting().Begun(); begun || err != nil {
		t.Errorf("then the member waits: %v, %v", begun, err)
	}
}

// TestNoPlaceBesideData: with the data of a member that ran, or of another etcd, in
// its directory nobody registers at a discovery URL, where others would count on it.
func TestNoPlaceBesideData(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		fmt.Fprint(w, "{}")
	}))
	defer s.Close()
	cfg := &Config{Name: "b", DataDir: t.TempDir(), Discovery: s.URL + "/t", Meets: true, AdvertisePeerURLs: []string{"http://127.0.0.1:1"}}
	writeFile(t, filepath.Join(cfg.DataDir, "member", "snap", "db"), "")
	_, err := findOrigin(t.Context(), cfg, nil, slog.New(slog.DiscardHandler))
	if !errors.Is(err, etcdserver.ErrDataDir) || asked != 0 {
		t.Errorf("error %v after %d requests, want %v", err, asked, etcdserver.ErrDataDir)
	}
}

// TestFallbackBesideMember: a proxy beside what a member left could not be started
// again, and nor could the member.
func TestFallbackBesideMember(t *testing.T) {
	for dir, want := range map[string]string{"member/x": fallbackExit, waitingFile: fallbackProxy} {
		cfg := newConfig()
		cfg.DataDir, cfg.Discovery = t.TempDir(), "http://127.0.0.1:1/t"
		writeFile(t, filepath.Join(cfg.DataDir, dir), "")
		if err := bootstrap(t.Context(), cfg, slog.New(slog.DiscardHandler)); err != nil || cfg.Fallback != want {
			t.Errorf("with %s: fallback %s, %v, want %s", dir, cfg.Fallback, err, want)
		}
	}
}

func TestEnvironWithoutPasswords(t *testing.T) {
	o := newOptions(pflag.NewFlagSet("", pflag.ContinueOnError))
	notes, err := o.fromEnviron([]string{"ETCD_DISCOVERY=https://u:secret@h/t", "ETCD_DISCOVERY_PROXY=http://u:secret@h:1"})
	if text := fmt.Sprint(notes); err != nil || strings.Contains(text, "secret") || !strings.Contains(text, "https://u:xxxxx@h/t") {
		t.Errorf("notes %s, %v", text, err)
	}
	if o.cfg.Discovery != "https://u:secret@h/t" {
		t.Errorf("discovery %s", o.cfg.Discovery)
	}
}

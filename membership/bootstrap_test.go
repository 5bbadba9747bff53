package membership

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// names is a Resolver over a map; a name it does not hold does not resolve.
func names(hosts map[string][]string) Resolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		found, ok := hosts[host]
		if !ok {
			return nil, errors.New("no such host")
		}
		var addrs []netip.Addr
		for _, a := range found {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs, nil
	}
}

func TestCheckListed(t *testing.T) {
	peers := Peers{"infra0": {"http://h:1"}}
	if err := peers.CheckListed("infra0"); err != nil {
		t.Errorf("CheckListed(infra0): %v", err)
	}
	for _, name := range []string{"infra1", ""} {
		err := peers.CheckListed(name)
		var missing *NotListedError
		if !errors.As(err, &missing) || missing.Name != name {
			t.Fatalf("CheckListed(%q): error %v, want a NotListedError", name, err)
		}
		if want := `couldn't find local name "` + name + `" in the initial cluster configuration`; err.Error() != want {
			t.Errorf("CheckListed(%q): %q, want %q", name, err, want)
		}
	}
}

func TestCheckDistinct(t *testing.T) {
	if err := (Peers{"a": {"http://h:1"}, "b": {"http://h:2"}}).CheckDistinct(); err != nil {
		t.Errorf("distinct URLs: %v", err)
	}
	for _, text := range []string{"b=http://h:1,a=http://h:1", "a=http://h:1,a=http://h:1"} {
		peers, err := ParsePeers(text)
		if err != nil {
			t.Fatal(err)
		}
		err = peers.CheckDistinct()
		if want := "initial cluster " + peers.String() + " has duplicate url"; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestCheckAdvertised(t *testing.T) {
	look := names(map[string][]string{
		"a.example.com": {"2001:db8::1", "127.0.0.1"},
		"b.example.com": {"127.0.0.1"},
		"six":           {"2001:db8::1"},
		"empty":         {},
	})
	tests := []struct {
		name      string
		listed    []string
		advertise []string
		logs      []string
		differ    bool
	}{
		{name: "equal", listed: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, advertise: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}},
		{name: "order does not matter", listed: []string{"http://127.0.0.1:2", "http://127.0.0.1:1"}, advertise: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}},
		{name: "count", listed: []string{"http://127.0.0.1:1"}, advertise: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, differ: true},
		{name: "port", listed: []string{"http://127.0.0.1:1"}, advertise: []string{"http://127.0.0.1:2"}, differ: true},
		{name: "scheme", listed: []string{"http://127.0.0.1:1"}, advertise: []string{"https://127.0.0.1:1"}, differ: true},
		{name: "localhost is not resolved", listed: []string{"http://localhost:1"}, advertise: []string{"http://127.0.0.1:1"}, differ: true},
		{
			name: "host name and its first IPv4 address", listed: []string{"http://127.0.0.1:1"}, advertise: []string{"http://a.example.com:1"},
			logs: []string{"netutil: resolving a.example.com:1 to 127.0.0.1:1"},
		},
		{
			name: "two host names of one address", listed: []string{"http://b.example.com:1"}, advertise: []string{"http://a.example.com:1"},
			logs: []string{"netutil: resolving a.example.com:1 to 127.0.0.1:1", "netutil: resolving b.example.com:1 to 127.0.0.1:1"},
		},
		{
			name: "IPv6 only", listed: []string{"http://[2001:db8::1]:1"}, advertise: []string{"http://six:1"},
			logs: []string{"netutil: resolving six:1 to [2001:db8::1]:1"},
		},
		{
			name: "does not resolve, even when equal", listed: []string{"http://nx:1"}, advertise: []string{"http://nx:1"},
			logs: []string{"netutil: could not resolve host nx:1"}, differ: true,
		},
		{
			name: "listed name does not resolve", listed: []string{"http://empty:1"}, advertise: []string{"http://127.0.0.1:1"},
			logs: []string{"netutil: could not resolve host empty:1"}, differ: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Peers{"n": tt.listed}.CheckAdvertised(t.Context(), "n", tt.advertise, look, slog.New(slog.NewTextHandler(&out, nil)))
			var mismatch *MismatchError
			if got := errors.As(err, &mismatch); got != tt.differ {
				t.Fatalf("advertised %v, listed %v: error %v, want a MismatchError: %v", tt.advertise, tt.listed, err, tt.differ)
			}
			for _, line := range tt.logs {
				pkg, msg, _ := strings.Cut(line, ": ")
				if want := `msg="` + msg + `" pkg=` + pkg; !strings.Contains(out.String(), want) {
					t.Errorf("log lacks %s:\n%s", want, out.String())
				}
			}
			if got := strings.Count(out.String(), "\n"); got != len(tt.logs) {
				t.Errorf("%d log lines, want %d:\n%s", got, len(tt.logs), out.String())
			}
		})
	}
}

func TestMismatchErrorSaysWhatToWrite(t *testing.T) {
	err := &MismatchError{Name: "n", Advertise: []string{"http://h:1", "http://h:2"}}
	want := "--initial-cluster must include n=http://h:1,n=http://h:2 given --initial-advertise-peer-urls=http://h:1,http://h:2"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

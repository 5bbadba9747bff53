package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/etcdserver"
	"etcd2/wal"
)

// result is what one run of the program did.
type result struct {
	outcome
	stdout, stderr string
	served         *Config // what serve was given, nil when it was not called
}

// runWith runs the program in this process with a serve that returns err at once.
func runWith(args, environ []string, err error) result {
	var r result
	var stdout, stderr bytes.Buffer
	r.outcome = run(args, environ, &stdout, &stderr, func(_ context.Context, cfg Config, _ *slog.Logger) error {
		r.served = &cfg
		return err
	})
	r.stdout, r.stderr = stdout.String(), stderr.String()
	return r
}

// serves runs the program, which has to come as far as serve.
func serves(t *testing.T, args, environ []string) (*Config, string) {
	t.Helper()
	r := runWith(slices.Concat([]string{"--data-dir", filepath.Join(t.TempDir(), "d")}, args), environ, nil)
	if r.served == nil || r.status != exitGood {
		t.Fatalf("%q %q: status %d, serve called: %v\n%s", args, environ, r.status, r.served != nil, r.stderr)
	}
	return r.served, r.stderr
}

func TestRefusals(t *testing.T) {
	const cluster = "--initial-cluster=default=http://localhost:2380,default=http://localhost:7001"
	tests := []struct {
		name   string
		args   []string
		env    []string
		status int
		stderr string
	}{
		{"negative number", []string{"-snapshot-count", "-1"}, nil, 2, `invalid value "-1" for flag -snapshot-count: parse error`},
		{"number too large", []string{"-max-wals", "99999999999999999999"}, nil, 2, `invalid value "99999999999999999999" for flag -max-wals: value out of range`},
		{"milliseconds too many", []string{"-election-timeout", "9223372036854775"}, nil, 2, "value out of range"},
		{"not a switch", []string{"-debug=maybe"}, nil, 2, `invalid boolean value "maybe" for -debug: parse error`},
		{"no unit", []string{"--agreement-check-interval", "5"}, nil, 2, `invalid value "5" for flag -agreement-check-interval: parse error`},
		{"time that runs back", []string{"--agreement-check-interval=-5m"}, nil, 2, `for flag -agreement-check-interval: must not be negative`},
		{"kind of read", []string{"--default-read", "stale"}, nil, 2, `invalid value "stale" for flag -default-read: invalid value`},
		{"no events", []string{"--history-events", "0"}, nil, 2, `invalid value "0" for flag -history-events: must be at least 1`},
		{"log format", []string{"--log-format", "xml"}, nil, 2, `invalid value "xml" for flag -log-format: invalid value`},
		{"log level", []string{"--log-level", "loud"}, nil, 2, `invalid value "loud" for flag -log-level: invalid value`},
		{"origin", []string{"--cors", "http://a,http://b:%zz"}, nil, 2, `for flag -cors: Invalid CORS origin: `},
		{"three dashes", []string{"---name"}, nil, 2, "bad flag syntax: ---name"},
		{"value before unknown flag", []string{"-max-wals", "x", "-nonsense"}, nil, 2, `invalid value "x" for flag -max-wals`},
		{"a word after --", []string{"--", "-name"}, nil, 1, "error verifying flags, '-name' is not a valid flag. See 'etcd --help'."},
		{"lone dash", []string{"-"}, nil, 1, "'-' is not a valid flag"},
		{"a word wins over version", []string{"--version", "word"}, nil, 1, "'word' is not a valid flag"},
		{"switch in the environment", nil, []string{"ETCD_DEBUG=maybe"}, 1, `C | etcdmain: invalid value "maybe" for ETCD_DEBUG: parse error`},
		{"two methods, one in the environment", []string{cluster}, []string{"ETCD_DISCOVERY=http://h/t"}, 1, "E | etcdmain: error verifying flags, multiple discovery or bootstrap flags are set."},
		{"no heartbeat", []string{"--heartbeat-interval=0", "--election-timeout=0"}, nil, 1, "-heartbeat-interval[0ms] should be at least 1ms"},
		{"host of old without port", []string{"-peer-addr", "h"}, nil, 2, `invalid value "h" for flag -peer-addr: address h: missing port in address`},
		{"port of old out of range", []string{"-peer-addr", "h:70000"}, nil, 2, "bad port in address specification"},
		{"port of old alone", []string{"-bind-addr", ":4001"}, nil, 2, "bad IP in address specification"},
		{"address of old in the environment", nil, []string{"ETCD_ADDR=4001"}, 1, `invalid value "4001" for ETCD_ADDR: address 4001: missing port in address`},
		{"clients are not asked, so none is revoked", []string{"--client-crl-file", "f"}, nil, 1, "error verifying flags, -client-crl-file is of no use without -client-cert-auth."},
		{"members are not asked, so none is revoked", nil, []string{"ETCD_PEER_CRL_FILE=f"}, 1, "-peer-crl-file is of no use without -peer-client-cert-auth"},
		{"members are not asked for a name", []string{"--peer-cert-allowed-cn", "m", "--ca-file", "f"}, nil, 1, "-peer-cert-allowed-cn is of no use without -peer-client-cert-auth"},
		{"join", []string{"-peers", "h:7001"}, nil, 1, "error verifying flags, -peers and -peers-file join a running cluster"},
		{"join from the environment", nil, []string{"ETCD_PEERS_FILE=f"}, 1, "-peers and -peers-file join a running cluster"},
		{"short life of tokens", []string{"--discovery-service-token-ttl=9m"}, nil, 1, "-discovery-service-token-ttl[9m0s] should be at least 10m0s"},
		{"URL of the service without a scheme", []string{"--discovery-service-url=h:80"}, nil, 1, "-discovery-service-url"},
		{"URL of the service with a query", []string{"--discovery-service-url=http://h/?x=1"}, nil, 1, "-discovery-service-url should be an http or https URL with a host and no query: http://h/?x=1"},
		{"no such command", []string{"discovery", "meet"}, []string{"X=1"}, 1, "'etcd discovery meet' is not a command"},
		{"discovery serve word", []string{"discovery", "serve", "word"}, []string{"X=1"}, 1, "'word' is not a valid flag"},
		{"listens twice", []string{"discovery", "serve", "-listen", "http://h:1", "-listen-client-urls", "http://h:2", "-advertise-client-urls", "http://h:2"}, []string{"X=1"}, 1, "set only one of flags -listen and -listen-client-urls"},
		{"no name server", []string{"--discovery-srv", "example.com", "--dns-server", ":53"}, nil, 1, `error verifying flags, -dns-server: discovery: ":53" is no DNS server`},
		{"no time between two looks", []string{"--proxy=on", "--proxy-refresh-interval", "0"}, nil, 1, "-proxy-refresh-interval[0ms] should be at least 1ms"},
		{"no name", []string{"--name="}, nil, 1, `C | etcdmain: couldn't find local name "" in the initial cluster configuration`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if !slices.Contains(args, "--") && len(tt.env) == 0 {
				args = slices.Concat([]string{"--data-dir", filepath.Join(t.TempDir(), "d")}, args)
			}
			r := runWith(args, tt.env, nil)
			if r.status != tt.status || r.served != nil {
				t.Errorf("status %d, serve called: %v, want %d and not\n%s", r.status, r.served != nil, tt.status, r.stderr)
			}
			if !strings.Contains(r.stderr, tt.stderr) {
				t.Errorf("stderr lacks %q:\n%s", tt.stderr, r.stderr)
			}
			if wantUsage := tt.status == exitUsage; wantUsage != (r.stdout == usage) {
				t.Errorf("stdout %q, want the usage: %v", r.stdout, wantUsage)
			}
		})
	}
}

func TestUsageHasEightLines(t *testing.T) {
	if n := strings.Count(usage, "\n"); n != 8 || !strings.HasPrefix(usage, "usage: etcd [flags]\n") {
		t.Errorf("usage has %d lines:\n%s", n, usage)
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	r := runWith([]string{"--nope=1", "-h"}, nil, nil)
	if r.status != exitUsage {
		t.Errorf("a mistake before -h: status %d, want %d", r.status, exitUsage)
	}
	r = runWith([]string{"-h", "--nope"}, nil, nil)
	if r.status != exitGood || !strings.HasPrefix(r.stdout, usage) {
		t.Fatalf("-h: status %d, stdout %q", r.status, r.stdout)
	}
	for _, text := range []string{
		"\nmember flags:\n", "\nclustering flags:\n", "\nproxy flags:\n", "\nsecurity flags:\n", "\nlogging flags:\n",
		"\nunsafe flags:\n", "\nexperimental flags:\n", "\nprofiling flags:\n",
		"\t--name 'default'\n\t\tName of this member",
		"--data-dir '${name}.etcd'", "--heartbeat-interval '100'", "--history-events '100000'", "--min-free-bytes '67108864'",
		"--default-read 'local'", "--agreement-check-interval '5m0s'", "--strict-reconfig-check 'true'", "--cors ''", "--debug 'false'", "--log-format 'text'", "--experimental-gRPC-addr '127.0.0.1:2378'",
	} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("help lacks %q", text)
		}
	}
	for _, hidden := range []string{"--peer-addr", "--vv", "--help"} {
		if strings.Contains(r.stdout, hidden+" '") {
			t.Errorf("help lists %s", hidden)
		}
	}
}

func TestVersion(t *testing.T) {
	r := runWith([]string{"-version"}, []string{"ETCD_PROXY=nonsense"}, nil)
	if r.status != exitGood || !strings.HasPrefix(r.stdout, "etcd Version: 2.3.8\n") || r.stderr != "" {
		t.Errorf("-version: status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	cfg, _ := serves(t, nil, []string{"ETCD_VERSION=true"})
	if cfg.Name != defaultName {
		t.Errorf("ETCD_VERSION changed the member: %+v", cfg)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := runWith([]string{"completion", shell}, nil, nil)
		if r.status != exitGood || !strings.Contains(r.stdout, "etcd") || r.served != nil {
			t.Errorf("completion %s: status %d, %d bytes\n%s", shell, r.status, len(r.stdout), r.stderr)
		}
	}
	r := runWith([]string{"__complete", "--initial-cl"}, nil, nil)
	for _, flag := range []string{"--initial-cluster", "--initial-cluster-state", "--initial-cluster-token"} {
		if !strings.Contains(r.stdout, flag+"\t") {
			t.Errorf("completion of --initial-cl lacks %s:\n%s", flag, r.stdout)
		}
	}
	if r := runWith([]string{"completion", "nonsense"}, nil, nil); r.status == exitGood && r.stdout == "" {
		t.Error("completion nonsense: status 0 and no output")
	}
}

func TestDefaults(t *testing.T) {
	cfg, log := serves(t, nil, nil)
	clients := []string{"http://localhost:2379", "http://localhost:4001"}
	peers := []string{"http://localhost:2380", "http://localhost:7001"}
	for _, tt := range []struct {
		what      string
		got, want []string
	}{
		{"client URLs", cfg.ListenClientURLs, clients},
		{"advertised client URLs", cfg.AdvertiseClientURLs, clients},
		{"peer URLs", cfg.ListenPeerURLs, peers},
		{"advertised peer URLs", cfg.AdvertisePeerURLs, peers},
		{"founding member", cfg.Founding["default"], peers},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s = %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	if cfg.SnapshotCount != 10000 || cfg.HistoryEvents != 100000 || cfg.MinFreeBytes != 64<<20 || cfg.ElectionTicks() != 10 ||
		cfg.DefaultRead != "local" || cfg.AgreementInterval != 5*time.Minute || cfg.SnapshotRate != 64<<20 || !cfg.StrictReconfig {
		t.Errorf("defaults: %+v", cfg)
	}
	if want := filepath.Join(cfg.DataDir, "member", "wal"); cfg.LogDir() != want {
		t.Errorf("log directory %s, want %s", cfg.LogDir(), want)
	}
	for _, line := range []string{"I | etcdmain: etcd Version: 2.3.8", "I | etcdmain: Git SHA: ", "I | etcdmain: setting maximum number of CPUs to "} {
		if !strings.Contains(log, line) {
			t.Errorf("log lacks %q:\n%s", line, log)
		}
	}
}

func TestFlagsReachTheConfig(t *testing.T) {
	cfg, log := serves(t, []string{
		"-name", "m1", "--heartbeat-interval=30", "--election-timeout", "0x3e8", "--wal-dir", "w", "--snapshot-count=0",
		"--cors", "http://a, *", "--history-events=7", "--min-free-bytes=0", "--debug", "--enable-pprof", "--strict-reconfig-check=false",
		"--default-read=quorum", "--agreement-check-interval=0", "--snapshot-rate", "1000",
		"--log-package-levels", "wal=ERROR,raft=T", "--proxy-read-timeout=250", "--max-wals=0", "--experimental-v3demo", "-snapshot=false", "-vv",
	}, nil)
	if cfg.Name != "m1" || cfg.Founding.String() != "m1=http://localhost:2380,m1=http://localhost:7001" {
		t.Errorf("name %q, founding %q", cfg.Name, cfg.Founding)
	}
	if cfg.Heartbeat != 30*time.Millisecond || cfg.Election != time.Second || cfg.ElectionTicks() != 33 || cfg.ProxyReadTimeout != 250*time.Millisecond {
		t.Errorf("times: %v %v %d %v", cfg.Heartbeat, cfg.Election, cfg.ElectionTicks(), cfg.ProxyReadTimeout)
	}
	if cfg.LogDir() != "w" || cfg.SnapshotCount != 10000 || cfg.HistoryEvents != 7 || cfg.MinFreeBytes != 0 || cfg.MaxWALs != 0 {
		t.Errorf("config: %+v", cfg)
	}
	if !cfg.EnablePprof || cfg.StrictReconfig || !slices.Equal(cfg.CORS, []string{"http://a", "*"}) ||
		cfg.DefaultRead != "quorum" || cfg.AgreementInterval != 0 || cfg.SnapshotRate != 1000 {
		t.Errorf("config: %+v", cfg)
	}
	for pkg, want := range map[string]slog.Level{"wal": slog.LevelError, "raft": levelTrace, "store": slog.LevelDebug} {
		if got := cfg.Levels.of(pkg); got != want {
			t.Errorf("level of %s = %v, want %v", pkg, got, want)
		}
	}
	for _, line := range []string{
		"set snapshot count to default 10000", "the experimental v3 flags have no effect",
		`W | flags: flag "-snapshot" is no longer supported - ignoring.`, `flag "-vv" is no longer supported - ignoring.`,
	} {
		if !strings.Contains(log, line) {
			t.Errorf("log lacks %q:\n%s", line, log)
		}
	}
}

func TestFlagsOfOld(t *testing.T) {
	tests := []struct {
		name           string
		args           []string
		client, bind   string
		peer, peerBind string
		founding       string
	}{
		{
			name: "addresses", args: []string{"-name", "m", "-addr", "10.0.0.1:1", "-peer-addr", "127.0.0.1:2"},
			client: "http://10.0.0.1:1", bind: "http://[::]:1", peer: "http://127.0.0.1:2", peerBind: "http://[::]:2",
			founding: "m=http://127.0.0.1:2",
		},
		{
			name: "bare addresses to bind", args: []string{"-addr", "h:1", "-bind-addr", "10.0.0.2", "-peer-addr", "localhost:2", "-peer-bind-addr", "::1"},
			client: "http://h:1", bind: "http://10.0.0.2:1", peer: "http://localhost:2", peerBind: "http://[::1]:2",
			founding: "default=http://localhost:2",
		},
		{
			name: "bare address alone", args: []string{"-bind-addr", "10.0.0.2"},
			client: defaultClientURLs, bind: "http://10.0.0.2:4001", peer: defaultPeerURLs, peerBind: defaultPeerURLs,
			founding: "default=http://localhost:2380,default=http://localhost:7001",
		},
		{
			name: "told cluster", args: []string{"-name", "m", "-peer-addr", "127.0.0.1:2", "-peer-bind-addr", "10.0.0.2:3", "-initial-cluster", "m=http://127.0.0.1:2"},
			client: defaultClientURLs, bind: defaultClientURLs, peer: "http://127.0.0.1:2", peerBind: "http://10.0.0.2:3",
			founding: "m=http://127.0.0.1:2",
		},
		{
			name: "certificate", args: []string{"-addr", "h:1", "-key-file", "k"},
			client: "https://h:1", bind: "https://[::]:1", peer: defaultPeerURLs, peerBind: defaultPeerURLs,
			founding: "default=http://localhost:2380,default=http://localhost:7001",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := serves(t, tt.args, nil)
			for _, part := range []struct{ what, got, want string }{
				{"advertised client URLs", joined(cfg.AdvertiseClientURLs), tt.client},
				{"client URLs", joined(cfg.ListenClientURLs), tt.bind},
				{"advertised peer URLs", joined(cfg.AdvertisePeerURLs), tt.peer},
				{"peer URLs", joined(cfg.ListenPeerURLs), tt.peerBind},
				{"founding members", cfg.Founding.String(), tt.founding},
			} {
				if part.got != part.want {
					t.Errorf("%s = %s, want %s", part.what, part.got, part.want)
				}
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	cfg, log := serves(t, []string{"--name", "flag"}, []string{
		"ETCD_ZOO=1", "PATH=/bin", "ETCD_NAME=env", "ETCD_SNAPSHOT_COUNT=5", "ETCDCTL_PEERS=x", "ETCD_ELECTION_TIMEOUT=", "ETCD_CORS=*",
		"ETCD_EXPERIMENTAL_GRPC_ADDR=h:1", "ETCD_HELP=true", "ETCDX=1", "ETCD_LOG_LEVEL=critical",
	})
	if cfg.Name != "flag" || cfg.SnapshotCount != 5 || cfg.Election != time.Second || joined(cfg.CORS) != "*" {
		t.Errorf("config: %+v", cfg)
	}
	var got []string
	for line := range strings.Lines(log) {
		_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " | ")
		if line, ok := strings.CutPrefix(line, "flags: "); ok {
			got = append(got, line)
		}
	}
	want := []string{
		"recognized and used environment variable ETCD_CORS=*",
		"recognized and used environment variable ETCD_EXPERIMENTAL_GRPC_ADDR=h:1",
		"recognized and used environment variable ETCD_LOG_LEVEL=critical",
		"recognized and used environment variable ETCD_SNAPSHOT_COUNT=5",
		"unrecognized environment variable ETCD_ZOO=1",
		"recognized environment variable ETCD_NAME, but unused: shadowed by corresponding flag ",
		"unrecognized environment variable ETCD_ELECTION_TIMEOUT=",
		"unrecognized environment variable ETCD_HELP=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("log of variables:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(log, "etcdmain") {
		t.Errorf("a line below the level of the log:\n%s", log)
	}
}

func TestHowServeEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	tests := []struct {
		name   string
		err    error
		status int
		stderr string
	}{
		{"stopped", nil, exitGood, ""},
		{"failed", errors.New("disk on fire"), exitError, "C | etcdmain: disk on fire\n"},
		{"removed", fmt.Errorf("late: %w", etcdserver.ErrRemoved), exitGood, "I | etcdserver: the data-dir used by this member must be removed.\n"},
		{"said to be removed", &etcdserver.ExpelledError{By: []string{"n2 a", "n3 b"}}, exitError,
			"C | etcdmain: the other members (n2 a, n3 b) say that this member was removed from the cluster while it was away. Compare GET /v2/members at one of them: " +
				"if this member is not in that list, it cannot come back under its ID and has to be added as a new one; if it is, start it again\n"},
		{"of another cluster", &etcdserver.ConflictError{Remote: 0xa, Local: 0xb}, exitError,
			"\netcd: conflicting cluster ID to the target cluster (a != b). Exiting.\n"},
		{"too old", &etcdserver.DowngradeError{Cluster: "2.9.0"}, exitError,
			"C | etcdserver: cluster cannot be downgraded (current version: 2.3.8 is lower than determined cluster version: 2.9).\n"},
	}
	for _, tt := range tests {
		r := runWith([]string{"--data-dir", dir}, nil, tt.err)
		if r.status != tt.status || r.signal != nil || !strings.HasSuffix(r.stderr, tt.stderr) {
			t.Errorf("%s: status %d, signal %v, want %d, nil and stderr ending in %q:\n%s", tt.name, r.status, r.signal, tt.status, tt.stderr, r.stderr)
		}
	}
}

func TestRestartIgnoresTheInitialCluster(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Create(wal.Config{Dir: filepath.Join(dir, "member", "wal"), SegmentBytes: 1 << 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"--data-dir", dir, "--initial-cluster", "bad", "--initial-cluster-state", "existing"}
	r := runWith(args, nil, nil)
	if r.served == nil || r.served.Founding != nil {
		t.Fatalf("%q on a log: serve called: %v\n%s", args, r.served != nil, r.stderr)
	}
	if want := "N | etcdmain: the server is already initialized as member before, starting as etcd member...\n"; !strings.Contains(r.stderr, want) {
		t.Errorf("log lacks %q:\n%s", want, r.stderr)
	}

	r = runWith([]string{"--data-dir", dir, "--proxy=on", "--discovery", "http://h/t"}, nil, nil)
	if want := `discovery token ignored since a cluster has already been initialized. Valid log found at "` + filepath.Join(dir, "member", "wal") + `"`; r.served == nil || !strings.Contains(r.stderr, want) {
		t.Errorf("discovery on a log: serve called: %v, want %q in\n%s", r.served != nil, want, r.stderr)
	}

	r = runWith([]string{"--data-dir", dir, "--force-new-cluster"}, nil, nil)
	if r.served == nil || !r.served.ForceNewCluster {
		t.Errorf("--force-new-cluster on a log: serve called: %v\n%s", r.served != nil, r.stderr)
	}
}

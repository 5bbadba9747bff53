package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// configFile writes a configuration file and returns its path.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etcd.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParseConfigFile(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []fileSetting
	}{
		{"empty", "", nil},
		{"comment", "# nothing\n---\n", nil},
		{"keys", "name: infra0\n\nheartbeat-interval: 50 # ms\n", []fileSetting{
			{"name", "name", "infra0", 1}, {"heartbeat-interval", "heartbeat-interval", "50", 3}}},
		{"JSON", "{\n\t\"name\": \"infra0\",\n\t\"debug\": true, \"max-wals\": 7\n}", []fileSetting{
			{"name", "name", "infra0", 2}, {"debug", "debug", "true", 3}, {"max-wals", "max-wals", "7", 3}}},
		{"nothing said", "name:\ncors: ~\ndata-dir: ''\ndebug: null\nclient-transport-security:\n", nil},
		{"switches", "debug: yes\nauto-tls: off\nclient-cert-auth: 'true'\nenable-pprof: maybe\n", []fileSetting{
			{"debug", "debug", "true", 1}, {"auto-tls", "auto-tls", "false", 2},
			{"client-cert-auth", "client-cert-auth", "true", 3}, {"enable-pprof", "enable-pprof", "maybe", 4}}},
		{"words that look like switches", "proxy: on\nname: off\n", []fileSetting{{"proxy", "proxy", "on", 1}, {"name", "name", "off", 2}}},
		{"numbers as text", "name: 0x10\nsnapshot-count: '5'\n", []fileSetting{
			{"name", "name", "0x10", 1}, {"snapshot-count", "snapshot-count", "5", 2}}},
		{"lists", "cors: [http://a, http://b]\nlisten-peer-urls:\n- http://c:1\n- http://d:1\nadvertise-client-urls: []\n", []fileSetting{
			{"cors", "cors", "http://a,http://b", 1}, {"listen-peer-urls", "listen-peer-urls", "http://c:1,http://d:1", 2}}},
		{"certificates", "cert-file: a\npeer-transport-security:\n  cert-file: b\n  client-cert-auth: true\n  allowed-cn: m\n", []fileSetting{
			{"cert-file", "cert-file", "a", 1}, {"peer-transport-security.cert-file", "peer-cert-file", "b", 3},
			{"peer-transport-security.client-cert-auth", "peer-client-cert-auth", "true", 4},
			{"peer-transport-security.allowed-cn", "peer-cert-allowed-cn", "m", 5}}},
		{"one for all", "cert-file: &pem all.pem\nkey-file: *pem\n", []fileSetting{
			{"cert-file", "cert-file", "all.pem", 1}, {"key-file", "key-file", "all.pem", 2}}},
		{"of etcd 3", "logger: zap\ncipher-suites: [a]\n", []fileSetting{{"logger", "", "", 1}, {"cipher-suites", "", "", 2}}},
		{"of old", "addr: h:4001\n", []fileSetting{{"addr", "addr", "h:4001", 1}}},
	}
	flags := newOptions(pflag.NewFlagSet("", pflag.ContinueOnError)).flags
	for _, tt := range tests {
		got, err := parseConfigFile([]byte(tt.text), flags)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, error %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestConfigFileRefusals(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // behind the path
	}{
		{"unknown", "name: a\nlisten-client-url: http://h:1\n", `:2: unknown key "listen-client-url"; the nearest known one is "listen-client-urls". See 'etcd --help'.`},
		{"unknown in a map", "client-transport-security: {cert: f}\n", `:1: unknown key "cert"; the nearest known one is "cert-file".`},
		{"of old, without effect", "vv: true\n", `:1: unknown key "vv"; `},
		{"the file itself", "config-file: f\n", `:1: unknown key "config-file"; `},
		{"version", "version: true\n", `:1: unknown key "version"; `},
		{"twice", "name: a\nname: b\n", ":2: name is given already in line 1"},
		{"twice in two ways", "key-file: a\nclient-transport-security:\n  key-file: b\n", ":3: client-transport-security.key-file is given already in line 1"},
		{"no number", "heartbeat-interval: soon\n", `:1: invalid value "soon" for heartbeat-interval: parse error.`},
		{"no switch", "debug: maybe\n", `:1: invalid value "maybe" for debug: parse error.`},
		{"no such word", "initial-cluster-state: foo\n", `:1: invalid value "foo" for initial-cluster-state: want one of new, existing.`},
		{"bad URL", "listen-peer-urls: http://h\n", `:1: invalid value "http://h" for listen-peer-urls: URL address does not have the form "host:port": http://h`},
		{"list for a text", "name: [a]\n", ":1: invalid value for name: want a single value"},
		{"map for a list", "cors: {a: b}\n", ":1: invalid value for cors: want a text or a list of texts"},
		{"list of lists", "cors: [[a]]\n", ":1: invalid value for cors: a list has to be one of texts"},
		{"text for a map", "peer-transport-security: f\n", ":1: peer-transport-security has to be a map of keys to values"},
		{"no map", "- a\n", ":1: the file has to be a map of keys to values"},
		{"no words for keys", "? [a]\n: b\n", ":1: a key has to be a word"},
		{"two documents", "name: a\n---\nname: b\n", ":2: a second document begins; a configuration file has one"},
		{"no YAML", "name: a\nb: c: d\n", ":2: not YAML: mapping values are not allowed in this context"},
		{"contradiction", "initial-cluster: default=http://localhost:2380\ndiscovery: http://h/t\n", "multiple discovery or bootstrap flags are set"},
		{"no heartbeat", "heartbeat-interval: 0\nelection-timeout: 0\n", "-heartbeat-interval[0ms] should be at least 1ms"},
		{"too long", "#" + strings.Repeat(" ", configFileMax), ": a configuration file has at most 1048576 bytes"},
	}
	for _, tt := range tests {
		path := configFile(t, tt.text)
		want := "E | etcdmain: error verifying flags, "
		if strings.HasPrefix(tt.want, ":") {
			want += path
		}
		r := runWith([]string{"--config-file", path}, nil, nil)
		if r.status != exitError || !strings.Contains(r.stderr, want+tt.want) {
			t.Errorf("%s: status %d, want %d and stderr with %q:\n%s", tt.name, r.status, exitError, want+tt.want, r.stderr)
		}
	}
	r := runWith([]string{"--config-file", "none"}, nil, nil)
	if want := "error verifying flags, open none: no such file or directory. See 'etcd --help'."; r.status != exitError || !strings.Contains(r.stderr, want) {
		t.Errorf("no file: status %d, want %q in\n%s", r.status, want, r.stderr)
	}
}

// TestPrecedence has a flag, a variable, a line of the file and the default for
// settings that differ in which of these is the first to be given.
func TestPrecedence(t *testing.T) {
	path := configFile(t, "name: file\nsnapshot-count: 1\nheartbeat-interval: 7\nlisten-client-urls: http://127.0.0.1:1\nlogger: zap\nlog-format: json\n")
	cfg, log := serves(t, []string{"--name=flag"}, []string{"ETCD_CONFIG_FILE=" + path, "ETCD_NAME=variable", "ETCD_SNAPSHOT_COUNT=2"})
	if cfg.Name != "flag" || cfg.SnapshotCount != 2 || cfg.Heartbeat.Milliseconds() != 7 || cfg.Election.Milliseconds() != 1000 {
		t.Errorf("name %q, want that of the flag; snapshot count %d, want that of the variable; heartbeat %v, want that of the file",
			cfg.Name, cfg.SnapshotCount, cfg.Heartbeat)
	}
	if joined(cfg.ListenClientURLs) != "http://127.0.0.1:1" || joined(cfg.AdvertiseClientURLs) != defaultClientURLs {
		t.Errorf("client URLs %q and %q", cfg.ListenClientURLs, cfg.AdvertiseClientURLs)
	}
	for _, text := range []string{`"msg":"Loading server configuration from`, ":5: logger is a setting of etcd 3 and has no effect"} {
		if !strings.Contains(log, text) {
			t.Errorf("log lacks %q:\n%s", text, log)
		}
	}
}

func TestConfigPrint(t *testing.T) {
	path := configFile(t, "name: 'a b: c'\ncors: http://a\ndebug: true\nclient-transport-security:\n  key-file: \"k\"\n")
	args := []string{"config", "print", "--config-file", path, "-addr", "h:4001", "--proxy=on"}
	environ := []string{"ETCD_LOG_PACKAGE_LEVELS=wal=DEBUG"}
	r := runWith(args, environ, nil)
	if r.status != exitGood || r.served != nil {
		t.Fatalf("%q: status %d, serve called: %v\n%s", args, r.status, r.served != nil, r.stderr)
	}
	for _, want := range []string{
		`name: "a b: c"                                                         # ` + path + ":1\n",
		"cors: http://a                                                         # " + path + ":2\n",
		"key-file: k                                                            # " + path + ":5\n",
		`listen-client-urls: "https://[::]:4001"                                # --addr` + "\n",
		"advertise-client-urls: https://h:4001                                  # --addr\n",
		"log-package-levels: wal=DEBUG                                          # ETCD_LOG_PACKAGE_LEVELS\n",
		"# heartbeat-interval: 100                                              # default\n",
		`# data-dir: "a b: c.etcd"                                              # default` + "\n",
	} {
		if !strings.Contains("\n"+r.stdout, "\n"+want) {
			t.Errorf("%q lacks %q:\n%s", args, want, r.stdout)
		}
	}

	values := func(args, environ []string) map[string]string {
		var all []effective
		r := runWith(slices.Concat([]string{"config", "print", "-o", "json"}, args), environ, nil)
		if err := json.Unmarshal([]byte(r.stdout), &all); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		m := make(map[string]string)
		for _, s := range all {
			m[s.Name] = s.Value
		}
		return m
	}
	told, again := values(args[2:], environ), values([]string{"--config-file", configFile(t, r.stdout)}, nil)
	if !reflect.DeepEqual(told, again) || told["name"] != "a b: c" {
		t.Errorf("what was printed means\n%v, want\n%v", again, told)
	}
}

func TestConfigCommands(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		text   string // on standard output or error
	}{
		{[]string{"config"}, exitGood, "Print every setting and where it comes from"},
		{[]string{"config", "show"}, exitError, "'etcd config show' is not a command"},
		{[]string{"config", "print", "word"}, exitError, "'word' is not a valid flag"},
		{[]string{"config", "print", "-o", "xml"}, exitUsage, `invalid value "xml" for flag -output: invalid value`},
		{[]string{"config", "print", "-nope"}, exitUsage, "flag provided but not defined: -nope"},
		{[]string{"config", "print", "-heartbeat-interval=0"}, exitError, "should be at least 1ms"},
		{[]string{"config", "print", "--help"}, exitGood, "can be used as a configuration file"},
	}
	for _, tt := range tests {
		r := runWith(tt.args, nil, nil)
		if r.status != tt.status || r.served != nil || !strings.Contains(r.stdout+r.stderr, tt.text) {
			t.Errorf("%q: status %d, serve called: %v, want %d, not and %q in\n%s%s", tt.args, r.status, r.served != nil, tt.status, tt.text, r.stdout, r.stderr)
		}
	}
}

func TestNearest(t *testing.T) {
	known := map[string]string{"name": "", "data-dir": "", "wal-dir": "", "listen-peer-urls": "", "listen-client-urls": ""}
	for word, want := range map[string]string{
		"nmae": "name", "datadir": "data-dir", "wal_dir": "wal-dir", "listen-urls": "listen-peer-urls", "listen-client-url": "listen-client-urls", "": "name",
		strings.Repeat("x", 5000): "data-dir",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add([]byte("name: infra0\ncors: [a, b]\npeer-transport-security: {auto-tls: yes}\nlogger: zap\n"))
	f.Add([]byte("{\"name\": \"a\",\n\t\"debug\": true}"))
	f.Add([]byte("a: &x [*x]\n---\n"))
	f.Add([]byte("? [a]\n: !!int x\n"))
	flags := newOptions(pflag.NewFlagSet("", pflag.ContinueOnError)).flags
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseConfigFile(text, flags)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, s := range settings {
			if s.flag == "" {
				continue
			}
			if flags.Lookup(s.flag) == nil || s.value == "" || s.line < 1 || seen[s.flag] {
				t.Errorf("parseConfigFile(%q) = %+v", text, s)
			}
			seen[s.flag] = true
		}
	})
}

// TestScalar checks that what config print writes is read back.
func TestScalar(t *testing.T) {
	flags := newOptions(pflag.NewFlagSet("", pflag.ContinueOnError)).flags
	for _, value := range []string{
		"a", "7", "true", "null", "~", "a:b", "a: b", "a #b", "#a", "-", "- a", "*", "&a", "[a]", "{a}", "a:", "'a'", `"a"`, `\`, "a\nb", "ü", "2026-01-01",
		"http://h:1,http://[::]:2", "a=http://h:1", "%", "@a", "`", "!a", "|", ">", "?", "=", "<<", "a\tb", "\u2028",
	} {
		got, err := parseConfigFile([]byte("name: "+scalar(value)+" # x\n"), flags)
		if err != nil || len(got) != 1 || got[0].value != value {
			t.Errorf("%q written as %s is read as %v, error %v", value, scalar(value), got, err)
		}
	}
}

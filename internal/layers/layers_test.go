package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// list asks the go command for all packages of the module on one system.
func list(t *testing.T, goos string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestLayers(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		packages := list(t, goos)
		if len(packages) < 5 {
			t.Errorf("%s: go list found %d packages", goos, len(packages))
		}
		for _, v := range violations(packages) {
			t.Errorf("%s: %s", goos, v)
		}
	}
}

func TestViolations(t *testing.T) {
	tests := []struct {
		name string
		pkg  listed
		want string // part of the complaint, "" for none
	}{
		{"down", listed{ImportPath: "etcd2/wal", Imports: []string{"etcd2/internal/disk", "io", raftpb}}, ""},
		{"up", listed{ImportPath: "etcd2/store", Imports: []string{"etcd2/wal"}}, "store imports etcd2/wal: rung 0 does not know rung 1"},
		{"sideways", listed{ImportPath: "etcd2/wal", Imports: []string{"etcd2/snap"}}, "rung 1 does not know rung 1"},
		{"unknown package", listed{ImportPath: "etcd2/util"}, "util has no place"},
		{"unknown package below a known one", listed{ImportPath: "etcd2/store/util"}, "store/util has no place"},
		{"foreign module", listed{ImportPath: "etcd2/store", Imports: []string{bbolt}}, "this module is not for it"},
		{"raft where raftpb is allowed", listed{ImportPath: "etcd2/wal", Imports: []string{raft}}, "this module is not for it"},
		{"parts of a module", listed{ImportPath: "etcd2/api/v2", Imports: []string{metrics + "/common/expfmt"}}, ""},
		{"a clock in a pure package", listed{ImportPath: "etcd2/etcdserver/replica", Imports: []string{"time"}}, "it is pure"},
		{"time in another package", listed{ImportPath: "etcd2/etcdserver", Imports: []string{"time", "etcd2/etcdserver/replica"}}, ""},
		{"test package in production", listed{ImportPath: "etcd2/wal", Imports: []string{"etcd2/internal/sim"}}, "that is for tests"},
		{"package below a test package", listed{ImportPath: "etcd2/wal", Imports: []string{"etcd2/test/proc"}}, "that is for tests"},
		{"test package", listed{ImportPath: "etcd2/test/replay", Imports: []string{"etcd2/etcdserver", raft}}, ""},
		{"raft far below", listed{ImportPath: "etcd2/proxy", Imports: []string{"etcd2/client"}, Deps: []string{"etcd2/client", raftpb}}, "proxy links " + raftpb},
		{"raft where it belongs", listed{ImportPath: "etcd2/cmd/etcd", Deps: []string{raft}}, ""},
	}
	for _, tt := range tests {
		got := violations([]listed{tt.pkg})
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %q, want none", tt.name, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

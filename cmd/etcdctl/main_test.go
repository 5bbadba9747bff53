package main

import (
	"bytes"
	"strings"
	"testing"

	"etcd2/version"
)

func TestRun(t *testing.T) {
	tests := []struct {
		args           []string
		status         int
		stdout, stderr string // how each begins
	}{
		{[]string{"--version"}, 0, "etcdctl version " + version.Server + "\n", ""},
		{[]string{"-v"}, 0, "etcdctl version " + version.Server + "\n", ""},
		{[]string{}, 0, "Command line client of etcd\n", ""},
		{[]string{"--help"}, 0, "Command line client of etcd\n", ""},
		{[]string{"ls", "/"}, 1, "", `Error:  this build has no command "ls"`},
		{[]string{"--nonsense"}, 1, "", "Error:  unknown flag: --nonsense"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		status := run(tt.args, &stdout, &stderr)
		if status != tt.status || !begins(stdout.String(), tt.stdout) || !begins(stderr.String(), tt.stderr) {
			t.Errorf("etcdctl %q: status %d, stdout %q, stderr %q, want %d, %q, %q",
				tt.args, status, stdout.String(), stderr.String(), tt.status, tt.stdout, tt.stderr)
		}
	}
}

// begins tells whether text begins with want, or is empty when want is.
func begins(text, want string) bool {
	return strings.HasPrefix(text, want) && (want != "" || text == "")
}

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFile makes a file and the directories above it.
func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLookInto(t *testing.T) {
	tests := []struct {
		name  string
		files []string // below the data directory
		want  role
		log   string
		err   string
	}{
		{name: "empty"},
		{name: "member", files: []string{"member/snap/x"}, want: roleMember, log: "already initialized as member before"},
		{name: "proxy", files: []string{"proxy/cluster"}, want: roleProxy, log: "already initialized as proxy before"},
		{name: "both", files: []string{"proxy/cluster", "member/x"}, err: "invalid datadir. Both member and proxy directories exist."},
		{name: "foreign", files: []string{"conf", "member/x"}, want: roleMember, log: "found invalid file/dir conf under data dir DIR (Ignore this if you are upgrading etcd)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range tt.files {
				writeFile(t, filepath.Join(dir, f), "")
			}
			var out bytes.Buffer
			got, err := lookInto(dir, newLogger(&out, formatText, newLevels(slog.LevelInfo)))
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("lookInto = %v, %v, want %v, %q", got, err, tt.want, tt.err)
			}
			if want := strings.ReplaceAll(tt.log, "DIR", dir); !strings.Contains(out.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, out.String())
			}
		})
	}

	log := slog.New(slog.DiscardHandler)
	if got, err := lookInto(filepath.Join(t.TempDir(), "absent"), log); got != roleOpen || err != nil {
		t.Errorf("absent directory: %v, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "f")
	writeFile(t, file, "")
	if _, err := lookInto(file, log); err == nil || err.Error() != "error listing data dir: "+file {
		t.Errorf("a file: error %v", err)
	}
}

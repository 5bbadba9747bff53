package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestRevision(t *testing.T) {
	rev := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	tests := []struct {
		name     string
		settings []debug.BuildSetting
		want     string
	}{
		{"no version control", nil, "unknown"},
		{"clean", []debug.BuildSetting{rev, {Key: "vcs.modified", Value: "false"}}, "0123456"},
		{"changed", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, rev}, "0123456+dirty"},
		{"short", []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}, "abc"},
	}
	for _, tt := range tests {
		if got := revision(tt.settings); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	text := Text("etcd")
	for _, line := range []string{
		"etcd Version: " + Server + "\n", "Git SHA: ", "Go Version: " + runtime.Version() + "\n",
		"Go OS/Arch: " + runtime.GOOS + "/" + runtime.GOARCH + "\n", "Release: " + Release + "\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("text lacks %q:\n%s", line, text)
		}
	}
}

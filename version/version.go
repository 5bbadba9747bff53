// Package version holds the versions of the server and its tools, and compares
// versions.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

const (
	// Server is the release of etcd whose protocol this server speaks. Clients
	// read it from /version and decide by it what they may ask for.
	Server = "2.3.8"
	// Cluster is the highest cluster version this server takes part in.
	Cluster = "2.3.0"
	// MinCluster is the lowest cluster version this server takes part in, and so the
	// lowest version of a server that it works with.
	MinCluster = "2.2.0"
	// Release is the version of this program itself.
	Release = "0.1.0"
)

// GitSHA is the short commit this program was built from, with "+dirty" when the
// tree had changes, or "unknown" when the build did not record it.
func GitSHA() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return revision(info.Settings)
}

// revision finds the commit among the settings of a build.
func revision(settings []debug.BuildSetting) string {
	var sha, dirty string
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			sha = s.Value[:min(7, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if sha == "" {
		return "unknown"
	}
	return sha + dirty
}

// Lines describes the program called name, one fact per line, in the order tools
// expect them.
func Lines(name string) []string {
	return []string{
		name + " Version: " + Server,
		"Git SHA: " + GitSHA(),
		"Go Version: " + runtime.Version(),
		fmt.Sprintf("Go OS/Arch: %s/%s", runtime.GOOS, runtime.GOARCH),
		"Release: " + Release,
	}
}

// Text is Lines as one text that ends with a newline.
func Text(name string) string {
	return strings.Join(Lines(name), "\n") + "\n"
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
)

// role is what the process is, by what its data directory holds.
type role int

const (
	roleOpen   role = iota // nothing decided yet
	roleMember             // a member ran here
	roleProxy              // a proxy ran here
)

// lookInto finds out the role from the data directory. Names it does not know
// are logged and left alone.
func lookInto(dir string, log *slog.Logger) (role, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return roleOpen, nil
	}
	if err != nil {
		return roleOpen, fmt.Errorf("error listing data dir: %s", dir)
	}
	var member, proxy bool
	for _, e := range entries {
		switch e.Name() {
		case "member":
			member = true
		case "proxy":
			proxy = true
		case fixtures, waitingFile:
		default:
			log.Warn(fmt.Sprintf("found invalid file/dir %s under data dir %s (Ignore this if you are upgrading etcd)", e.Name(), dir))
		}
	}
	switch {
	case member && proxy:
		//lint:ignore ST1005 the recorded text
		return roleOpen, errors.New("invalid datadir. Both member and proxy directories exist.")
	case member:
		notice(log, "the server is already initialized as member before, starting as etcd member...")
		return roleMember, nil
	case proxy:
		notice(log, "the server is already initialized as proxy before, starting as etcd proxy...")
		return roleProxy, nil
	}
	return roleOpen, nil
}

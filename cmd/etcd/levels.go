package main

import (
	"fmt"
	"log/slog"
	"strings"
)

// Levels beyond those of slog.
const (
	levelTrace    = slog.LevelDebug - 4
	levelNotice   = slog.LevelInfo + 2
	levelCritical = slog.LevelError + 4
)

// levelNames lists the levels from the least to the most urgent. Each may be
// called by its name or its first letter.
var levelNames = [...]struct {
	name  string
	level slog.Level
}{
	{"TRACE", levelTrace},
	{"DEBUG", slog.LevelDebug},
	{"INFO", slog.LevelInfo},
	{"NOTICE", levelNotice},
	{"WARNING", slog.LevelWarn},
	{"ERROR", slog.LevelError},
	{"CRITICAL", levelCritical},
}

// parseLevel reads the name of a level in upper or lower case.
func parseLevel(text string) (slog.Level, error) {
	upper := strings.ToUpper(text)
	for _, l := range levelNames {
		if upper == l.name || upper == l.name[:1] || upper == "WARN" && l.level == slog.LevelWarn {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("%q is not a level", text)
}

// nameOf is the name of the highest named level that is not above l.
func nameOf(l slog.Level) string {
	name := levelNames[0].name
	for _, known := range levelNames {
		if l >= known.level {
			name = known.name
		}
	}
	return name
}

// levels says how much each package logs.
type levels struct {
	All      slog.LevelVar         // may be changed at any time, by any goroutine
	packages map[string]slog.Level // exceptions; fixed once the member starts
}

func newLevels(all slog.Level) *levels {
	l := new(levels)
	l.All.Set(all)
	return l
}

// of returns the level of a package.
func (l *levels) of(pkg string) slog.Level {
	if level, ok := l.packages[pkg]; ok {
		return level
	}
	return l.All.Level()
}

// setPackages reads a list such as "etcdserver=WARNING,wal=DEBUG"; "*" stands for
// all packages. It fails and changes nothing when an item cannot be read.
func (l *levels) setPackages(list string) error {
	all, packages := l.All.Level(), make(map[string]slog.Level)
	for item := range strings.SplitSeq(list, ",") {
		pkg, name, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return fmt.Errorf("%q is not of the form package=LEVEL", item)
		}
		level, err := parseLevel(name)
		if err != nil {
			return err
		}
		if pkg == "*" {
			all = level
			clear(packages)
			continue
		}
		packages[pkg] = level
	}
	l.All.Set(all)
	l.packages = packages
	return nil
}

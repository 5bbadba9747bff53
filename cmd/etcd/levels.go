package main

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
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
	return 0, fmt.Errorf("couldn't parse log level %s", text)
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

// levels says how much each package logs. It may be changed at any time, by any
// goroutine.
type levels struct {
	table atomic.Pointer[levelTable]
}

// levelTable is one state of levels; it never changes.
type levelTable struct {
	all      slog.Level
	packages map[string]slog.Level // exceptions
}

func newLevels(all slog.Level) *levels {
	l := new(levels)
	l.table.Store(&levelTable{all: all})
	return l
}

// of returns the level of a package.
func (l *levels) of(pkg string) slog.Level {
	t := l.table.Load()
	if level, ok := t.packages[pkg]; ok {
		return level
	}
	return t.all
}

// SetAll gives every package the level called name, or fails and changes nothing.
func (l *levels) SetAll(name string) error {
	level, err := parseLevel(name)
	if err != nil {
		return fmt.Errorf("Invalid log level %s", name) //nolint:staticcheck // the recorded text
	}
	l.table.Store(&levelTable{all: level})
	return nil
}

// setPackages reads a list such as "etcdserver=WARNING,wal=DEBUG"; "*" stands for
// all packages. It fails and changes nothing when an item cannot be read.
func (l *levels) setPackages(list string) error {
	old := l.table.Load()
	next := &levelTable{all: old.all, packages: maps.Clone(old.packages)}
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
			next = &levelTable{all: level}
			continue
		}
		if next.packages == nil {
			next.packages = make(map[string]slog.Level)
		}
		next.packages[pkg] = level
	}
	l.table.Store(next)
	return nil
}

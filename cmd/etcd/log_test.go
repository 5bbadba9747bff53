package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

// logged returns the text of one line without its time.
func logged(t *testing.T, write func(*slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	write(newLogger(&out, formatText, newLevels(levelTrace)))
	line, ok := strings.CutSuffix(out.String(), "\n")
	if !ok || strings.Contains(line, "\n") {
		t.Fatalf("not one line: %q", out.String())
	}
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} `)
	if !stamp.MatchString(line) {
		t.Fatalf("line does not begin with a time: %q", line)
	}
	return stamp.ReplaceAllString(line, "")
}

func TestTextLog(t *testing.T) {
	tests := []struct {
		name  string
		write func(*slog.Logger)
		want  string
	}{
		{"plain", func(l *slog.Logger) { l.Info("hello") }, `I | hello`},
		{"package", func(l *slog.Logger) { l.With("pkg", "wal").Warn("slow") }, `W | wal: slow`},
		{"package of the line", func(l *slog.Logger) { l.With("pkg", "a").Error("e", "pkg", "b") }, `E | b: e`},
		{"facts", func(l *slog.Logger) {
			l.With("pkg", "raft", "member", "8a").Info("became leader", "term", 3, "took", 1500*time.Millisecond)
		}, `I | raft: became leader member=8a term=3 took=1.5s`},
		{"quoted fact", func(l *slog.Logger) { l.Info("m", "a", "x y", "b", "", "c", "q\"\n", "d", errors.New("no")) }, `I | m a="x y" b="" c="q\"\n" d=no`},
		{"message keeps its quotes", func(l *slog.Logger) { l.Info(`couldn't find "x" = <y>`) }, `I | couldn't find "x" = <y>`},
		{"message cannot forge a line", func(l *slog.Logger) { l.Info("a\nb\x1b[0m é") }, `I | a\nb\x1b[0m é`},
		{"groups", func(l *slog.Logger) {
			l.WithGroup("g").With("pkg", "p").Info("m", slog.Group("h", "x", 1), slog.Group("", "y", 2))
		}, `I | m g.pkg=p g.h.x=1 g.y=2`},
		{"notice", func(l *slog.Logger) { notice(l, "n") }, `N | n`},
		{"critical", func(l *slog.Logger) { critical(l, "c") }, `C | c`},
		{"debug", func(l *slog.Logger) { l.Debug("d") }, `D | d`},
		{"trace", func(l *slog.Logger) { l.Log(t.Context(), levelTrace, "t") }, `T | t`},
	}
	for _, tt := range tests {
		if got := logged(t, tt.write); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestLoggersOfOneParentAreApart(t *testing.T) {
	var out bytes.Buffer
	parent := newLogger(&out, formatText, newLevels(slog.LevelInfo)).With("a", 1, "b", 2, "c", 3)
	one, two := parent.With("d", 4), parent.With("e", 5)
	one.Info("x")
	two.Info("y")
	if got := out.String(); !strings.Contains(got, "x a=1 b=2 c=3 d=4\n") || !strings.Contains(got, "y a=1 b=2 c=3 e=5\n") {
		t.Errorf("log:\n%s", got)
	}
}

func TestJSONLog(t *testing.T) {
	var out bytes.Buffer
	critical(newLogger(&out, formatJSON, newLevels(slog.LevelInfo)).With(pkgKey, "wal"), `say "no"`)
	var line struct{ Level, Msg, Pkg string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if line.Level != "CRITICAL" || line.Msg != `say "no"` || line.Pkg != "wal" {
		t.Errorf("line %+v", line)
	}
}

func TestLevels(t *testing.T) {
	var out bytes.Buffer
	levels := newLevels(slog.LevelInfo)
	if err := levels.setPackages("wal=ERROR, raft=D"); err != nil {
		t.Fatal(err)
	}
	log := newLogger(&out, formatText, levels)
	say := func() string {
		out.Reset()
		log.Debug("1")
		log.Info("2")
		log.With("pkg", "wal").Warn("3")
		log.With("pkg", "wal").Error("4")
		log.With("pkg", "raft").Debug("5")
		log.WithGroup("g").With("pkg", "raft").Debug("6")
		var said strings.Builder
		for line := range strings.Lines(out.String()) {
			_, text, _ := strings.Cut(line, " | ")
			said.WriteString(strings.TrimLeft(strings.TrimSpace(text), "walrft: ")[:1])
		}
		return said.String()
	}
	if got := say(); got != "245" {
		t.Errorf("lines %s, want 245", got)
	}
	levels.All.Set(slog.LevelDebug)
	if got := say(); got != "12456" {
		t.Errorf("with all at DEBUG: lines %s, want 12456", got)
	}
	if err := levels.setPackages("raft=T,*=W"); err != nil {
		t.Fatal(err)
	}
	if got := say(); got != "34" {
		t.Errorf("with *=W: lines %s, want 34", got)
	}
	for _, bad := range []string{"wal", "wal=", "wal=LOUD", "wal=E,"} {
		if err := levels.setPackages(bad); err == nil || levels.of("wal") != slog.LevelWarn {
			t.Errorf("setPackages(%q): error %v, level of wal %v", bad, err, levels.of("wal"))
		}
	}
}

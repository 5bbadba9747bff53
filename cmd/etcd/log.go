package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// pkgKey is the attribute that names the package a line comes from. It decides
// the level that counts and is printed before the message.
const pkgKey = "pkg"

// newLogger logs to w in the given format what levels lets through.
func newLogger(w io.Writer, format string, levels *levels) *slog.Logger {
	var out slog.Handler = &textHandler{out: &lockedWriter{w: w}}
	if format == formatJSON {
		out = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: levelTrace, ReplaceAttr: nameLevel})
	}
	return slog.New(&filter{Handler: out, levels: levels})
}

// nameLevel writes our names for levels into JSON lines.
func nameLevel(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.String(slog.LevelKey, nameOf(level))
	}
	return a
}

// filter drops lines below the level of their package.
type filter struct {
	slog.Handler
	levels  *levels
	pkg     string
	grouped bool // inside a group "pkg" is an attribute like any other
}

func (f *filter) Enabled(_ context.Context, level slog.Level) bool {
	return level >= f.levels.of(f.pkg)
}

func (f *filter) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *f
	for _, a := range attrs {
		if a.Key == pkgKey && !f.grouped {
			next.pkg = a.Value.String()
		}
	}
	next.Handler = f.Handler.WithAttrs(attrs)
	return &next
}

func (f *filter) WithGroup(name string) slog.Handler {
	next := *f
	next.grouped = f.grouped || name != ""
	next.Handler = f.Handler.WithGroup(name)
	return &next
}

// lockedWriter keeps the lines of different goroutines apart.
type lockedWriter struct {
	mu sync.Mutex // held while writing
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// textHandler prints lines in the shape that tools reading the log expect:
//
//	2016-06-01 10:11:12.123456 I | etcdserver: published member id=8a0a11c6194fc77
//
// The time is local. The message stands as it is, except that a control character
// in it cannot begin a new line.
type textHandler struct {
	out   io.Writer
	pkg   string
	attrs []byte // already printed, each with a blank before it
	group string // prefix of attribute names
}

func (*textHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	line := make([]byte, 0, 256)
	line = r.Time.AppendFormat(line, "2006-01-02 15:04:05.000000 ")
	line = append(line, nameOf(r.Level)[0])
	line = append(line, " | "...)
	pkg, attrs := h.pkg, slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		pkg, attrs = h.appendAttr(pkg, attrs, a)
		return true
	})
	if pkg != "" {
		line = append(line, pkg...)
		line = append(line, ": "...)
	}
	line = appendMessage(line, r.Message)
	line = append(line, attrs...)
	_, err := h.out.Write(append(line, '\n'))
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		next.pkg, next.attrs = h.appendAttr(next.pkg, next.attrs, a)
	}
	return &next
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.group = h.group + name + "."
	}
	return &next
}

// appendAttr adds " key=value" to line, or, when a names the package, returns
// that.
func (h *textHandler) appendAttr(pkg string, line []byte, a slog.Attr) (string, []byte) {
	if a.Key == pkgKey && h.group == "" {
		return a.Value.String(), line
	}
	return pkg, appendAttr(line, h.group, a)
}

// appendAttr adds " key=value", or the members of a group, each key behind the
// prefix.
func appendAttr(line []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			line = appendAttr(line, prefix, member)
		}
		return line
	}
	if a.Equal(slog.Attr{}) {
		return line
	}
	line = append(line, ' ')
	line = append(line, prefix...)
	line = append(line, a.Key...)
	line = append(line, '=')
	return appendValue(line, v.String())
}

// appendValue adds a value, in quotes when it would not read as one word.
func appendValue(line []byte, value string) []byte {
	awkward := func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || r == unicode.ReplacementChar || !unicode.IsPrint(r)
	}
	if value == "" || strings.ContainsFunc(value, awkward) {
		return strconv.AppendQuote(line, value)
	}
	return append(line, value...)
}

// appendMessage adds the message with its control characters made visible.
func appendMessage(line []byte, message string) []byte {
	if !strings.ContainsFunc(message, unicode.IsControl) {
		return append(line, message...)
	}
	for _, r := range message {
		if unicode.IsControl(r) {
			quoted := strconv.QuoteRune(r)
			line = append(line, quoted[1:len(quoted)-1]...)
			continue
		}
		line = append(line, string(r)...)
	}
	return line
}

// notice logs what is normal but worth more than an Info line.
func notice(log *slog.Logger, message string) {
	log.Log(context.Background(), levelNotice, message)
}

// critical logs why the process ends.
func critical(log *slog.Logger, message string) {
	log.Log(context.Background(), levelCritical, message)
}

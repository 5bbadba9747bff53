// Package docs checks what the documentation says against the program.
//
// A block marked "console" in README.md or docs/ is a transcript: a line that
// begins with "$ " is a command, the lines after it are what it prints. The test
// runs the commands of a file in one shell against one fresh member and compares. The
// commands may start further members, which end with the file. In expected output "…" stands for any text within a line, and a line "..." for
// any lines.
package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Command is one command of a transcript and what it is expected to print.
type Command struct {
	Line int    // in the file, from 1
	Text string // with continuation lines
	Want string // empty when the command prints nothing
}

// Commands returns the commands of all console blocks of a markdown text.
func Commands(markdown string) ([]Command, error) {
	var out []Command
	inside, continued := false, false
	for i, line := range strings.Split(markdown, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if inside && continued {
				return nil, fmt.Errorf("line %d: the block ends inside a command", i+1)
			}
			inside = !inside && strings.TrimSpace(line) == "```console"
		case !inside:
		case continued:
			last := &out[len(out)-1]
			last.Text += "\n" + line
			continued = unfinished(last.Text)
		case strings.HasPrefix(line, "$ "):
			out = append(out, Command{Line: i + 1, Text: line[2:]})
			continued = unfinished(line)
		case len(out) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", i+1)
		default:
			out[len(out)-1].Want += line + "\n"
		}
	}
	if inside {
		return nil, errors.New("the last block does not end")
	}
	return out, nil
}

// unfinished reports whether a command goes on in the next line: after a backslash,
// and in a here-document up to its line "end".
func unfinished(text string) bool {
	document := strings.Contains(text, "<<'end'") && !strings.HasSuffix(text, "\nend")
	return document || strings.HasSuffix(text, `\`)
}

// Matches reports whether output is what a transcript shows.
func Matches(want, got string) bool {
	var expr strings.Builder
	expr.WriteString(`^`)
	for line := range strings.Lines(want) {
		line = strings.TrimSuffix(line, "\n")
		if line == "..." {
			expr.WriteString(`(?s:.*)`)
			continue
		}
		for i, piece := range strings.Split(line, "…") {
			if i > 0 {
				expr.WriteString(`[^\n]*`)
			}
			expr.WriteString(regexp.QuoteMeta(piece))
		}
		expr.WriteString(`\n`)
	}
	expr.WriteString(`$`)
	// A program need not end its output with a newline; a transcript always does.
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	return regexp.MustCompile(expr.String()).MatchString(got)
}

package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

const envPrefix = "ETCD_"

// envName is the variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// note is a log line that has to wait until the log is set up.
type note struct {
	level slog.Level
	text  string
}

// warning is a note that asks for a look.
func warning(form string, args ...any) note {
	return note{slog.LevelWarn, fmt.Sprintf(form, args...)}
}

// fromEnviron sets the flags that the command line left alone from variables in
// the form NAME=value. An empty variable counts as unset. The notes say what
// became of every variable that starts like ours; the error is about the first
// value that a flag refuses.
func (o *options) fromEnviron(environ []string) ([]note, error) {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	var notes []note
	var failed error
	used, shadowed := make(map[string]bool), make(map[string]bool)
	o.flags.VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		value := values[name]
		switch {
		case value == "" || f.Name == "help":
		case f.Changed:
			shadowed[name] = true
		default:
			used[name] = true
			notes = append(notes, note{slog.LevelInfo, fmt.Sprintf("recognized and used environment variable %s=%s", name, withoutPassword(value))})
			if f.Name == "version" {
				return // consumed; it is too late to print the version only
			}
			if err := f.Value.Set(value); err != nil {
				if failed == nil {
					failed = fmt.Errorf("invalid value %q for %s: %w", value, name, err)
				}
				return
			}
			f.Changed = true
			o.sources[f.Name] = source{place: name}
		}
	})
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case used[name] || !strings.HasPrefix(name, envPrefix):
		case shadowed[name]:
			notes = append(notes, note{slog.LevelInfo, fmt.Sprintf("recognized environment variable %s, but unused: shadowed by corresponding flag ", name)})
		default:
			notes = append(notes, note{slog.LevelWarn, "unrecognized environment variable " + entry})
		}
	}
	return notes, failed
}

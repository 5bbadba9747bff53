package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The forms in which settings are printed.
const (
	printYAML = "yaml"
	printJSON = "json"
)

// effective is one setting as it counts, and where it comes from.
type effective struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// configPrint is the command that prints the settings a member would start with.
func (v *invocation) configPrint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print [-o yaml|json] [flags of etcd]",
		Short: "Print every setting and where it comes from",
		Long: `Print every setting a member would start with, and whether it comes from a flag,
a variable, a line of the configuration file or the default. Takes the flags of
etcd. What is printed can be used as a configuration file.`,
		Args:                  noWords,
		DisableFlagsInUseLine: true,
	}
	var form string
	o := withOptions(cmd, func(o *options) error {
		if err := v.configure(o); err != nil {
			return err
		}
		o.settle(slog.New(slog.DiscardHandler))
		return writeSettings(v.stdout, form, o.effective())
	})
	o.flags.VisitAll(func(f *pflag.Flag) { f.Hidden = true }) // etcd --help has them
	form = printYAML
	o.flags.VarP(oneOf(&form, printYAML, printJSON), "output", "o", "form of the output")
	return cmd
}

// effective lists the settings in the order of the help text.
func (o *options) effective() []effective {
	var all []effective
	for _, s := range o.help {
		for _, opt := range s.options {
			if opt.name == "version" || opt.name == "config-file" {
				continue // no settings of a member
			}
			all = append(all, effective{opt.name, opt.value.String(), o.sources[opt.name].String()})
		}
	}
	return all
}

// writeSettings prints the settings. In YAML those with their defaults are
// comments, so that the output says no more than what was told.
func writeSettings(w io.Writer, form string, all []effective) error {
	if form == printJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(all)
	}
	var text strings.Builder
	for _, s := range all {
		mark := ""
		if s.Source == (source{}).String() {
			mark = "# "
		}
		fmt.Fprintf(&text, "%-70s # %s\n", mark+s.Name+": "+scalar(s.Value), s.Source)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// plain matches the texts that mean themselves in YAML.
var plain = regexp.MustCompile(`^[A-Za-z0-9./][-A-Za-z0-9_./=,:@]*[-A-Za-z0-9_./=,]$|^[A-Za-z0-9/]$`)

// scalar writes a value so that YAML reads it back.
func scalar(value string) string {
	if plain.MatchString(value) && value != "null" && value != "Null" && value != "NULL" {
		return value
	}
	return strconv.Quote(value)
}

package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// spell rewrites arguments into the one spelling the flag library reads:
// --name=value. Flags may come with one dash or two, and their value behind "="
// or as the next argument, whatever that looks like. The first argument that is
// no flag ends the flags, as "--" does, and a request for help ends everything.
// Mistakes are left in place for the library to report.
func spell(flags *pflag.FlagSet, args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			return append(out, args[i:]...)
		}
		name, _, joined := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		if name == "h" || name == "help" {
			return append(out, "--help")
		}
		arg = "--" + strings.TrimPrefix(arg[1:], "-")
		f := flags.Lookup(name)
		if needsNext := f != nil && f.NoOptDefVal == "" && !joined; needsNext && i+1 < len(args) {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

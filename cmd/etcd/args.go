package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// spellAll rewrites the arguments of the program: the flags of root or, when the
// arguments begin with the name of a sub-command, of that.
func spellAll(root *cobra.Command, args []string) []string {
	cmd, words := root, 0
	for words < len(args) {
		i := slices.IndexFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == args[words] })
		if i < 0 {
			break
		}
		cmd = cmd.Commands()[i]
		words++
	}
	return slices.Concat(args[:words], spell(cmd.Flags(), args[words:]))
}

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
		f := flags.Lookup(name)
		if short := flags.ShorthandLookup(name[:min(len(name), 1)]); f == nil && short != nil && len(name) == 1 {
			f = short
			arg = strings.Replace(arg, name, short.Name, 1)
		}
		arg = "--" + strings.TrimPrefix(arg[1:], "-")
		if needsNext := f != nil && f.NoOptDefVal == "" && !joined; needsNext && i+1 < len(args) {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// command is the command line as cobra has it: without a sub-command a member.
// Words that are neither a flag nor a sub-command are an error, save for the shell
// completion that cobra adds.
func (v *invocation) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "etcd",
		Short:         "Serve the etcd v2 API",
		Args:          noWords,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	o := withOptions(root, v.member)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	defaultHelp := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd != root {
			defaultHelp(cmd, args)
			return
		}
		writeHelp(cmd.OutOrStdout(), o.help)
	})
	root.AddCommand(
		group("config", "Look at the settings without starting a member", v.configPrint()),
		group("discovery", "Help the members of a new cluster find each other", v.discoveryShow(), v.discoveryServe()),
	)
	return root
}

// withOptions gives a command the flags of the server and runs it once they are
// read from the command line.
func withOptions(cmd *cobra.Command, run func(*options) error) *options {
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	o := newOptions(flags)
	cmd.RunE = func(*cobra.Command, []string) error { return run(o) }
	return o
}

// group is a command that only has sub-commands.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use:   name,
		Short: short,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) > 0 {
				return &verifyError{fmt.Errorf("'%s %s' is not a command", cmd.CommandPath(), words[0])}
			}
			return cmd.Help()
		},
	}
	g.AddCommand(commands...)
	return g
}

// noWords refuses the first argument that is no flag.
func noWords(_ *cobra.Command, words []string) error {
	if len(words) > 0 {
		return &verifyError{fmt.Errorf("'%s' is not a valid flag", words[0])}
	}
	return nil
}

// flagError puts a mistake on the command line into the words that Go's own flag
// package has for it, which name every flag with one dash.
func flagError(err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return &usageError{"flag provided but not defined: -" + unknown.GetSpecifiedName()}
	case errors.As(err, &bare):
		return &usageError{"flag needs an argument: -" + bare.GetSpecifiedName()}
	case errors.As(err, &bad):
		f, form := bad.GetFlag(), "invalid value %q for flag -%s: %v"
		if f.Value.Type() == kindBool {
			form = "invalid boolean value %q for -%s: %v"
		}
		return &usageError{fmt.Sprintf(form, bad.GetValue(), f.Name, bad.Unwrap())}
	}
	return &usageError{err.Error()}
}

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newCommand is the command line as cobra has it. It calls start once the flags
// are read; words that are no flags are an error, save for the shell completion
// that cobra adds.
func newCommand(start func(*options) error) (*cobra.Command, *options) {
	root := &cobra.Command{
		Use:           "etcd",
		Short:         "Serve the etcd v2 API",
		Args:          noWords,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	flags := root.Flags()
	flags.SetInterspersed(false)
	o := newOptions(flags)
	root.RunE = func(*cobra.Command, []string) error { return start(o) }
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	defaultHelp := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd != root {
			defaultHelp(cmd, args)
			return
		}
		writeHelp(cmd.OutOrStdout(), o.help)
	})
	return root, o
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
		if f.Value.Type() == "bool" {
			form = "invalid boolean value %q for -%s: %v"
		}
		return &usageError{fmt.Sprintf(form, bad.GetValue(), f.Name, bad.Unwrap())}
	}
	return &usageError{err.Error()}
}

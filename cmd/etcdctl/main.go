// Command etcdctl is the command line client of the server. It tells its version;
// it has no commands that talk to a cluster, and says so when asked for one.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"etcd2/version"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(stderr, "Error: ", err)
		return 1
	}
	return 0
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "etcdctl",
		Short:         "Command line client of etcd",
		Version:       version.Server,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("this build has no command %q; the API answers at http://HOST:2379/v2/keys", words[0])
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("etcdctl version {{.Version}}\n")
	return root
}

package main

import (
	"fmt"
	"io"
)

// usage is what follows a mistake on the command line.
const usage = `usage: etcd [flags]
       run a member of a cluster

       etcd --version
       print the version and exit

       etcd -h | --help
       print all flags and exit
`

// writeHelp prints the usage and every flag with its default.
func writeHelp(w io.Writer, help []section) {
	io.WriteString(w, usage)
	writeSections(w, help)
	io.WriteString(w, `
Every flag can be given as an environment variable: --data-dir is ETCD_DATA_DIR.
A flag counts before its variable, and that before the configuration file.
'etcd config print' prints every setting and where it comes from.
'etcd discovery show' prints the cluster that SRV records describe.
'etcd discovery serve' runs a discovery service on its own.
'etcd completion SHELL' prints a completion script for bash, zsh, fish or powershell.
`)
}

// writeSections prints flags with their defaults.
func writeSections(w io.Writer, help []section) {
	for _, s := range help {
		fmt.Fprintf(w, "\n%s:\n\n", s.title)
		for _, opt := range s.options {
			shown := opt.shown
			if shown == "" {
				shown = opt.value.String()
			}
			fmt.Fprintf(w, "\t--%s '%s'\n\t\t%s\n", opt.name, shown, opt.usage)
		}
	}
}

package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

// option is one flag.
type option struct {
	name  string
	value pflag.Value
	usage string
	shown string // the default as help shows it, when it is not that of the value
}

// section is a group of flags in the help text.
type section struct {
	title   string
	options []option
}

// options is the command line: the settings, the flags of old that are turned
// into settings by check, and the flags themselves.
type options struct {
	cfg     *Config
	legacy  legacy
	version bool
	preview preview
	flags   *pflag.FlagSet
	help    []section
}

// preview holds the flags of the v3 preview of 2.3, which have no effect here.
type preview struct {
	demo      bool
	addr      string
	retention int
}

// newOptions returns the defaults and registers every flag with flags.
func newOptions(flags *pflag.FlagSet) *options {
	o := &options{cfg: newConfig(), flags: flags}
	o.preview.addr = "127.0.0.1:2378"
	o.help = o.sections()
	for _, s := range o.help {
		for _, opt := range s.options {
			o.register(opt)
		}
	}
	for _, opt := range o.legacy.options() {
		o.register(opt).Hidden = true
	}
	return o
}

// register adds one flag; a boolean one needs no value.
func (o *options) register(opt option) *pflag.Flag {
	f := o.flags.VarPF(opt.value, opt.name, "", opt.usage)
	if f.Value.Type() == "bool" {
		f.NoOptDefVal = "true"
	}
	return f
}

// set tells whether the flag was given, on the command line or in the
// environment.
func (o *options) set(name string) bool {
	f := o.flags.Lookup(name)
	if f == nil {
		panic(fmt.Sprintf("etcd: no flag %q", name))
	}
	return f.Changed
}

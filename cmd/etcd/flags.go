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
	cfg        *Config
	legacy     legacy
	version    bool
	preview    preview
	configFile string
	flags      *pflag.FlagSet
	help       []section
	sources    map[string]source // of the flags that are set
}

// source is where a setting comes from; the zero value is that of a default.
type source struct {
	place string // "--name", "ETCD_NAME" or the path of the configuration file
	line  int    // in the file, from 1; 0 elsewhere
}

func (s source) String() string {
	switch {
	case s == source{}:
		return "default"
	case s.line > 0:
		return fmt.Sprintf("%s:%d", s.place, s.line)
	}
	return s.place
}

// preview holds the flags of the v3 preview of 2.3, which have no effect here.
type preview struct {
	demo      bool
	addr      string
	retention int
}

// newOptions returns the defaults and registers every flag with flags.
func newOptions(flags *pflag.FlagSet) *options {
	o := &options{cfg: newConfig(), flags: flags, sources: make(map[string]source)}
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
	if f.Value.Type() == kindBool {
		f.NoOptDefVal = "true"
	}
	return f
}

// read takes the settings that the command line left open from the environment
// and then from the configuration file. The notes are for the log, as soon as
// there is one.
func (o *options) read(environ []string) ([]note, error) {
	o.flags.Visit(func(f *pflag.Flag) { o.sources[f.Name] = source{place: "--" + f.Name} })
	notes, err := o.fromEnviron(environ)
	if err != nil {
		return notes, err
	}
	more, err := o.fromFile()
	if err != nil {
		err = &verifyError{err}
	}
	return append(notes, more...), err
}

// set tells whether the flag was given, on the command line, in the environment
// or in the configuration file.
func (o *options) set(name string) bool {
	f := o.flags.Lookup(name)
	if f == nil {
		panic(fmt.Sprintf("etcd: no flag %q", name))
	}
	return f.Changed
}

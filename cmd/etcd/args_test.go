package main

import (
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSpell(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"two dashes", []string{"--name", "a"}, []string{"--name=a"}},
		{"one dash", []string{"-name", "a"}, []string{"--name=a"}},
		{"joined", []string{"-name=a", "--data-dir=b"}, []string{"--name=a", "--data-dir=b"}},
		{"value with =", []string{"-name", "a=b=c"}, []string{"--name=a=b=c"}},
		{"empty value", []string{"-name", "", "-data-dir="}, []string{"--name=", "--data-dir="}},
		{"value like a flag", []string{"-name", "-data-dir", "-data-dir", "--x"}, []string{"--name=-data-dir", "--data-dir=--x"}},
		{"negative number", []string{"-snapshot-count", "-1"}, []string{"--snapshot-count=-1"}},
		{"value that is two dashes", []string{"-name", "--", "-debug"}, []string{"--name=--", "--debug"}},
		{"a switch takes no next argument", []string{"-debug", "false", "-name", "a"}, []string{"--debug", "false", "-name", "a"}},
		{"a switch with a value", []string{"-debug=false"}, []string{"--debug=false"}},
		{"flag of one letter", []string{"-v", "-vv"}, []string{"--v", "--vv"}},
		{"word", []string{"-name", "a", "word", "-name", "b"}, []string{"--name=a", "word", "-name", "b"}},
		{"lone dash is a word", []string{"-", "-name"}, []string{"-", "-name"}},
		{"two dashes end the flags", []string{"--", "-name"}, []string{"--", "-name"}},
		{"help ends everything", []string{"-name", "a", "-h", "--nonsense"}, []string{"--name=a", "--help"}},
		{"long help with one dash", []string{"-help"}, []string{"--help"}},
		{"unknown", []string{"-nonsense", "-name=a"}, []string{"--nonsense", "--name=a"}},
		{"three dashes", []string{"---name"}, []string{"---name"}},
		{"missing value", []string{"-name"}, []string{"--name"}},
		{"short form", []string{"-o", "json", "-o=yaml", "-ox"}, []string{"--output=json", "--output=yaml", "--ox"}},
		{"completion", []string{"__complete", "--na"}, []string{"__complete", "--na"}},
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	newOptions(flags)
	flags.StringP("output", "o", "", "")
	for _, tt := range tests {
		if got := spell(flags, tt.args); !slices.Equal(got, tt.want) {
			t.Errorf("%s: spell(%q) = %q, want %q", tt.name, tt.args, got, tt.want)
		}
	}
}

// goValue gives one of our values to Go's flag package.
type goValue struct{ pflag.Value }

func (v goValue) IsBoolFlag() bool { return v.Type() == "bool" }

// readByGo reads arguments with Go's flag package, which the recorded server
// used: what is left over, the settings, and the error.
func readByGo(args []string) (rest []string, o *options, err error) {
	o = newOptions(pflag.NewFlagSet("", pflag.ContinueOnError))
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {} // it prints every flag
	o.flags.VisitAll(func(f *pflag.Flag) { flags.Var(goValue{f.Value}, f.Name, "") })
	err = flags.Parse(args)
	return flags.Args(), o, err
}

// readByUs reads arguments the way the program does.
func readByUs(args []string) (rest []string, o *options, err error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {}
	o = newOptions(flags)
	if err = flags.Parse(spell(flags, args)); err != nil && !errors.Is(err, pflag.ErrHelp) {
		err = flagError(err)
	}
	return flags.Args(), o, err
}

// TestReadsAsGoDoes puts arguments in random order to both readers.
func TestReadsAsGoDoes(t *testing.T) {
	words := []string{
		"-name", "--name", "--name=a=b", "-name=", "-data-dir", "--debug", "-debug", "-debug=false", "--debug=maybe", "-vv", "-v=1",
		"-h", "--help", "word", "-", "--", "---name", "--=x", "-nope", "--nope=1", "", "-max-wals", "--max-wals=0x10", "7", "-1", "x",
		"-proxy", "on", "maybe", "-listen-peer-urls", "http://b:1,http://a:1", "http://a:1/x", "-bind-addr", "10.0.0.1", "-addr=h:1",
	}
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	for range 5_000 {
		args := make([]string, random.IntN(6))
		for i := range args {
			args[i] = words[random.IntN(len(words))]
		}
		wantRest, want, wantErr := readByGo(args)
		rest, got, err := readByUs(args)
		if errors.Is(wantErr, flag.ErrHelp) {
			if !errors.Is(err, pflag.ErrHelp) {
				t.Fatalf("%q: error %v, want help", args, err)
			}
			continue
		}
		if wantErr != nil {
			if text, _, _ := strings.Cut(wantErr.Error(), "\n"); err == nil || err.Error() != text {
				t.Fatalf("%q: error %v, want %s", args, err, text)
			}
			continue
		}
		if err != nil || !slices.Equal(rest, wantRest) {
			t.Fatalf("%q: left over %q, error %v, want %q", args, rest, err, wantRest)
		}
		want.flags.VisitAll(func(f *pflag.Flag) {
			if v := got.flags.Lookup(f.Name).Value.String(); v != f.Value.String() {
				t.Fatalf("%q: %s = %q, want %q", args, f.Name, v, f.Value)
			}
		})
	}
}

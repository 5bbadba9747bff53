package main

import (
	"slices"
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
		{"completion", []string{"__complete", "--na"}, []string{"__complete", "--na"}},
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	newOptions(flags)
	for _, tt := range tests {
		if got := spell(flags, tt.args); !slices.Equal(got, tt.want) {
			t.Errorf("%s: spell(%q) = %q, want %q", tt.name, tt.args, got, tt.want)
		}
	}
}

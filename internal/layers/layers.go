// Package layers holds the rule of who may import whom, and its test.
//
// Packages stand on the rungs of a ladder and import only lower rungs; packages
// on one rung do not know each other. Each may use only the external modules the
// table gives it. A package that is missing in the table breaks the rule, so
// that a new one begins with a decision about its place.
package layers

import (
	"fmt"
	"strings"
)

// module is the import path of this module.
const module = "etcd2"

// place is where a package stands and which modules it may use.
type place struct {
	rung    int
	modules []string
}

// External modules, by the import path they begin with.
const (
	raft     = "go.etcd.io/raft/v3"
	raftpb   = "go.etcd.io/raft/v3/raftpb"
	protobuf = "google.golang.org/protobuf"
	bbolt    = "go.etcd.io/bbolt"
	metrics  = "github.com/prometheus"
	cobra    = "github.com/spf13"
	system   = "golang.org/x/sys"
	bcrypt   = "golang.org/x/crypto/bcrypt"
	dns      = "github.com/miekg/dns"
	rates    = "golang.org/x/time/rate"
	yaml     = "go.yaml.in/yaml/v4"
)

// places is the ladder.
var places = map[string]place{
	"store":              {rung: 0},
	"membership":         {rung: 0},
	"identity":           {rung: 0},
	"auth":               {rung: 0, modules: []string{bcrypt}},
	"internal/cors":      {rung: 0},
	"internal/disk":      {rung: 0, modules: []string{system}},
	"internal/tlsconf":   {rung: 0},
	"internal/openfiles": {rung: 0},
	"internal/pause":     {rung: 0},
	"version":            {rung: 0},

	"raftnode": {rung: 1, modules: []string{raft, protobuf}},
	"wal":      {rung: 1, modules: []string{raftpb, protobuf}},
	"snap":     {rung: 1, modules: []string{raftpb, protobuf, bbolt}},
	"peer":     {rung: 1, modules: []string{raftpb, protobuf}},
	"client":   {rung: 1},

	"localstate": {rung: 1},

	"etcdserver": {rung: 2, modules: []string{raftpb, protobuf}},
	"discovery":  {rung: 2, modules: []string{dns}},

	"api/v2":        {rung: 3, modules: []string{metrics}},
	"api/discovery": {rung: 3, modules: []string{rates}},
	"api/legacy":    {rung: 3},
	"api/mod":       {rung: 3},
	"proxy":         {rung: 3, modules: []string{metrics}},
	"etcdctl":       {rung: 3, modules: []string{cobra}},

	"cmd/etcd":    {rung: 4, modules: []string{cobra, yaml}},
	"cmd/etcdctl": {rung: 4, modules: []string{cobra}},
}

// testOnly are packages for tests, and all packages below them. They may import
// anything and production code imports none of them.
var testOnly = []string{"internal/sim", "internal/layers", "snap/snaptest", "test"}

// withoutRaft are packages whose programs must stay free of raft, however deep.
var withoutRaft = []string{"store", "membership", "auth", "proxy", "etcdctl", "cmd/etcdctl"}

// listed is a package as "go list" describes it.
type listed struct {
	ImportPath string
	Imports    []string // of its production code
	Deps       []string // all that these import in turn
}

// violations returns one sentence for every import that breaks the rule.
func violations(packages []listed) []string {
	var broken []string
	report := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if within(name, testOnly) {
			continue
		}
		own, ok := places[name]
		if !ok {
			report("%s has no place in the table of internal/layers", name)
			continue
		}
		for _, imported := range p.Imports {
			if complaint := own.check(imported); complaint != "" {
				report("%s imports %s: %s", name, imported, complaint)
			}
		}
		if within(name, withoutRaft) {
			for _, dep := range p.Deps {
				if within(dep, []string{raft}) {
					report("%s links %s and must not", name, dep)
				}
			}
		}
	}
	return broken
}

// check says what is wrong with an import by a package of this place, or "".
func (own place) check(imported string) string {
	name, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		first, _, _ := strings.Cut(imported, "/")
		if strings.Contains(first, ".") && !within(imported, own.modules) {
			return "this module is not for it"
		}
		return ""
	}
	if within(name, testOnly) {
		return "that is for tests"
	}
	other, ok := places[name]
	if ok && other.rung >= own.rung {
		return fmt.Sprintf("rung %d does not know rung %d", own.rung, other.rung)
	}
	return ""
}

// within tells whether name is one of the paths or below one.
func within(name string, paths []string) bool {
	for _, p := range paths {
		if name == p || strings.HasPrefix(name, p+"/") {
			return true
		}
	}
	return false
}

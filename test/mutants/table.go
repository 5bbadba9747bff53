package main

import "slices"

// mutant is a bug planted in one place.
type mutant struct {
	name string   // what the program does wrong
	file string   // in the module
	old  string   // stands there exactly once
	new  string   // takes its place
	test []string // arguments of go test; it has to fail
}

// Tests that look for mutants.
var (
	simulation = []string{"./internal/sim", "-run", "^TestSim$"}
	logTests   = []string{"./wal", "-run", "Flipped|Vote"}
	walTests   = []string{"./wal"}
	proxyTests = []string{"./proxy"}
	raftTests  = []string{"./raftnode", "-run", "Merge|Candidate"}
	slowTests  = []string{"./raftnode", "-run", "SlowApplier", "-timeout", "30s"} // hangs
	storeTests = []string{"./store"}
	snapTests  = []string{"./snap"}
	server     = []string{"./etcdserver", "-run", "Lost|Refused|Forward"}
	members    = []string{"./membership"}
	machine    = []string{"./etcdserver/replica"}
	identities = []string{"./identity"}
	memberAPI  = []string{"./api/v2", "-run", "Member"}
)

// mutants are the mistakes that the tests are known to find. docs/testing.md
// lists them.
var mutants = slices.Concat(raftMutants, logMutants, serverMutants, memberMutants, edgeMutants)

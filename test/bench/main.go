// Command bench measures a server of this project as a process on loopback and,
// when one is installed, etcd 3.4 with its v2 API beside it: the same load, the
// same machine, one after the other.
//
// It prints one markdown table. The column for etcd 2.3.8 holds figures measured
// once on a two-core machine; they are there for orientation, and for the rows
// with a million keys they are what the aims refer to. Nothing fails because it
// is slow: the table is for people.
//
// Load comes from wrk when it is installed, and otherwise, and for every row that
// wrk cannot do, from the lean client in this package. Every server gets a fresh
// data directory, which is removed again.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settings are the knobs of a run.
type settings struct {
	etcd     string
	peer     string
	rows     string
	dir      string
	wrk      string
	flags    string
	duration time.Duration
	rounds   int
	keys     int
	watchers int
	peerBig  bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	flag.StringVar(&s.etcd, "etcd", "bin/etcd", "the server to measure")
	flag.StringVar(&s.flags, "flags", "", "further flags for it, separated by blanks")
	flag.StringVar(&s.peer, "peer", "/usr/bin/etcd", "an etcd 3.4 to put beside it; empty for none")
	flag.StringVar(&s.rows, "rows", "", "rows to run, separated by commas: "+strings.Join(rowNames(), ",")+"; empty for all")
	flag.StringVar(&s.dir, "dir", os.TempDir(), "where the data directories go")
	flag.StringVar(&s.wrk, "wrk", "wrk", "the load generator wrk; empty for the built-in one")
	flag.DurationVar(&s.duration, "duration", 10*time.Second, "length of one measurement")
	flag.IntVar(&s.rounds, "rounds", 1, "measurements of each row, in turns; the middle one counts")
	flag.IntVar(&s.keys, "keys", 1_000_000, "keys of the big rows")
	flag.IntVar(&s.watchers, "watchers", 10_000, "watchers of the watch rows")
	flag.BoolVar(&s.peerBig, "peer-big", false, "run the big rows against etcd 3.4 too; takes minutes and gigabytes")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	rows, err := choose(s.rows)
	if err != nil {
		return err
	}
	if path, err := exec.LookPath(s.wrk); err == nil {
		s.wrk = path
	} else {
		s.wrk = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	targets, err := targetsOf(s)
	if err != nil {
		return err
	}
	for _, r := range rows {
		for round := range s.rounds {
			for i := range targets {
				if r.big && targets[i].peer && !s.peerBig {
					continue
				}
				fmt.Fprintf(os.Stderr, "%s: %s, round %d of %d\n", r.name, targets[i].name, round+1, s.rounds)
				if err := measure(ctx, s, r, &targets[i]); err != nil {
					return fmt.Errorf("%s: %s: %w", r.name, targets[i].name, err)
				}
			}
		}
	}
	printTable(os.Stdout, rows, targets)
	return nil
}

// target is a program to measure and what was measured of it.
type target struct {
	name    string
	binary  string
	flags   []string
	peer    bool
	results map[string][]float64 // figure name → one value for each round
}

// targetsOf lists the programs: ours, and the peer when it is there and answers
// to be a 3.4.
func targetsOf(s settings) ([]target, error) {
	etcd, err := filepath.Abs(s.etcd)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(etcd); err != nil {
		return nil, err
	}
	ts := []target{{name: "etcd2", binary: etcd, flags: strings.Fields(s.flags), results: map[string][]float64{}}}
	if s.peer == "" {
		return ts, nil
	}
	out, err := exec.Command(s.peer, "--version").Output()
	version, _, _ := strings.Cut(string(out), "\n")
	version = strings.TrimPrefix(version, "etcd Version: ")
	if err != nil || !strings.HasPrefix(version, "3.4.") {
		fmt.Fprintf(os.Stderr, "no etcd 3.4 at %s: measuring alone\n", s.peer)
		return ts, nil
	}
	return append(ts, target{
		name: "etcd " + version, binary: s.peer, peer: true, results: map[string][]float64{},
		flags: []string{"--enable-v2", "--logger=zap", "--log-outputs=/dev/null"},
	}), nil
}

// measure runs one row against one target.
func measure(ctx context.Context, s settings, r row, t *target) error {
	dir, err := os.MkdirTemp(s.dir, "etcd2-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	srv, err := start(ctx, t.binary, t.flags, dir, max(r.members, 1))
	if err != nil {
		return err
	}
	defer killAll(append([]*server{srv}, srv.others...))
	figures, err := r.run(ctx, s, srv)
	if err != nil {
		return err
	}
	for _, f := range figures {
		t.results[f.name] = append(t.results[f.name], f.value)
	}
	return nil
}

// figure is one measured value. Its unit and what it is compared with stand in
// the row's list of columns.
type figure struct {
	name  string
	value float64
}

// choose finds the rows of a comma separated list.
func choose(list string) ([]row, error) {
	all := rows()
	if list == "" {
		return all, nil
	}
	var out []row
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no row %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

func rowNames() []string {
	var names []string
	for _, r := range rows() {
		names = append(names, r.name)
	}
	return names
}

// Command etcd runs one member of an etcd v2 cluster.
//
// Its flags, ETCD_ variables, messages and exit statuses are those of etcd 2.3,
// so the command lines, unit files and scripts of that release go on working.
// What a flag asks for is done or refused with an error; a flag without effect
// says so, in the help text or in the log.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"etcd2/version"
)

func main() {
	run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, serve).exit()
}

// serveFunc runs the member until ctx ends or it can no longer keep its
// promises.
type serveFunc func(ctx context.Context, cfg Config, log *slog.Logger) error

// run is the whole program. Nothing in it ends the process, except that a second
// signal does.
func run(args, environ []string, stdout, stderr io.Writer, serve serveFunc) outcome {
	log := newLogger(stderr, formatText, newLevels(slog.LevelInfo))
	var stopped os.Signal
	root, o := newCommand(func(o *options) error {
		if o.version {
			io.WriteString(stdout, version.Text("etcd"))
			return nil
		}
		notes, err := fromEnviron(o.flags, environ)
		log = newLogger(stderr, o.cfg.LogFormat, newLevels(slog.LevelInfo))
		for _, n := range notes {
			log.Log(context.Background(), n.level, n.text, pkgKey, "flags")
		}
		if err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return &verifyError{err}
		}
		o.cfg.Levels = o.startLevels()
		log = newLogger(stderr, o.cfg.LogFormat, o.cfg.Levels)
		stopped, err = start(o, log, serve)
		return err
	})
	root.SetArgs(spell(root.Flags(), args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return outcome{status: report(root.Execute(), o.cfg, stdout, stderr, log), signal: stopped}
}

// start looks into the data directory, checks the initial cluster and serves. It
// returns the signal that ended it, if one did.
func start(o *options, log *slog.Logger, serve serveFunc) (os.Signal, error) {
	o.settle(log)
	main := log.With(pkgKey, "etcdmain")
	for _, line := range version.Lines("etcd") {
		main.Info(line)
	}
	main.Info(fmt.Sprintf("setting maximum number of CPUs to %d, total number of available CPUs is %d",
		runtime.GOMAXPROCS(0), runtime.NumCPU()))
	ctx, signals := watchSignals(context.Background(), log)
	err := bootstrap(ctx, o.cfg, main)
	if err == nil {
		err = serve(ctx, *o.cfg, log)
	}
	return signals.release(), err
}

// Command etcd runs one member of an etcd v2 cluster.
//
// Its flags, ETCD_ variables, messages and exit statuses are those of etcd 2.3,
// so the command lines, unit files and scripts of that release go on working. A
// configuration file is read as etcd 3.4 wrote it; what a flag or a variable says
// too counts before the file. What a setting asks for is done or refused with an
// error; one without effect says so, in the help text or in the log.
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

// serveFunc runs the member or proxy until ctx ends or it can no longer keep its
// promises.
type serveFunc func(ctx context.Context, cfg Config, log *slog.Logger) error

// invocation is one run of the program.
type invocation struct {
	environ        []string
	stdout, stderr io.Writer
	serve          serveFunc
	log            *slog.Logger // replaced once the settings of the log are known
	cfg            *Config      // of the command that runs, nil before
	stopped        os.Signal    // that ended the member, nil without one
}

// run is the whole program. Nothing in it ends the process, except that a second
// signal does.
func run(args, environ []string, stdout, stderr io.Writer, serve serveFunc) outcome {
	v := &invocation{environ: environ, stdout: stdout, stderr: stderr, serve: serve,
		log: newLogger(stderr, formatText, newLevels(slog.LevelInfo))}
	root := v.command()
	root.SetArgs(spellAll(root, args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return outcome{status: report(root.Execute(), v.cfg, stdout, stderr, v.log), signal: v.stopped}
}

// member is the command without a sub-command.
func (v *invocation) member(o *options) error {
	if o.version {
		_, err := io.WriteString(v.stdout, version.Text("etcd"))
		return err
	}
	if err := v.configure(o); err != nil {
		return err
	}
	return v.start(o)
}

// configure completes the settings and checks them. The log is ready from here
// on, also when this fails.
func (v *invocation) configure(o *options) error {
	v.cfg = o.cfg
	notes, err := o.read(v.environ)
	v.log = newLogger(v.stderr, o.cfg.LogFormat, newLevels(slog.LevelInfo))
	for _, n := range notes {
		v.log.Log(context.Background(), n.level, n.text, pkgKey, "flags")
	}
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return &verifyError{err}
	}
	o.cfg.Levels = o.startLevels()
	v.log = newLogger(v.stderr, o.cfg.LogFormat, o.cfg.Levels)
	return nil
}

// start looks into the data directory, checks the initial cluster and serves.
func (v *invocation) start(o *options) error {
	o.settle(v.log)
	main := v.log.With(pkgKey, "etcdmain")
	for _, line := range version.Lines("etcd") {
		main.Info(line)
	}
	main.Info(fmt.Sprintf("setting maximum number of CPUs to %d, total number of available CPUs is %d",
		runtime.GOMAXPROCS(0), runtime.NumCPU()))
	ctx, signals := watchSignals(context.Background(), v.log)
	err := bootstrap(ctx, o.cfg, main)
	switch {
	case ctx.Err() != nil:
		err = nil // asked to stop while it looked for others
	case err == nil:
		err = v.serve(ctx, *o.cfg, v.log)
	}
	v.stopped = signals.release()
	return err
}

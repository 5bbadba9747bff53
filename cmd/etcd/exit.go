package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"etcd2/discovery"
	"etcd2/etcdserver"
	"etcd2/membership"
)

// Exit statuses.
const (
	exitGood  = 0
	exitError = 1
	exitUsage = 2 // the command line cannot be read
)

// usageError says that the command line cannot be read.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// verifyError says that flags contradict each other.
type verifyError struct{ cause error }

func (e *verifyError) Error() string {
	return fmt.Sprintf("error verifying flags, %v. See 'etcd --help'.", e.cause)
}

// outcome is how the process ends: with a status, or by the signal it was asked
// to stop with.
type outcome struct {
	status int
	signal os.Signal // nil without one
}

// report tells the user why the process ends and returns the status. Some errors
// end with a line in the words of the clustering guide.
func report(err error, c *Config, stdout, stderr io.Writer, log *slog.Logger) int {
	log = log.With(pkgKey, "etcdmain")
	var unreadable *usageError
	var unfit *verifyError
	var missing *membership.NotListedError
	var mismatch *membership.MismatchError
	var foreign *etcdserver.ConflictError
	var old *etcdserver.DowngradeError
	var apart *discovery.JoinError
	var absent *discovery.NoSelfError
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, etcdserver.ErrRemoved):
		log = log.With(pkgKey, "etcdserver")
		log.Error(etcdserver.ErrRemoved.Error())
		log.Info("the data-dir used by this member must be removed.")
		return exitGood
	case errors.As(err, &unreadable):
		fmt.Fprintln(stderr, unreadable)
		io.WriteString(stdout, usage)
		return exitUsage
	case errors.As(err, &unfit):
		log.Error(unfit.Error())
		if errors.Is(unfit.cause, errAdvertise) {
			log.Error("When listening on specific address(es), this etcd process must advertise accessible url(s) to each connected client.")
		}
	case errors.As(err, &mismatch):
		log.Info(mismatch.Error())
		for _, hint := range c.hints() {
			log.Info(hint)
		}
		fmt.Fprintf(stderr, "etcd: error setting up initial cluster: %s has different advertised URLs in the cluster and advertised peer URLs list\n", mismatch.Name)
	case errors.As(err, &missing):
		critical(log, missing.Error())
		fmt.Fprintf(stderr, "etcd: %s not listed in the initial cluster config\n", missing.Name)
	case errors.As(err, &foreign):
		critical(log, foreign.Error())
		fmt.Fprintln(stderr, "etcd:", foreign)
	case errors.As(err, &old):
		critical(log.With(pkgKey, "etcdserver"), old.Error())
	case errors.As(err, &apart):
		reportMeeting(apart, c, stderr, log)
	case errors.As(err, &absent):
		critical(log, err.Error())
		fmt.Fprintln(stderr, "etcd:", absent.Guide())
	default:
		critical(log, err.Error())
	}
	return exitError
}

// reportMeeting tells why the founding members did not come together.
func reportMeeting(err *discovery.JoinError, c *Config, stderr io.Writer, log *slog.Logger) {
	lines := err.Lines(c.DataDir)
	for _, line := range lines {
		log.Log(context.Background(), line.Level, line.Text)
	}
	if len(lines) == 0 {
		critical(log, err.Error())
	}
	if guide := err.Guide(); guide != "" {
		fmt.Fprintln(stderr, "etcd:", guide)
	}
}

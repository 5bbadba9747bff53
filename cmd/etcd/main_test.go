package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"etcd2/test/proc"
)

// TestMain turns the test binary into one of the processes that tests start, or
// runs the tests.
func TestMain(m *testing.M) {
	if manner, ok := os.LookupEnv(childEnv); ok {
		child(manner)
	}
	if _, ok := os.LookupEnv(caseEnv); ok {
		os.Exit(caseInside())
	}
	os.Exit(proc.Main(m))
}

// childEnv makes the test binary run the program, with a member that does what
// the value says when it is asked to stop.
const childEnv = "CLI_TEST_CHILD"

// child is the program in a process of its own. It prints "serving" once it
// handles signals.
func child(manner string) {
	run(os.Args[1:], nil, os.Stdout, os.Stderr, func(ctx context.Context, _ Config, _ *slog.Logger) error {
		fmt.Println("serving")
		<-ctx.Done()
		switch manner {
		case "obstinate":
			select {}
		case "failing":
			return errors.New("could not stop in order")
		}
		return nil
	}).exit()
}

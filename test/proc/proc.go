// Package proc runs the server as a process, the way an operator does.
//
// Tests in this tree know the server only from outside: by its command line, its
// ports, its files, its log and its exit status. A Member is one server process
// and the place it lives in; it can be stopped, killed and started again on the
// same data. Everything a test started is gone when the test ends.
//
// The server under test is built once per test binary from cmd/etcd. The variable
// TEST_ETCD names another executable instead (TEST_ETCD_FLAGS adds flags to it),
// so that the same tests can be put to a different implementation of the API.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Foreign reports whether TEST_ETCD names another implementation. Such a server
// is not given the flags that only ours has.
func Foreign() bool { return os.Getenv("TEST_ETCD") != "" }

// built is the executable of this test binary. It is a variable because a Go test
// binary has no other place that all its tests share.
var built executable

// executable is cmd/etcd, compiled when it is first asked for.
type executable struct {
	once sync.Once
	path string
	err  error
}

func (e *executable) get() (string, error) {
	e.once.Do(func() { e.path, e.err = compile() })
	return e.path, e.err
}

// remove deletes the executable. Nothing may ask for it afterwards.
func (e *executable) remove() {
	e.once.Do(func() { e.err = errors.New("the tests are over") })
	if e.path != "" {
		_ = os.RemoveAll(filepath.Dir(e.path))
	}
}

func compile() (string, error) {
	dir, err := os.MkdirTemp("", "etcd2-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "etcd")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	args := []string{"build", "-o", bin}
	if os.Getenv("TEST_ETCD_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "etcd2/cmd/etcd")...).CombinedOutput()
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("go build etcd2/cmd/etcd: %w\n%s", err, out)
	}
	return bin, nil
}

// Binary returns the executable under test and builds it when needed.
func Binary() (string, error) {
	if bin := os.Getenv("TEST_ETCD"); bin != "" {
		return bin, nil
	}
	return built.get()
}

// Main runs the tests of a package and removes the executable that was built for
// them. Call it from TestMain.
func Main(m *testing.M) int {
	defer built.remove()
	return m.Run()
}

// environ is the environment of a server under test: that of the test without
// the variables a server would take as its configuration.
func environ(extra []string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ETCD_") {
			env = append(env, kv)
		}
	}
	return append(env, extra...)
}

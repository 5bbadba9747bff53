// Command mutants plants bugs, one at a time, and runs the test that has to find
// each. It works on a copy of the module. A bug that no test finds is printed as
// ESCAPED, and the exit status is 1.
//
//	go run ./test/mutants [-run expression]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// limit bounds one run of a test. One that hangs has found its mutant, too.
const limit = 3 * time.Minute

func main() {
	expr := flag.String("run", "", "only those whose name matches")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	escaped, err := hunt(ctx, *expr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(2)
	}
	if escaped > 0 {
		fmt.Printf("%d escaped\n", escaped)
		stop()
		os.Exit(1)
	}
}

// hunt tries the mutants whose name matches and returns how many have escaped.
func hunt(ctx context.Context, expr string) (escaped int, err error) {
	match, err := regexp.Compile(expr)
	if err != nil {
		return 0, err
	}
	root, err := moduleRoot()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(dir, root); err != nil {
		return 0, err
	}
	chosen := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !match.MatchString(m.name) })
	if err := passes(ctx, dir, chosen); err != nil {
		return 0, err
	}
	for _, m := range chosen {
		start := time.Now()
		finder, err := m.try(ctx, dir)
		if err != nil {
			return escaped, fmt.Errorf("%s: %w", m.name, err)
		}
		verdict := "caught "
		if finder == "" {
			verdict, finder = "ESCAPED", strings.Join(m.test, " ")
			escaped++
		}
		fmt.Printf("%s  %-70s %s (%.0fs)\n", verdict, m.name, finder, time.Since(start).Seconds())
	}
	return escaped, nil
}

// passes checks that the tests pass as long as nothing is wrong.
func passes(ctx context.Context, dir string, chosen []mutant) error {
	done := map[string]bool{}
	for _, m := range chosen {
		name := strings.Join(m.test, " ")
		if done[name] {
			continue
		}
		done[name] = true
		if out, err := goTest(ctx, dir, m.test...); err != nil {
			return fmt.Errorf("go test %s fails without a mutant: %w\n%s", name, err, out)
		}
	}
	return nil
}

// try plants the mutant, runs its test, takes it out again, and returns what has
// found it, or "".
func (m mutant) try(ctx context.Context, dir string) (finder string, err error) {
	file := filepath.Join(dir, filepath.FromSlash(m.file))
	sane, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(sane), m.old); n != 1 {
		return "", fmt.Errorf("%s has %d places like %q, want 1", m.file, n, m.old)
	}
	sick := strings.Replace(string(sane), m.old, m.new, 1)
	if err := os.WriteFile(file, []byte(sick), 0o600); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(file, sane, 0o600)) }()
	if out, err := goTest(ctx, dir, "./"+filepath.Dir(m.file), "-run", "^$"); err != nil {
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	out, err := goTest(ctx, dir, m.test...)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", nil
	}
	return finderOf(out), nil
}

// goTest runs a test in the copy.
func goTest(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout", limit.String()}, args...)...)
	cmd.Dir = dir
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SIM_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// finderOf reads from the output of a test what has failed.
func finderOf(out string) string {
	if seed := regexp.MustCompile(`SIM_SEED=\d+`).FindString(out); seed != "" {
		return seed
	}
	if name := regexp.MustCompile(`--- FAIL: (\w+)`).FindStringSubmatch(out); name != nil {
		return name[1]
	}
	if line := regexp.MustCompile(`(?m)^panic: .*`).FindString(out); line != "" {
		return line
	}
	return "a failure"
}

// moduleRoot is the directory of the module around the working directory.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// copyModule copies the module without what was built from it.
func copyModule(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, name); {
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist"}, name):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case d.Type().IsRegular() && d.Name() != ".git":
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, b, 0o600)
		}
		return nil
	})
}

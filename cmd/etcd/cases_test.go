package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
)

// recorded is one case: a command line, what surrounds it and what came of it
// when the recorded server ran it. {D} in its texts is a fresh directory, {P0} to
// {P9} are free ports.
type recorded struct {
	Name      string
	Args      []string
	Env       map[string]string
	DNS       map[string][]string // "NAME TYPE" to records; nil leaves the resolver alone
	Addrs     []string            // further addresses of the loopback interface
	Namespace bool                // needs a private network
	Setup     []step
	After     []struct { // what is done while it runs, each when this has been printed
		Until string
		Steps []step
	}
	Signal *struct{ Until, Send string }
	Expect struct {
		Exit              any      // a number, "running" or "signal:N"; nil where only ours ends, with 1
		StderrContains    []string `json:"stderr_contains"`
		StdoutContains    []string `json:"stdout_contains"`
		StderrNotContains []string `json:"stderr_not_contains"`
	}
	ReferenceOnly string `json:"reference_only"` // why ours differs on purpose
	SeedText      string `json:"seed_text"`      // what the documents print in addition
}

// step is one thing done before or while the program runs; one of its fields is
// set.
type step struct {
	Mkdir  string
	Write  string
	Text   string // content for Write
	Cert   string // base name of a pair of certificate and key
	Listen string // port of 127.0.0.1 that somebody else uses
	Start  *struct {
		Args  []string
		Keep  bool
		Until string
	}
	Stub *struct { // somebody who gives fixed answers, by path
		Port   any // a number or its text
		Routes map[string]struct {
			Headers map[string]string
			Body    string
		}
	}
	Disc *struct { // a member that keeps keys for the discovery of others
		Port any
		Keys map[string]string
	}
	HTTP  *request
	Sleep float64 // of the recorded run; ours waits for what is expected instead
}

// request is a question that is repeated until the answer has the status, or any
// good one without it, and contains the text.
type request struct {
	Method   string
	URL      string
	Body     string
	Status   int
	Contains string
}

// private tells whether the case cannot share the network with anything.
func (c *recorded) private() bool { return c.DNS != nil || len(c.Addrs) > 0 || c.Namespace }

// loadCases reads the recorded cases and ours, which have the same form, by name.
func loadCases(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	cases, n := make(map[string]json.RawMessage), 0
	for _, file := range []string{"testdata/cli-cases.json", "testdata/our-cases.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all []json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, raw := range all {
			var c struct{ Name string }
			if err := json.Unmarshal(raw, &c); err != nil {
				t.Fatal(err)
			}
			cases[c.Name] = raw
		}
		n += len(all)
	}
	if len(cases) != n {
		t.Fatalf("%d cases have %d names", n, len(cases))
	}
	return cases
}

func TestCases(t *testing.T) {
	cases := loadCases(t)
	binary, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			var c recorded
			if err := json.Unmarshal(raw, &c); err != nil {
				t.Fatal(err)
			}
			if c.ReferenceOnly != "" {
				t.Skip("differs on purpose: " + c.ReferenceOnly)
			}
			t.Parallel()
			runIsolated(t, caseRun{Case: raw, Binary: binary, Dir: t.TempDir()})
		})
	}
}

// caseEnv makes the test binary run one case, given as a caseRun on its standard
// input, and print what was wrong.
const caseEnv = "CLI_TEST_CASE"

// casePatience is how long a case may take. It is generous: nothing waits for it
// in a good run.
const casePatience = 60 * time.Second

// caseRun is a case and where to run it.
type caseRun struct {
	Case   json.RawMessage
	Binary string
	Dir    string
}

// runIsolated runs a case in a network of its own when the system allows that.
func runIsolated(t *testing.T, r caseRun) {
	t.Helper()
	var c recorded
	if err := json.Unmarshal(r.Case, &c); err != nil {
		t.Fatal(err)
	}
	isolate, err := namespaces()
	switch {
	case err != nil && c.private():
		t.Skip("needs a private network, which this system does not allow: " + err.Error())
	case err != nil:
		for _, wrong := range r.run(t.Context()) {
			t.Error(wrong)
		}
		return
	}
	input, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	// With the race detector a process would take a second to end.
	cmd.Env = append(os.Environ(), caseEnv+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.Stdin = bytes.NewReader(input)
	cmd.SysProcAttr = isolate
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// caseInside is the test binary inside the network of one case.
func caseInside() int {
	input, err := io.ReadAll(os.Stdin)
	if err == nil && len(input) == 0 {
		return 0 // only asked whether it can run at all
	}
	var r caseRun
	var c recorded
	if err == nil {
		err = json.Unmarshal(input, &r)
	}
	if err == nil {
		err = json.Unmarshal(r.Case, &c)
	}
	if err == nil {
		err = furnish(r.Dir, c.Addrs, c.DNS)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	wrong := r.run(context.Background())
	for _, w := range wrong {
		fmt.Println(w)
	}
	return min(len(wrong), 1)
}

// run does what the case says and returns what came out wrong.
func (r caseRun) run(ctx context.Context) (wrong []string) {
	ctx, cancel := context.WithTimeout(ctx, casePatience)
	defer cancel()
	c, err := r.fill()
	if err != nil {
		return []string{err.Error()}
	}
	place := &scene{binary: r.Binary, dir: r.Dir}
	defer place.clear()
	for _, s := range c.Setup {
		if err := place.prepare(ctx, s); err != nil {
			return []string{"setup: " + err.Error()}
		}
	}
	p, err := place.start(c.Args, c.Env)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() {
		if len(wrong) > 0 {
			wrong = append(wrong, "stderr:\n"+p.stderr.String(), "stdout:\n"+p.stdout.String())
		}
	}()
	for _, then := range c.After {
		if !p.stderr.Await(ctx, then.Until, p.ended) {
			return []string{fmt.Sprintf("never printed %q", then.Until)}
		}
		for _, s := range then.Steps {
			if err := place.prepare(ctx, s); err != nil {
				return []string{fmt.Sprintf("after %q: %v", then.Until, err)}
			}
		}
	}
	if c.Signal != nil {
		if !p.stderr.Await(ctx, c.Signal.Until, p.ended) {
			return []string{fmt.Sprintf("never printed %q", c.Signal.Until)}
		}
		if err := p.signal(c.Signal.Send); err != nil {
			return []string{err.Error()}
		}
	}
	return p.judge(ctx, c)
}

// fill puts the directory and free ports into the texts of the case.
func (r caseRun) fill() (*recorded, error) {
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(string(r.Case), "{D}", r.Dir)
	for i, port := range ports {
		text = strings.ReplaceAll(text, fmt.Sprintf("{P%d}", i), port)
	}
	c := new(recorded)
	return c, json.Unmarshal([]byte(text), c)
}

// judge waits for what the case expects of the program and compares.
func (p *program) judge(ctx context.Context, c *recorded) (wrong []string) {
	stderr := c.Expect.StderrContains
	if c.SeedText != "" {
		stderr = append(slices.Clone(stderr), c.SeedText)
	}
	if c.Expect.Exit != "running" {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return []string{"the program did not end"}
		}
	}
	for _, want := range stderr {
		if !p.stderr.Await(ctx, want, p.ended) {
			wrong = append(wrong, fmt.Sprintf("stderr lacks %q", want))
		}
	}
	for _, want := range c.Expect.StdoutContains {
		if !p.stdout.Await(ctx, want, p.ended) {
			wrong = append(wrong, fmt.Sprintf("stdout lacks %q", want))
		}
	}
	for _, unwanted := range c.Expect.StderrNotContains {
		if strings.Contains(p.stderr.String(), unwanted) {
			wrong = append(wrong, fmt.Sprintf("stderr has %q", unwanted))
		}
	}
	if c.Expect.Exit == nil {
		c.Expect.Exit = exitError
	}
	if got, want := p.exit(), fmt.Sprint(c.Expect.Exit); got != want {
		wrong = append(wrong, fmt.Sprintf("exit %s, want %s", got, want))
	}
	return wrong
}

package guide

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"etcd2/test/proc"
)

// stage is a number of hosts, known by their addresses, on which commands run.
type stage interface {
	// start runs a printed command on a host.
	start(t *testing.T, host, command string) *process
	// curl runs curl with these arguments on a host, wants this status, and returns
	// the body.
	curl(t *testing.T, host string, status int, args string) string
	// printed tells whether the addresses are the printed ones, and so the IDs.
	printed() bool
}

// shell runs commands in one directory, with the server under test first in its
// path.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T) shell {
	t.Helper()
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the page needs %s", tool)
		}
	}
	binary := os.Getenv(insideEnv)
	if binary == "" {
		var err error
		if binary, err = proc.Binary(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ETCD_") && !strings.HasPrefix(kv, "PATH=") {
			env = append(env, kv)
		}
	}
	return shell{dir: dir, env: append(env, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))}
}

// command makes a process of argv followed by a shell with the command.
func (s shell) command(ctx context.Context, argv []string, command string) *exec.Cmd {
	argv = append(argv, "sh", "-c", command)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// start runs a server. The shell gives its place to it, so that a kill hits it.
func (s shell) start(t *testing.T, argv []string, command string) *process {
	t.Helper()
	command = "exec env " + command // variables may come first
	p := &process{cmd: s.command(context.Background(), argv, command), log: new(proc.Output), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in its log
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s\n%s", command, p.log)
		}
	})
	return p
}

// curl repeats a request for a while when there is no leader: the pages do not say
// how fast the reader types.
func (s shell) curl(t *testing.T, argv []string, status int, args string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out []byte
	for ctx.Err() == nil {
		var err error
		out, err = s.command(ctx, argv, `curl -sSL -m 10 -w '\n%{http_code}' `+args).CombinedOutput()
		if body, ok := strings.CutSuffix(string(out), fmt.Sprintf("\n%d", status)); ok && err == nil {
			return body
		}
		<-time.After(100 * time.Millisecond) // between two tries at another process
	}
	t.Fatalf("curl %s: %s, want status %d", args, out, status)
	return ""
}

// process is a running command.
type process struct {
	cmd  *exec.Cmd
	log  *proc.Output
	done chan struct{} // closed when it has ended
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// exit waits for the end of the process and returns its exit status.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the server did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// await waits until the process has printed a text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !p.log.Await(ctx, text, p.done) {
		t.Fatalf("the server never printed %q", text)
	}
}

// loopback plays all hosts on one: every printed address and port becomes a free
// port on 127.0.0.1.
type loopback struct {
	shell
	ports map[string]string
}

func newLoopback(t *testing.T) stage { return &loopback{newShell(t), map[string]string{}} }

func (l *loopback) printed() bool { return false }

func (l *loopback) start(t *testing.T, host, command string) *process {
	t.Helper()
	return l.shell.start(t, nil, l.translate(t, host, command))
}

func (l *loopback) curl(t *testing.T, host string, status int, args string) string {
	t.Helper()
	return l.shell.curl(t, nil, status, l.translate(t, host, args))
}

var printedAddress = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+):(\d+)`)

// translate puts real addresses in place of the printed ones. A list that names
// the same place twice names it once afterwards.
func (l *loopback) translate(t *testing.T, host, text string) string {
	t.Helper()
	text = printedAddress.ReplaceAllStringFunc(text, func(address string) string {
		ip, port, _ := net.SplitHostPort(address)
		if ip == "127.0.0.1" || ip == "0.0.0.0" {
			ip = host
		}
		key := ip + ":" + port
		if l.ports[key] == "" {
			c := proc.Reserve(t)
			l.ports[key] = c.Addr().String()
			c.Close()
		}
		return l.ports[key]
	})
	return twice.ReplaceAllStringFunc(text, func(pair string) string {
		if a, b, _ := strings.Cut(pair, ","); a == b {
			return a
		}
		return pair
	})
}

var twice = regexp.MustCompile(`http://127\.0\.0\.1:\d+,http://127\.0\.0\.1:\d+`)

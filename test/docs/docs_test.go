package docs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// root is the top of the repository.
const root = "../.."

// pages returns all documentation files.
func pages(t *testing.T) []string {
	t.Helper()
	out := []string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "CHANGELOG.md")}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTranscripts runs the commands the documentation shows.
func TestTranscripts(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the transcripts need %s", tool)
		}
	}
	for _, page := range pages(t) {
		commands, err := Commands(read(t, page))
		if err != nil {
			t.Errorf("%s: %v", page, err)
		}
		if len(commands) == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			play(t, page, commands)
		})
	}
}

// play runs the commands of one page in one shell.
func play(t *testing.T, page string, commands []Command) {
	m := proc.Start(t, proc.Options{})
	bin, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	sh := newShell(t, filepath.Dir(bin))
	there, back := addresses(t, m)
	for _, c := range commands {
		got, err := sh.run(there.Replace(c.Text))
		if err != nil {
			t.Fatalf("%s:%d: %s: %v", page, c.Line, c.Text, err)
		}
		if got = back.Replace(got); !Matches(c.Want, got) {
			t.Errorf("%s:%d: %s\nprints\n%s\nthe page says\n%s", page, c.Line, c.Text, got, c.Want)
		}
	}
}

// addresses translates the commands of a page and what they print. The pages show
// the default addresses; the member under test has others. Members that a page
// starts itself are shown at 2479 and 2480, 2579 and 2580, and so on; each has the
// ports of a member that is never started.
func addresses(t *testing.T, m *proc.Member) (there, back *strings.Replacer) {
	t.Helper()
	to := []string{"localhost:2379", m.Client}
	var from []string
	translate := func(hundreds int, m *proc.Member) {
		client, peer := fmt.Sprintf("127.0.0.1:2%d79", hundreds), fmt.Sprintf("127.0.0.1:2%d80", hundreds)
		to = append(to, client, m.Client, peer, m.Peer)
		from = append(from, m.Client, client, m.Peer, peer)
	}
	translate(3, m)
	for hundreds := 4; hundreds < 10; hundreds++ {
		translate(hundreds, proc.New(t, proc.Options{}))
	}
	return strings.NewReplacer(to...), strings.NewReplacer(from...)
}

// shell is a running bash that is given one command at a time.
type shell struct {
	in  io.Writer
	out *bufio.Reader
}

// shellPatience bounds a whole page. A command that hangs is ended with its shell.
const shellPatience = 2 * time.Minute

func newShell(t *testing.T, path string) *shell {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), shellPatience)
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // which runs the trap
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its status says nothing about the commands it ran
		_ = w.Close()
		close(done)
	}()
	t.Cleanup(func() {
		stop()
		_ = r.Close()
		<-done
	})
	s := &shell{in: in, out: bufio.NewReader(r)}
	// Members that a page has started end with it, whatever went wrong.
	if _, err := s.run(`trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT`); err != nil {
		t.Fatal(err)
	}
	return s
}

// run gives the shell a command and returns what it prints until it is done.
func (s *shell) run(command string) (string, error) {
	const mark = "-- end of command --"
	if _, err := fmt.Fprintf(s.in, "%s\nprintf '\\n%s\\n'\n", command, mark); err != nil {
		return "", err
	}
	var out strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return out.String(), fmt.Errorf("the shell ended: %w; so far %q", err, out.String())
		}
		if line == mark+"\n" {
			// The newline before the mark is ours.
			return strings.TrimSuffix(out.String(), "\n"), nil
		}
		out.WriteString(line)
	}
}

// TestFlagsExist looks up every flag the documentation names in the program's own
// list.
func TestFlagsExist(t *testing.T) {
	bin, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(bin, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`--[a-z][a-z0-9-]+`).FindAllString(string(help), -1)
	for _, page := range pages(t) {
		if !slices.Contains([]string{"README.md", "operations.md", "differences.md"}, filepath.Base(page)) {
			continue
		}
		for _, m := range regexp.MustCompile("`(--[a-z][a-z0-9-]+)").FindAllStringSubmatch(read(t, page), -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s names the flag %s, which --help does not list", page, m[1])
			}
		}
	}
}

// TestLinks follows every link from one file of the repository to another, or to a
// heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)#?([^)\s]*)\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s links to %s#%s, which has no such heading", page, m[1], m[2])
			}
		}
	}
}

// anchors are the names by which a page's headings are linked.
func anchors(markdown string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

func TestCommands(t *testing.T) {
	const page = "text\n```console\n$ one \\\n  two\nout\n\n$ three\n$ cat <<'end'\n$ x\nend\nx\n```\n```sh\n$ not this\n```\n"
	got, err := Commands(page)
	want := []Command{{3, "one \\\n  two", "out\n\n"}, {7, "three", ""}, {8, "cat <<'end'\n$ x\nend", "x\n"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Commands = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"```console\noutput\n```\n", "```console\n$ a \\\n```\n", "```console\n$ a <<'end'\n```\n", "```console\n$ a\n"} {
		if got, err := Commands(bad); err == nil {
			t.Errorf("Commands(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		want, got string
		ok        bool
	}{
		{"", "", true},
		{"a\n", "a", true},
		{"a\n", "a\n", true},
		{"a\n", "ab\n", false},
		{"a…c\n", "abbc\n", true},
		{"a…c\n", "a\nc\n", false},
		{"a\n...\nz\n", "a\nb\nc\nz\n", true},
		{"a\n...\n", "a\n", true},
		{"a.c\n", "abc\n", false},
		{"", "a\n", false},
	}
	for _, tt := range tests {
		if got := Matches(tt.want, tt.got); got != tt.ok {
			t.Errorf("Matches(%q, %q) = %v, want %v", tt.want, tt.got, got, tt.ok)
		}
	}
}

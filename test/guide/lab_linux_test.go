package guide

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"etcd2/test/proc"
)

// insideEnv is set in the process that runs the pages on hosts of their own, to the
// path of the server under test.
const insideEnv = "GUIDE_INSIDE"

// isolated runs the test it is a part of once more, in a process with a network of
// its own.
func isolated(t *testing.T) {
	for _, tool := range []string{"ip", "nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("hosts of their own need %s", tool)
		}
	}
	binary, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	attr := private()
	if err := inNetwork(attr, "ip", "link", "add", "probe0", "type", "bridge").Run(); err != nil {
		t.Skipf("this system does not permit network namespaces here: %v", err)
	}
	parent, _, _ := strings.Cut(t.Name(), "/")
	cmd := inNetwork(attr, os.Args[0], "-test.run", "^"+parent+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), insideEnv+"="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// private asks for a network of one's own, and for a user namespace where that
// takes one.
func private() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

func inNetwork(attr *syscall.SysProcAttr, argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = attr
	return cmd
}

// lab is a bridge with hosts that are network namespaces. A host comes into being
// with the first command that runs on it.
type lab struct {
	shell
	hosts  map[string]int // process that holds the namespace, by address
	resolv string         // the hosts' resolv.conf; "" for the system's
}

func newLab(t *testing.T) stage {
	must(t, "ip", "link", "add", "br0", "type", "bridge")
	must(t, "ip", "link", "set", "br0", "up")
	return &lab{shell: newShell(t), hosts: map[string]int{}}
}

func (l *lab) printed() bool { return true }

func (l *lab) start(t *testing.T, host, command string) *process {
	t.Helper()
	return l.shell.start(t, l.enter(t, host), command)
}

func (l *lab) curl(t *testing.T, host string, status int, args string) string {
	t.Helper()
	return l.shell.curl(t, l.enter(t, host), status, args)
}

// enter is the beginning of a command that runs on a host.
func (l *lab) enter(t *testing.T, host string) []string {
	t.Helper()
	if l.hosts[host] == 0 {
		l.hosts[host] = l.addHost(t, host)
	}
	return []string{"nsenter", "-t", fmt.Sprint(l.hosts[host]), "-n", "-m", "--wd=" + l.dir}
}

// addHost makes a host with this address and the ways to all others of its network.
func (l *lab) addHost(t *testing.T, host string) int {
	t.Helper()
	prepare := "true"
	if l.resolv != "" {
		prepare = "mount --make-rprivate / && mount --bind " + l.resolv + " $(readlink -f /etc/resolv.conf)"
	}
	holder := exec.Command("unshare", "-n", "-m", "sh", "-c", prepare+" && echo ready && exec sleep 600")
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	awaitReady(t, holder)
	pid := fmt.Sprint(holder.Process.Pid)
	last := netip.MustParseAddr(host).As4()[3]
	port := fmt.Sprintf("veth%d", last)
	must(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pid)
	must(t, "ip", "link", "set", port, "master", "br0", "up")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"}, {"addr", "add", host + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"},
	} {
		must(t, append([]string{"nsenter", "-t", pid, "-n", "ip"}, args...)...)
	}
	return holder.Process.Pid
}

// awaitReady starts a process that lives as long as the test, and waits until it
// says that it is ready.
func awaitReady(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s: %q, %v", strings.Join(cmd.Args, " "), line, err)
	}
}

func must(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
}

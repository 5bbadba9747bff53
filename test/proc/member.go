package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/wire"
)

// Options say how a member is started. The zero value is a fresh member.
type Options struct {
	Bin   string   // executable; the one under test
	Dir   string   // data directory; a new one below the test's temporary directory
	Flags []string // further flags, for any server
	Own   []string // further flags that only our server knows
	Env   []string // further variables, NAME=value

	Name    string // member name; n1
	Cluster string // --initial-cluster; the member alone
	State   string // --initial-cluster-state; left out
	// Discovery makes the URL by which members find each other, in place of Cluster.
	// It is asked once for each attempt of StartCluster, or once for the member.
	Discovery func() (string, error)
	// Meeting runs "etcd discovery serve": no member, but a place where members meet.
	// Of the other fields those down to Env count.
	Meeting bool
	// Advertise is the host:port at which other members reach this one, given the one
	// it listens on; nil: that one.
	Advertise func(peer string) string

	HTTPS bool // both ports speak TLS; Flags say with which certificates
	Mixed bool // clients are served on an https port as well
}

// Member is one server process and its place. It belongs to one goroutine; only
// Log may be called from others.
type Member struct {
	Name   string
	Client string // host:port of the client API
	Peer   string // host:port of the peer API
	Secure string // host:port of the client API over TLS, for Options.Mixed
	Dir    string // data directory

	opts      Options
	discovery string // --discovery
	starts    int    // of the process
	cmd       *exec.Cmd
	log       *Output
	done      chan struct{} // closed when the process has ended; then state is set
}

// startTries bounds how often a start is repeated because another program took a
// port between its choice and its use.
const startTries = 5

// startPatience is how long a member may take to serve. It is generous: a test
// machine may be busy, and nothing waits for it in a good run.
const startPatience = 60 * time.Second

// Start runs a member and waits until it serves clients. The test ends with the
// member's log when it fails.
func Start(t testing.TB, o Options) *Member {
	t.Helper()
	m := New(t, o)
	for try := 1; ; try++ {
		err := m.Begin()
		if err == nil {
			err = m.WaitReady(startPatience)
		}
		if err == nil {
			return m
		}
		if try == startTries || !m.portTaken() {
			t.Fatalf("%v\n%s", err, m.Log())
		}
		choosePorts(t, m)
	}
}

// New prepares a member and starts nothing.
func New(t testing.TB, o Options) *Member {
	t.Helper()
	if o.Name == "" {
		o.Name = "n1"
	}
	m := &Member{Name: o.Name, Dir: o.Dir, opts: o, log: new(Output)}
	if m.Dir == "" {
		m.Dir = filepath.Join(t.TempDir(), "data")
	}
	choosePorts(t, m)
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			t.Logf("log of the server on %s:\n%s", m.Client, m.Log())
		}
	})
	return m
}

// choosePorts takes three ports for each member that are free at this moment. No two
// members get the same one: all are held until the last is chosen.
func choosePorts(t testing.TB, members ...*Member) {
	t.Helper()
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	free := func() string {
		l := Reserve(t)
		held = append(held, l)
		return l.Addr().String()
	}
	for _, m := range members {
		m.Client, m.Peer, m.Secure = free(), free(), free()
	}
}

// URL returns the base URL of the client API.
func (m *Member) URL() string { return m.scheme() + m.Client }

// PeerURL returns the URL at which other members reach this one.
func (m *Member) PeerURL() string {
	if m.opts.Advertise != nil {
		return m.scheme() + m.opts.Advertise(m.Peer)
	}
	return m.scheme() + m.Peer
}

func (m *Member) scheme() string {
	if m.opts.HTTPS {
		return "https://"
	}
	return "http://"
}

// args is the command line.
func (m *Member) args() []string {
	if m.opts.Meeting {
		return append([]string{"discovery", "serve", "--listen", m.URL(), "--data-dir", m.Dir}, m.opts.Flags...)
	}
	clients, peer := m.URL(), m.PeerURL()
	if m.opts.Mixed {
		clients += ",https://" + m.Secure
	}
	args := []string{
		"--name", m.Name,
		"--data-dir", m.Dir,
		"--listen-client-urls", clients,
		"--advertise-client-urls", clients,
		"--listen-peer-urls", m.scheme() + m.Peer,
		"--initial-advertise-peer-urls", peer,
	}
	if m.discovery != "" {
		args = append(args, "--discovery", m.discovery)
	} else {
		args = append(args, "--initial-cluster", cmp.Or(m.opts.Cluster, m.Name+"="+peer))
	}
	if m.opts.State != "" {
		args = append(args, "--initial-cluster-state", m.opts.State)
	}
	args = append(args, m.opts.Flags...)
	if Foreign() {
		return append(args, strings.Fields(os.Getenv("TEST_ETCD_FLAGS"))...)
	}
	return append(args, m.opts.Own...)
}

// Begin starts the process and does not wait for it to serve.
func (m *Member) Begin() error {
	bin := m.opts.Bin
	if bin == "" {
		var err error
		if bin, err = Binary(); err != nil {
			return err
		}
	}
	if m.opts.Discovery != nil && m.discovery == "" {
		var err error
		if m.discovery, err = m.opts.Discovery(); err != nil {
			return err
		}
	}
	cmd := exec.Command(bin, m.args()...)
	cmd.Dir = filepath.Dir(m.Dir)
	cmd.Env = environ(m.opts.Env)
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return err
	}
	m.starts++
	m.cmd, m.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait() // the state tells how it ended
		close(done)
	}(m.done)
	return nil
}

// Join makes the next start that of a member which was added to the cluster of these
// members, itself among them.
func (m *Member) Join(members []*Member) {
	m.opts.Cluster, m.opts.State = InitialCluster(members), "existing"
}

// Signal sends a signal to the process.
func (m *Member) Signal(s os.Signal) error { return m.cmd.Process.Signal(s) }

// Kill ends the process at once, without a chance to tidy up. A member that does
// not run is left alone.
func (m *Member) Kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	<-m.done
}

// Wait waits for the process to end and returns its state.
func (m *Member) Wait(within time.Duration) (*os.ProcessState, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-m.done:
		return m.cmd.ProcessState, nil
	case <-t.C:
		return nil, fmt.Errorf("the server did not end within %v", within)
	}
}

// Stop ends the process in an orderly way.
func (m *Member) Stop(within time.Duration) (*os.ProcessState, error) {
	if err := m.Signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	return m.Wait(within)
}

// Restart starts the member again on the same data and ports and waits until it
// serves.
func (m *Member) Restart() error {
	for try := 1; ; try++ {
		err := m.Begin()
		if err == nil {
			err = m.WaitReady(startPatience)
		}
		if err == nil || try == startTries || !m.portTaken() {
			return err
		}
	}
}

// portTaken reports whether the process ended because a port was in use.
func (m *Member) portTaken() bool {
	select {
	case <-m.done:
		return strings.Contains(m.Log(), "address already in use")
	default:
		return false
	}
}

// Log returns what the process has written so far, over all its starts.
func (m *Member) Log() string { return m.log.String() }

// WaitReady waits until the member has published itself and serves: the cluster
// version is decided, the machine list is not empty, and the etcd index is known.
func (m *Member) WaitReady(within time.Duration) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for time.Now().Before(deadline) {
		last = m.ready()
		select {
		case <-m.done:
			return fmt.Errorf("the server ended with %v before it served", m.cmd.ProcessState)
		default:
		}
		if last == nil {
			return nil
		}
		<-tick.C
	}
	return fmt.Errorf("the server did not serve within %v: %w", within, last)
}

var errNotYet = errors.New("not ready yet")

func (m *Member) ready() error {
	if m.opts.HTTPS {
		// It may refuse us for want of a certificate, so its log has to do.
		if strings.Count(m.Log(), "published {") < m.starts {
			return errNotYet
		}
		return nil
	}
	if m.opts.Meeting {
		_, health, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/health"})
		if err == nil && !bytes.Contains(health, []byte("true")) {
			err = errNotYet
		}
		return err
	}
	_, version, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/version"})
	if err != nil {
		return err
	}
	_, machines, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/machines"})
	if err != nil {
		return err
	}
	if bytes.Contains(version, []byte("not_decided")) || len(bytes.TrimSpace(machines)) == 0 {
		return errNotYet
	}
	_, err = m.Index()
	return err
}

// Index asks the member for its etcd index.
func (m *Member) Index() (uint64, error) {
	x, _, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/"})
	if err != nil {
		return 0, err
	}
	if x.Status != 200 {
		return 0, fmt.Errorf("GET /v2/keys/ = %d", x.Status)
	}
	v, _ := x.Value("X-Etcd-Index")
	return strconv.ParseUint(v, 10, 64)
}

// SettledIndex returns the etcd index once it has stood still for a while.
func (m *Member) SettledIndex(still time.Duration) (uint64, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last, err := m.Index()
	since := time.Now()
	for err == nil && time.Since(since) < still {
		<-tick.C
		var now uint64
		if now, err = m.Index(); now != last {
			last, since = now, time.Now()
		}
	}
	return last, err
}

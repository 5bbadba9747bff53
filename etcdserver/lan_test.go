package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"etcd2/internal/sim"
	"etcd2/membership"
	"etcd2/peer"
)

// lan is a network in memory: pipes between addresses that are listened on.
type lan struct {
	mu        sync.Mutex // guards the fields below
	listeners map[string]*lanPort
}

func newLAN() *lan { return &lan{listeners: map[string]*lanPort{}} }

func (n *lan) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	p := n.listeners[addr]
	n.mu.Unlock()
	if p == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case p.accepted <- there:
		return here, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *lan) listen(addr string) *lanPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &lanPort{lan: n, addr: addr, accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = p
	return p
}

// lanPort is an address that is listened on.
type lanPort struct {
	lan      *lan
	addr     string
	accepted chan net.Conn // unbuffered: a dial ends with its Accept
	once     sync.Once
	closed   chan struct{}
}

func (p *lanPort) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *lanPort) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.lan.mu.Lock()
		defer p.lan.mu.Unlock()
		if p.lan.listeners[p.addr] == p {
			delete(p.lan.listeners, p.addr)
		}
	})
	return nil
}

func (p *lanPort) Addr() net.Addr { return &net.UnixAddr{Name: p.addr} }

// machine is a member with the real way to others, on a lan.
type machine struct {
	*bed
	lan  *lan
	addr string // where it listens
	out  logBuffer

	r        *running
	stopPeer func()
}

// logBuffer keeps a log.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// count is how many lines of a level hold a text.
func (l *logBuffer) count(level, text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.SplitSeq(l.b.String(), "\n") {
		if strings.Contains(line, "level="+level) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// cluster is some machines on a lan.
type cluster struct {
	t   *testing.T
	lan *lan
	at  []*machine
}

func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, lan: newLAN()}
	for _, b := range newBeds(t, n) {
		c.add(b)
	}
	return c
}

// add gives a member a machine at its own address.
func (c *cluster) add(b *bed) *machine {
	u, err := url.Parse(b.self.PeerURLs[0])
	if err != nil {
		c.t.Fatal(err)
	}
	m := &machine{bed: b, lan: c.lan, addr: u.Host}
	c.at = append(c.at, m)
	return m
}

// launch starts a machine.
func (m *machine) launch() *machine {
	m.t.Helper()
	var peers *peer.Transport
	was := m.tune
	m.tune = func(c *Config) {
		if was != nil {
			was(c)
		}
		c.Logger = slog.New(slog.NewTextHandler(&m.out, nil))
		c.Peers = func(s *Server) Peers {
			peers = peer.New(peer.Config{Dial: m.lan.dial, PeerURLs: m.self.PeerURLs, Logger: c.Logger}, s)
			return peers
		}
	}
	m.r = m.bed.launch()
	m.tune = was
	ctx, stop := context.WithCancel(context.Background())
	server := &http.Server{Handler: peers.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	on := m.lan.listen(m.addr)
	go server.Serve(on)
	var running sync.WaitGroup
	running.Go(func() { peers.Run(ctx) })
	m.stopPeer = func() {
		stop()
		running.Wait()
		server.Close()
	}
	return m
}

// end stops a machine in good order. A member that has ended by itself is all right.
func (m *machine) end() {
	m.t.Helper()
	if m.r == nil {
		return
	}
	m.stopPeer()
	m.r.stop()
	<-m.r.done
	m.r = nil
}

// kill ends the process and nothing is flushed.
func (m *machine) kill() {
	m.t.Helper()
	m.log.StopAfter(0)
	m.stopPeer()
	m.r.stop()
	<-m.r.done
	m.r = nil
	m.log.Kill()
	m.snaps.Open()
}

// copyOf is a bed with a copy of a directory as it is now.
func (m *machine) copyOf() *bed {
	c := newBedOf(m.t, m.self, m.founders)
	c.log = sim.NewDisk(rand.New(rand.NewPCG(5, 6)))
	for name, content := range m.log.Files() {
		c.log.WriteFile(strings.Replace(name, m.dir, c.dir, 1), content)
	}
	c.tune = m.tune
	return c
}

// restore gives the machine another directory.
func (m *machine) restore(b *bed) { m.bed = b }

// wipe gives it an empty one.
func (m *machine) wipe() { m.restore(newBedOf(m.t, m.self, m.founders)) }

func (c *cluster) launch(which ...int) {
	for _, i := range which {
		c.at[i].launch()
	}
	for _, i := range which {
		c.at[i].r.await()
	}
}

func (c *cluster) endAll() {
	for _, m := range c.at {
		m.end()
	}
	time.Sleep(time.Minute)
}

// leader waits until one of the machines leads, as the others see it, and returns its
// number.
func (c *cluster) leader(among ...int) int {
	c.t.Helper()
	for range 300 {
		leaders := map[membership.ID]int{}
		for _, i := range among {
			leaders[c.at[i].r.Status().Leader]++
		}
		for _, i := range among {
			if c.at[i].r.leading() && leaders[c.at[i].r.id] == len(among) {
				return i
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("no leader among %v in 30s", among)
	return 0
}

// leaderless fails the test if a machine has a leader at any time.
func (c *cluster) leaderless(d time.Duration, which ...int) {
	c.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, i := range which {
			if leader := c.at[i].r.Status().Leader; leader != 0 {
				c.t.Fatalf("member %s has the leader %s", c.at[i].self.Name, leader)
			}
		}
	}
}

// running fails the test if a member has ended.
func (c *cluster) running(which ...int) {
	c.t.Helper()
	for _, i := range which {
		select {
		case err := <-c.at[i].r.done:
			c.t.Fatalf("member %s has ended: %v\n%s", c.at[i].self.Name, err, c.at[i].out.String())
		default:
		}
	}
}

// refused checks that a machine is refused by others, says so, and serves nothing new.
func (c *cluster) refused(i int, why string, by ...int) {
	c.t.Helper()
	m := c.at[i]
	if err := m.r.Ready(); err == nil || !strings.Contains(err.Error(), why) {
		c.t.Errorf("Ready() of the refused member = %v, want that %q", err, why)
	}
	start := time.Now()
	if err := m.r.Health(c.t.Context()); err == nil || !strings.Contains(err.Error(), why) || time.Since(start) > 0 {
		c.t.Errorf("Health() of the refused member = %v after %v, want that %q at once", err, time.Since(start), why)
	}
	if m.out.count("ERROR", "refuses this member") == 0 || m.out.count("ERROR", why) == 0 {
		c.t.Errorf("the refused member does not say why:\n%s", m.out.String())
	}
	for _, j := range by {
		o := c.at[j]
		if o.out.count("ERROR", "is refused: "+why) == 0 {
			c.t.Errorf("member %s does not name the member that it refuses:\n%s", o.self.Name, o.out.String())
		}
		a := o.r.Agreement()
		if a.Members[m.self.ID] != Excluded || !strings.Contains(a.Reasons[m.self.ID], why) {
			c.t.Errorf("Agreement() of member %s = %+v, want the refused member with its reason", o.self.Name, a)
		}
	}
}

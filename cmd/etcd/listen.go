package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"etcd2/internal/openfiles"
	"etcd2/internal/tlsconf"
)

const (
	// keepAlive is how often an idle connection is probed.
	keepAlive = 30 * time.Second
	// reservedFiles is how many open files are left to the server itself.
	reservedFiles = 150
	// connectionsMax is how many client connections there may be when the system
	// sets no limit.
	connectionsMax = 1 << 20
)

// listeners are all open addresses of a member.
type listeners struct {
	Peers   []net.Listener
	Clients []net.Listener
	peer    side
	client  side
	opened  []opened
	log     *slog.Logger
}

// opened is one address, in order of opening.
type opened struct {
	net.Listener
	url     string
	purpose string // what its log lines say it is for
}

// newListeners reads the certificates of the peer side and opens nothing yet. A
// member needs them to dial others too, so mistakes in them count even when
// nothing listens on https.
func newListeners(c *Config, log *slog.Logger) (*listeners, error) {
	etcdmain := log.With(pkgKey, "etcdmain")
	l := &listeners{
		peer:   side{name: "peer", purpose: "peers", files: &c.PeerTLS, log: etcdmain},
		client: side{name: "client", purpose: "client requests", files: &c.ClientTLS, log: etcdmain},
		log:    etcdmain,
	}
	l.peer.prepare(c.DataDir, secureHosts(c.ListenPeerURLs, c.AdvertisePeerURLs))
	return l, l.peer.load()
}

// Open opens the peer URLs, then the client URLs, each in sorted order. When one
// cannot be opened, the others are closed again.
func (l *listeners) Open(ctx context.Context, c *Config) error {
	err := l.open(ctx, c)
	if err != nil {
		l.Close()
	}
	return err
}

func (l *listeners) open(ctx context.Context, c *Config) error {
	for _, u := range c.ListenPeerURLs {
		n, err := l.openOne(ctx, u, &l.peer, u, nil)
		if err != nil {
			return err
		}
		l.Peers = append(l.Peers, n)
	}
	l.peer.warnOpen(slices.Concat(c.ListenPeerURLs, c.AdvertisePeerURLs))
	connections, err := connectionSlots(openfiles.Limit())
	if err != nil {
		return err
	}
	return l.openClients(ctx, c, func(string) string { return "given listener" }, connections)
}

// OpenProxy opens the client URLs for a proxy. Its log lines are those of package
// proxy.
func (l *listeners) OpenProxy(ctx context.Context, c *Config) error {
	l.log = l.log.With(pkgKey, "proxy")
	connections, err := connectionSlots(openfiles.Limit())
	if connections != nil {
		connections = make(chan struct{}, max(1, cap(connections)/2)) // each may have another one behind it
	}
	if err == nil {
		err = l.openClients(ctx, c, func(u string) string { return u }, connections)
	}
	if err != nil {
		l.Close()
	}
	return err
}

// openClients opens the client URLs. what is a URL as the message about missing
// certificates has it.
func (l *listeners) openClients(ctx context.Context, c *Config, what func(url string) string, slots chan struct{}) error {
	l.prepareClients(c)
	for _, u := range c.ListenClientURLs {
		n, err := l.openOne(ctx, u, &l.client, what(u), slots)
		if err != nil {
			return err
		}
		l.Clients = append(l.Clients, n)
	}
	return nil
}

func (l *listeners) prepareClients(c *Config) {
	l.client.prepare(c.DataDir, secureHosts(c.ListenClientURLs, c.AdvertiseClientURLs))
}

// MemberTLS returns the settings with which a proxy dials members at their client URLs
// and at their peer URLs. Each port gets the files of its own side. The other side's are
// used for a side without any, and at the client URLs as well: what the peer flags alone
// made possible there stays possible.
func (l *listeners) MemberTLS(c *Config) (clients, peers func() *tls.Config) {
	l.prepareClients(c)
	peer := l.peer.source
	if !l.client.forDialling() {
		return peer.Client, peer.Client
	}
	if err := l.client.load(); err != nil {
		l.log.Warn("cannot dial members with the client TLS files, using the peer TLS files alone: " + err.Error())
		return peer.Client, peer.Client
	}
	l.client.dialled = true
	client := l.client.source
	clients = func() *tls.Config { return tlsconf.ClientOf(client, peer) }
	if l.peer.forDialling() || l.peer.files.Auto {
		return clients, peer.Client
	}
	return clients, func() *tls.Config { return tlsconf.ClientOf(peer, client) }
}

// openOne opens one URL. what is the URL as the message about missing certificates
// has it; slots limit the connections, nil does not.
func (l *listeners) openOne(ctx context.Context, text string, of *side, what string, slots chan struct{}) (net.Listener, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if err := of.secure(u, what); err != nil {
		return nil, err
	}
	config := net.ListenConfig{KeepAlive: keepAlive}
	n, err := config.Listen(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	l.log.Info(fmt.Sprintf("listening for %s on %s", of.purpose, text))
	l.opened = append(l.opened, opened{n, text, of.purpose})
	if slots != nil {
		n = newLimited(n, slots)
	}
	if u.Scheme == "https" {
		// A handshake begins when the connection is first used, so a slow one
		// keeps no other from being accepted.
		n = tls.NewListener(n, of.source.Server())
	}
	return n, nil
}

// Run keeps up with the certificate files until ctx ends.
func (l *listeners) Run(ctx context.Context) error {
	var watching []service
	for _, s := range []*side{&l.peer, &l.client} {
		if s.source != nil {
			watching = append(watching, s.source.Run)
		}
	}
	if len(watching) == 0 {
		<-ctx.Done()
		return nil
	}
	return together(ctx, watching...)
}

// expiries tells when the certificates that are shown expire, by port.
func (l *listeners) expiries() map[string]func() time.Time {
	expiries := make(map[string]func() time.Time)
	for _, s := range []*side{&l.peer, &l.client} {
		if s.source != nil && s.files.Given() {
			expiries[s.name] = s.source.Expires
		}
	}
	return expiries
}

// Close closes the addresses in reverse order and says so.
func (l *listeners) Close() {
	for _, o := range slices.Backward(l.opened) {
		o.Close() // an error means that the server closed it already
		l.log.Info(fmt.Sprintf("stopping listening for %s on %s", o.purpose, o.url))
	}
	l.opened = nil
}

// connectionSlots returns one slot for each connection that clients may have at
// a time, so that the files this process may open suffice; nil when it is not
// known how many those are.
func connectionSlots(files uint64, known bool) (chan struct{}, error) {
	if !known {
		return nil, nil
	}
	if files <= reservedFiles {
		return nil, fmt.Errorf("file descriptor limit[%d] of etcd process is too low, and should be set higher than %d to ensure internal usage",
			files, reservedFiles)
	}
	return make(chan struct{}, min(files-reservedFiles, connectionsMax)), nil
}

// limited accepts a connection only when a slot is free.
type limited struct {
	net.Listener
	slots  chan struct{} // as many as there may be connections; an element is one in use
	closed chan struct{} // closed by Close, for an Accept that waits for a slot
	once   sync.Once
}

func newLimited(l net.Listener, slots chan struct{}) *limited {
	return &limited{Listener: l, slots: slots, closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

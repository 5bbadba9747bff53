package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"etcd2/identity"
	"etcd2/membership"
	"etcd2/version"
)

// Errors a caller can act on.
var (
	// ErrStopped is returned while Run does not run.
	ErrStopped = errors.New("peer: the transport does not run")
	// ErrUnknown is returned for a member that Set has not named.
	ErrUnknown = errors.New("peer: unknown member")
	// ErrNoTLS is returned for an https URL when the Config has no TLS settings.
	ErrNoTLS = errors.New("peer: an https URL needs TLS settings, give --peer-trusted-ca-file or --peer-cert-file and --peer-key-file")
)

// The headers of requests between members and of their answers.
const (
	headerCluster    = "X-Etcd-Cluster-ID"
	headerFrom       = "X-Server-From"
	headerTo         = "X-Raft-To"
	headerVersion    = "X-Server-Version"
	headerMinCluster = "X-Min-Cluster-Version"
	headerURLs       = "X-PeerURLs"
)

const (
	// protocol names the frames of a stream and their version.
	protocol = "etcd2-raft/1"
	// headBytesMax bounds the head of an answer.
	headBytesMax = 64 << 10
)

// refusal is an answer other than the one hoped for.
type refusal struct {
	url     string
	status  int
	text    string
	cluster string // the cluster the other end says it belongs to
	who     string // its encoded identity
}

func (r *refusal) Error() string {
	return fmt.Sprintf("peer: %s answers %d %q", r.url, r.status, r.text)
}

// refused reads what is said in an answer that is no success.
func refused(url string, answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	return &refusal{url, answer.StatusCode, strings.TrimSpace(string(text)), answer.Header.Get(headerCluster), answer.Header.Get(identity.Header)}
}

// judge tells the member what an error says about its place in the cluster.
func (t *Transport) judge(peer membership.ID, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		return
	}
	remote, err := membership.ParseID(r.cluster)
	if err != nil {
		return // no member has said that
	}
	who, err := identity.Decode(r.who)
	if err != nil {
		return
	}
	switch same := remote == t.member.ClusterID(); {
	case !same && r.status == http.StatusPreconditionFailed:
		t.member.Mismatch(peer, remote)
	case !same:
	case t.otherGeneration(peer, r.who, who) != nil:
		t.logOtherGeneration(peer, r.url)
	case r.status == http.StatusGone:
		t.member.Expelled(peer, who)
	case r.status == http.StatusConflict:
		t.member.RefusedBy(peer, r.text)
		if t.seldom.ok("refused by " + peer.String()) {
			t.log.Error(fmt.Sprintf("member %s at %s refuses this member: %s", t.named(peer), r.url, r.text))
		}
	}
}

// header is what this member says of itself in each request to another one.
func (t *Transport) header(to membership.ID) http.Header {
	h := http.Header{}
	h.Set(headerCluster, t.member.ClusterID().String())
	h.Set(headerFrom, t.member.ID().String())
	h.Set(headerTo, to.String())
	h.Set(headerVersion, version.Server)
	h.Set(headerMinCluster, version.MinCluster)
	h.Set(identity.Header, t.introduction(t.trusted(to)))
	if urls := t.ownURLs(); len(urls) > 0 {
		h.Set(headerURLs, strings.Join(urls, ","))
	}
	return h
}

func (t *Transport) ownURLs() []string {
	self := t.member.ID()
	members := t.member.Members()
	if i := slices.IndexFunc(members, func(m membership.Member) bool { return m.ID == self }); i >= 0 {
		return members[i].PeerURLs
	}
	return t.cfg.PeerURLs
}

// connect makes a connection to a URL, with TLS if it says so. base is the URL
// taken apart.
func (t *Transport) connect(ctx context.Context, target string) (conn net.Conn, base *url.URL, err error) {
	if base, err = url.Parse(target); err != nil {
		return nil, nil, err
	}
	var secure *tls.Config
	if base.Scheme == "https" {
		if t.cfg.TLS != nil {
			secure = t.cfg.TLS().Clone()
		}
		if secure == nil {
			return nil, nil, fmt.Errorf("%w: %s", ErrNoTLS, target)
		}
		// A stream sends what it has at once: records that begin small would
		// each be a write of their own.
		secure.DynamicRecordSizingDisabled = true
		if secure.ServerName == "" {
			secure.ServerName = base.Hostname()
		}
	}
	conn, err = t.cfg.Dial(ctx, "tcp", base.Host)
	if err != nil || secure == nil {
		return conn, base, err
	}
	secured := tls.Client(conn, secure)
	if err := secured.HandshakeContext(ctx); err != nil {
		abort(conn)
		return nil, nil, err
	}
	return secured, base, nil
}

// call is one HTTP/1.1 request on a connection of its own. Requests are rare, so
// none is kept for the next one; in return there is no goroutine behind them.
type call struct {
	method string
	path   string // with the query
	header http.Header
	// body writes the body, in chunks when its length is not known: length -1.
	body   func(w io.Writer) error
	length int64

	to    membership.ID // the member that has to answer
	proof bool          // the response has to show its identity
}

// answered is an answer and what comes behind it.
type answered struct {
	*http.Response
	from io.Reader         // the connection, behind the head of the answer
	conn *io.LimitedReader // what from reads, which still has the deadline for the head
}

// do sends a request and reads the head of its answer, which has not more than
// wait to come. The connection is the caller's to abort.
func (c call) do(conn *patient, base *url.URL, wait time.Duration) (*answered, error) {
	sent := c.send(conn, base)
	if sent != nil {
		// The answer may have come before the body was through: a refusal, or
		// the other end has no use for the rest.
		wait = min(wait, time.Second)
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	head := &io.LimitedReader{R: conn.Conn, N: headBytesMax}
	from := bufio.NewReaderSize(head, readBuffer)
	answer, err := http.ReadResponse(from, &http.Request{Method: c.method})
	if err != nil {
		return nil, errors.Join(sent, err)
	}
	head.N = math.MaxInt64
	return &answered{answer, from, head}, nil
}

// send writes the request.
func (c call) send(conn net.Conn, base *url.URL) error {
	to := bufio.NewWriterSize(conn, readBuffer)
	after := "close"
	if c.header.Get("Upgrade") != "" {
		after = "Upgrade"
	}
	fmt.Fprintf(to, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n", c.method, c.path, base.Host, after)
	if err := c.header.Write(to); err != nil {
		return err
	}
	switch {
	case c.body == nil:
		fmt.Fprint(to, "\r\n")
	case c.length >= 0:
		fmt.Fprintf(to, "Content-Length: %d\r\n\r\n", c.length)
		if err := c.body(to); err != nil {
			return err
		}
	default:
		fmt.Fprint(to, "Transfer-Encoding: chunked\r\n\r\n")
		if err := c.body(&chunks{to}); err != nil {
			return err
		}
		fmt.Fprint(to, "0\r\n\r\n")
	}
	return to.Flush()
}

// chunks writes each slice as a chunk of HTTP/1.1.
type chunks struct{ to *bufio.Writer }

func (c *chunks) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // an empty chunk would be the end
	}
	fmt.Fprintf(c.to, "%x\r\n", len(b))
	n, err := c.to.Write(b)
	if err != nil {
		return n, err
	}
	if _, err = c.to.WriteString("\r\n"); err == nil {
		err = c.to.Flush() // the next may have to wait
	}
	return n, err
}

// openStream opens a stream to the member at one of its URLs.
func (t *Transport) openStream(ctx context.Context, to membership.ID, target string) (net.Conn, identity.Identity, error) {
	var who identity.Identity
	ctx, cancel := context.WithTimeout(ctx, t.cfg.DialTimeout)
	defer cancel()
	conn, base, err := t.connect(ctx, target)
	if err != nil {
		return nil, who, err
	}
	release := context.AfterFunc(ctx, func() { abort(conn) })
	open := call{method: http.MethodGet, path: "/raft/stream/" + t.member.ID().String(), header: t.header(to)}
	open.header.Set("Upgrade", protocol)
	answer, err := open.do(newPatient(conn, t.cfg.DialTimeout), base, t.cfg.DialTimeout)
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = refused(target, answer.Response)
	}
	if err == nil {
		who, err = t.accepted(to, target, answer.Response)
	}
	if !release() && err == nil {
		err = ctx.Err() // the connection is closed already
	}
	if err != nil {
		abort(conn)
		return nil, who, err
	}
	return &rest{conn, answer.from}, who, nil
}

// rest is a connection some of whose bytes have been read ahead.
type rest struct {
	net.Conn
	from io.Reader
}

func (r *rest) Read(b []byte) (int, error) { return r.from.Read(b) }

// request sends a request to the member at the first of the URLs that can be
// connected to, and hands the answer to read when it is a success. The head of the
// answer may take as long as wait. The connection ends with the call.
func (t *Transport) request(ctx context.Context, urls []string, wait time.Duration, c call, read func(*answered) error) error {
	ctx, done, ok := t.enter(ctx)
	if !ok {
		return ErrStopped
	}
	defer done()
	err := errNoURLs
	for _, target := range urls {
		var conn net.Conn
		var base *url.URL
		if conn, base, err = t.connectSoon(ctx, target); err == nil {
			return t.converse(ctx, newPatient(conn, t.cfg.Silence), base, wait, c, read)
		}
	}
	return err
}

// connectSoon is connect within the time for it.
func (t *Transport) connectSoon(ctx context.Context, target string) (net.Conn, *url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.DialTimeout)
	defer cancel()
	return t.connect(ctx, target)
}

// converse is one request and its answer on a connection.
func (t *Transport) converse(ctx context.Context, conn *patient, base *url.URL, wait time.Duration, c call, read func(*answered) error) error {
	defer conn.abort()
	defer context.AfterFunc(ctx, conn.abort)()
	answer, err := c.do(conn, base, wait)
	if err == nil {
		err = t.checkAnswer(c.to, answer.Response, c.proof)
	}
	if err == nil && answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent {
		err = refused(base.String(), answer.Response)
	}
	if err == nil {
		answer.conn.R = conn // with a deadline for each read
		err = read(answer)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

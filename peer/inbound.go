package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
	"etcd2/version"
)

// unlistedMax bounds the unlisted peers that are reached at URLs they told themselves.
const unlistedMax = 16

// inbound is the receiving end of a stream.
type inbound struct {
	t    *Transport
	from membership.ID
	link *link // the way back to the sender
	conn *patient
	back []byte    // what is written back, kept for the next time
	said time.Time // when something was written back
	stop context.CancelFunc

	told  identity.Identity // as the sender tells it
	who   identity.Identity // the same once it passed the check; else zero
	noted time.Time         // when this member last sent its identity back
	heard atomic.Int64      // when bytes arrived last, ns since 1970
}

func (in *inbound) close() {
	in.stop()
	in.conn.abort()
}

// serveStream answers the request that opens a stream and then reads the stream.
func (t *Transport) serveStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerVersion, version.Server)
	if !only(w, r, http.MethodGet) || !t.admit(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/raft/stream/")
	if strings.Contains(path, "/") {
		http.Error(w, "invalid path", http.StatusNotFound)
		return
	}
	c, ok := t.sender(w, r, path)
	if !ok {
		return
	}
	from := c.id
	if !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		w.Header().Set("Upgrade", protocol)
		http.Error(w, "the stream needs an upgrade to "+protocol, http.StatusUpgradeRequired)
		return
	}
	ctx, done, ok := t.enter(context.WithoutCancel(r.Context())) // net/http lets go of the connection
	if !ok {
		http.Error(w, notReady, http.StatusServiceUnavailable)
		return
	}
	defer done()
	l := t.linkBack(from, r.Header.Get(headerURLs))
	if l == nil {
		if t.seldom.ok("sender " + from.String()) {
			t.log.Error(fmt.Sprintf("failed to find member %s in cluster %s", from, t.member.ClusterID()))
		}
		http.Error(w, "error sender not found", http.StatusNotFound)
		return
	}
	in := &inbound{t: t, from: from, link: l, told: c.who}
	defer t.leave(in)
	if l.trusted() != c.met { // it was listed in between, or dropped
		http.Error(w, notReady, http.StatusServiceUnavailable)
		return
	}
	introduced := w.Header().Get(identity.Header)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.log.Error("stream not opened", "from", from, "error", err)
		http.Error(w, "no streams here", http.StatusInternalServerError)
		return
	}
	in.serve(ctx, behind(conn, buffered.Reader), introduced)
}

// serve reads an opened stream until it ends or ctx does. introduced is what this member
// tells the sender of itself.
func (in *inbound) serve(ctx context.Context, conn net.Conn, introduced string) {
	t := in.t
	ctx, in.stop = context.WithCancel(ctx)
	defer in.stop()
	in.conn = newPatient(conn, t.cfg.Silence)
	defer in.conn.abort()
	defer context.AfterFunc(ctx, in.conn.abort)()
	if !t.join(in) {
		return
	}
	var asking sync.WaitGroup
	if !in.link.trusted() {
		asking.Go(func() { in.seekVoucher(ctx) })
	}
	err := in.run(ctx, introduced)
	if ctx.Err() == nil && !errors.Is(err, io.EOF) && t.seldom.ok("stream "+in.from.String()) {
		t.log.Warn("lost the stream from a member", "from", in.from, "error", err)
	}
	in.stop()
	asking.Wait()
}

// behind is the connection with what was read from it already.
func behind(conn net.Conn, read *bufio.Reader) net.Conn {
	ahead, _ := read.Peek(read.Buffered())
	if len(ahead) == 0 {
		return conn
	}
	return &rest{conn, io.MultiReader(bytes.NewReader(bytes.Clone(ahead)), conn)}
}

// linkBack returns the link to a member that opens a stream. One that Set has not
// named is an unlisted peer and is reached at the URLs it tells. Without such URLs, or
// beyond unlistedMax, linkBack returns nil.
func (t *Transport) linkBack(from membership.ID, urls string) *link {
	checked, err := membership.CheckURLs(strings.Split(urls, ","))
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[from]; l != nil {
		return l
	}
	unlisted := 0
	for _, l := range t.links {
		if l.unlisted {
			unlisted++
		}
	}
	if err != nil || unlisted >= unlistedMax {
		return nil
	}
	l := t.newLink(from, checked, true)
	t.publish()
	return l
}

// join makes in the only stream from its member, or returns false when the member
// was removed meanwhile. Since the member lives, it is dialled at once.
func (t *Transport) join(in *inbound) bool {
	t.mu.Lock()
	current := t.links[in.from] == in.link
	old := t.inbound[in.from]
	if current {
		t.inbound[in.from] = in
		if in.link.trusted() {
			in.who = in.told
		}
	}
	t.mu.Unlock()
	if old != nil && current {
		old.close()
	}
	signal(in.link.again)
	return current && !t.member.Removed(in.from)
}

// leave forgets a stream that has ended, and the unlisted peer it came from.
func (t *Transport) leave(in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[in.from] == in {
		delete(t.inbound, in.from)
	}
	if in.link.unlisted && t.inbound[in.from] == nil && t.links[in.from] == in.link {
		t.drop(in.link)
		t.publish()
	}
}

// run answers the request that opened the stream, reads the stream until it ends, and
// returns why.
func (in *inbound) run(ctx context.Context, introduced string) error {
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n" +
		headerCluster + ": " + in.t.member.ClusterID().String() + "\r\n" +
		headerVersion + ": " + version.Server + "\r\n" +
		identity.Header + ": " + introduced + "\r\n\r\n"
	if _, err := in.conn.Write([]byte(answer)); err != nil {
		return err
	}
	in.said = time.Now()
	stream := newFrames(in)
	for first := true; ; first = false {
		f, err := stream.next()
		if err != nil {
			return err
		}
		if first && in.link.trusted() {
			in.t.member.RefusedBy(in.from, "") // the sender has accepted the answer
		}
		switch f.kind {
		case kindMessage:
			err = in.step(ctx, f)
		case kindWrites:
			err = in.forwarded(ctx, f)
		case kindPing:
			err = in.pong(f)
		default:
			err = fmt.Errorf("%w: kind %d on a stream", errFrame, f.kind)
		}
		if err != nil {
			return err
		}
	}
}

// addressed refuses a message that is not from its sender to this member.
func (t *Transport) addressed(m *raftpb.Message, from membership.ID) error {
	if to := membership.ID(m.GetTo()); to != t.member.ID() {
		return fmt.Errorf("%w: message to %s", errFrame, to)
	}
	if named := membership.ID(m.GetFrom()); named != from {
		return fmt.Errorf("%w: message from %s sent by %s", errFrame, named, from)
	}
	return nil
}

func (in *inbound) step(ctx context.Context, f frame) error {
	m, err := decodeMessage(f.payload, f.private)
	if err != nil {
		return err
	}
	if m.GetType() == raftpb.MsgApp {
		in.link.received.add(1, frameHeader+len(f.payload))
	}
	if m.GetType() == raftpb.MsgTransferLeader {
		return nil // from names another member; see Transport.Send
	}
	if err := in.t.addressed(m, in.from); err != nil {
		return err
	}
	if !in.link.trusted() {
		return nil // until a listed member vouches for the sender; raft sends again
	}
	if err := in.t.member.Step(ctx, m); err != nil {
		// Raft refuses what makes no sense to it. The stream is sound.
		in.t.log.Debug("message not taken", "from", in.from, "type", m.GetType(), "error", err)
		return ctx.Err()
	}
	return nil
}

// forwarded passes writes on and sends them back when they are not taken.
func (in *inbound) forwarded(ctx context.Context, f frame) error {
	writes, err := decodeWrites(f.payload, f.private)
	if err != nil {
		return err
	}
	err = errUnlisted
	if in.link.trusted() {
		err = in.t.member.Forwarded(ctx, in.from, writes)
	}
	if err != nil {
		in.t.log.Debug("forwarded writes not taken", "from", in.from, "writes", len(writes), "error", err)
		in.back = endFrame(appendWrites(beginFrame(in.back[:0], kindRefused), writes), 0)
		return in.writeBack()
	}
	return nil
}

func (in *inbound) pong(f frame) error {
	if len(f.payload) != 8 {
		return fmt.Errorf("%w: ping of %d bytes", errFrame, len(f.payload))
	}
	in.back = appendPong(in.back[:0], f.payload)
	if in.who.Known() && time.Since(in.noted) >= notePeriod {
		in.noted = time.Now()
		in.back = appendFrame(in.back, kindAlive, []byte(in.t.introduction(true)))
	}
	return in.writeBack()
}

// notePeriod is how often a member sends its identity back on a stream.
const notePeriod = time.Second

// errUnlisted refuses writes of an unlisted peer that no listed member vouches for.
var errUnlisted = errors.New("peer: the sender is not a member")

// Read reads what the sender sends. On a slow link the next ping is behind
// megabytes: it is told that they arrive.
func (in *inbound) Read(b []byte) (int, error) {
	n, err := in.conn.Read(b)
	if n > 0 {
		in.heard.Store(time.Now().UnixNano())
	}
	if err == nil && time.Since(in.said) > 2*in.t.cfg.KeepAlive {
		in.back = appendFrame(in.back[:0], kindAlive, nil)
		err = in.writeBack()
	}
	return n, err
}

func (in *inbound) writeBack() error {
	in.said = time.Now()
	_, err := in.conn.Write(in.back)
	if cap(in.back) > keptBytes {
		in.back = nil
	}
	return err
}

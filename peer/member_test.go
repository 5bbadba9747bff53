package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/identity"
	"etcd2/membership"
)

// fake is a member that keeps what it gets.
type fake struct {
	id, cluster membership.ID
	members     []membership.Member

	mu          sync.Mutex
	got         []*raftpb.Message
	forwarded   []string
	refused     []string
	unreachable int
	snapshots   []string // what ReportSnapshot was told
	checkpoint  []byte   // what OpenSnapshot gives
	received    []string // what ReceiveSnapshot got
	removed     map[membership.ID]bool
	expelled    int
	who         identity.Identity
	seen        map[membership.ID]identity.Seen
	record      error // what Meet returns instead of recording
	refusedBy   map[membership.ID]string
	mismatch    membership.ID
	log         bytes.Buffer

	decline error         // what Forwarded, ReceiveSnapshot and Answer return
	stall   chan struct{} // Step waits for it when it is set
	forget  bool          // Step keeps nothing
}

func (f *fake) ID() membership.ID            { return f.id }
func (f *fake) ClusterID() membership.ID     { return f.cluster }
func (f *fake) Members() []membership.Member { return f.members }
func (f *fake) ClusterVersion() string       { return "2.3.0" }

func (f *fake) Removed(id membership.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removed[id]
}

func (f *fake) Step(ctx context.Context, m *raftpb.Message) error {
	if f.stall != nil {
		select {
		case <-f.stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.forget {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, m)
	return nil
}

func (f *fake) Forwarded(_ context.Context, from membership.ID, writes [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decline != nil {
		return f.decline
	}
	for _, w := range writes {
		f.forwarded = append(f.forwarded, fmt.Sprintf("%s:%s", from, w))
	}
	return nil
}

func (f *fake) Refused(writes [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range writes {
		f.refused = append(f.refused, string(w))
	}
}

func (f *fake) ReportUnreachable(membership.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unreachable++
}

func (f *fake) ReportSnapshot(id membership.ID, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshots = append(f.snapshots, fmt.Sprintf("%s %t", id, ok))
}

func (f *fake) OpenSnapshot(_ context.Context, atLeast uint64) (Snapshot, error) {
	if f.checkpoint == nil {
		return nil, errors.New("no checkpoint")
	}
	return &snapshot{Reader: bytes.NewReader(f.checkpoint), index: atLeast + 5}, nil
}

func (f *fake) ReceiveSnapshot(_ context.Context, m *raftpb.Message, r io.Reader) error {
	content, err := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = f.decline
	}
	if err == nil {
		meta := m.GetSnapshot().GetMetadata()
		f.received = append(f.received, fmt.Sprintf("index %d, term %d, voters %v, %d bytes, sum %d",
			meta.GetIndex(), meta.GetTerm(), meta.GetConfState().GetVoters(), len(content), sum(content)))
	}
	return err
}

func sum(b []byte) (s int) {
	for i, c := range b {
		s += (i%251 + 1) * int(c)
	}
	return s
}

func (f *fake) Answer(_ context.Context, from membership.ID, question string, body []byte) ([]byte, error) {
	if f.decline != nil {
		return nil, f.decline
	}
	return fmt.Appendf(nil, "%s asks %s with %s", from, question, body), nil
}

func (f *fake) Mismatch(_, remote membership.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mismatch = remote
}

func (f *fake) Expelled(membership.ID, identity.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expelled++
}

func (f *fake) Identity() identity.Identity { return see(f, &f.who) }

func (f *fake) Seen(id membership.ID) identity.Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[id]
}

func (f *fake) Meet(id membership.ID, who identity.Identity) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.seen[id].Check(who); err != nil {
		return err
	}
	if f.record != nil {
		return f.record
	}
	if f.seen == nil {
		f.seen = map[membership.ID]identity.Seen{}
	}
	f.seen[id] = f.seen[id].With(who, 0)
	return nil
}

func (f *fake) Note(id membership.ID, who identity.Identity) { _ = f.Meet(id, who) }

func (f *fake) RefusedBy(id membership.ID, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusedBy == nil {
		f.refusedBy = map[membership.ID]string{}
	}
	f.refusedBy[id] = reason
}

// Write keeps the log.
func (f *fake) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(b)
}

// lines returns the log.
func (f *fake) lines() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

// logged counts the lines with this text.
func (f *fake) logged(text string) int { return strings.Count(f.lines(), text) }

// indexes returns the index of each message that came in.
func (f *fake) indexes() (list []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.got {
		list = append(list, m.GetIndex())
	}
	return list
}

// see returns a copy of what the member was told.
func see[T any](f *fake, field *T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *field
}

type snapshot struct {
	*bytes.Reader
	index uint64
}

func (s *snapshot) Close() error            { return nil }
func (s *snapshot) Index() uint64           { return s.index }
func (s *snapshot) Term() uint64            { return 3 }
func (s *snapshot) Conf() *raftpb.ConfState { return &raftpb.ConfState{Voters: []uint64{1, 2}} }

// node is a member with its transport and its peer port.
type node struct {
	*fake
	*Transport
	url    string
	server *http.Server
	stop   context.CancelFunc
	ended  chan struct{}
}

const cluster = membership.ID(0xc)

func address1(id membership.ID) string { return fmt.Sprintf("10.0.0.%d:2380", id) }

func memberOf(id membership.ID) membership.Member {
	return membership.Member{ID: id, PeerURLs: []string{"http://" + address1(id)}}
}

// build makes a member that is not started.
func build(n *network, id membership.ID, cfg Config) *node {
	f := &fake{id: id, cluster: cluster, members: []membership.Member{memberOf(id)}, removed: map[membership.ID]bool{}}
	cfg.Dial = n.dial
	cfg.Logger = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &node{fake: f, Transport: New(cfg, f), url: "http://" + address1(id), ended: make(chan struct{})}
}

// start runs a member on its address.
func (m *node) start(n *network) *node {
	return m.startWith(n, func(h http.Handler) http.Handler { return h })
}

// startWith runs a member with something before its peer port.
func (m *node) startWith(n *network, before func(http.Handler) http.Handler) *node {
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.server = &http.Server{Handler: before(m.Handler())}
	on := n.listen(address1(m.id))
	go func() { _ = m.server.Serve(on) }()
	go func() {
		_ = m.Run(ctx)
		close(m.ended)
	}()
	return m
}

// end stops a member and waits for it.
func (m *node) end() {
	m.stop()
	<-m.ended
	_ = m.server.Close()
}

// ID and the like are those of the member.
func (m *node) ID() membership.ID { return m.id }

// bubble runs a story with started members 1 to n that know each other.
func bubble(t *testing.T, n int, cfg Config, story func(t *testing.T, net *network, m []*node)) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		var nodes []*node
		var members []membership.Member
		for id := range n {
			nodes = append(nodes, build(net, membership.ID(id+1), cfg))
			members = append(members, memberOf(membership.ID(id+1)))
		}
		for _, m := range nodes {
			m.Set(members)
			m.start(net)
		}
		time.Sleep(2 * time.Second) // every dial has been repeated
		story(t, net, nodes)
		for _, m := range nodes {
			m.end()
		}
		net.cut()
	})
}

// beat is a message without entries, app one that must keep its order.
func beat(from, to membership.ID, index uint64) *raftpb.Message {
	return &raftpb.Message{Type: new(raftpb.MsgHeartbeat), From: new(uint64(from)), To: new(uint64(to)), Index: new(index)}
}

func app(from, to membership.ID, index uint64, data ...string) *raftpb.Message {
	m := &raftpb.Message{Type: new(raftpb.MsgApp), From: new(uint64(from)), To: new(uint64(to)), Index: new(index), Term: new(uint64(1))}
	for i, d := range data {
		m.Entries = append(m.Entries, &raftpb.Entry{Term: new(uint64(1)), Index: new(index + 1 + uint64(i)), Data: []byte(d)})
	}
	return m
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

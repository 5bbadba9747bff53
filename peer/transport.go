// Package peer is the way between the members of a cluster: raft over HTTP on the
// peer port.
//
// A member dials a stream of its own to each other member and sends its messages
// on it; what comes back on the same connection are signs of life and writes that
// were not taken. A connection that has gone dead is noticed within seconds and
// dialled again. Nothing here retries a message: what was lost is reported, and
// raft sends again what matters. Checkpoints and rare questions travel as HTTP
// requests of their own. docs/format-peer.md tells what the bytes are.
//
// Both ends of a stream exchange their identities before they use it. A member that
// fails the check of package identity is refused, and messages of an unlisted peer are
// dropped until a listed member vouches for it.
//
// Send, Forward and Set never block and never call the member back. Run owns every
// goroutine. What arrives is not trusted: it is checked before it is kept, and
// memory is taken as bytes arrive.
//
// The peer port also tells proxies and tools who the members are, and changes
// nothing for them.
package peer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
)

// Transport is the way to the other members and theirs to this one. Its methods
// may be called by any goroutine, Run once.
type Transport struct {
	cfg    Config
	log    *slog.Logger
	member Receiver
	told   *notices
	seldom *seldom
	pace   *pacer

	// routes is a copy of links that Send reads without a lock.
	routes atomic.Pointer[map[membership.ID]*link]

	work sync.WaitGroup // everything that Run waits for

	mu        sync.Mutex // guards the fields below
	life      context.Context
	ended     bool
	links     map[membership.ID]*link
	inbound   map[membership.ID]*inbound
	nextVouch time.Time // when the next round of questions about unlisted peers may begin

	otherGenerations map[membership.ID]bool // members of another generation that were logged
}

// New makes the transport of a member. Nothing is dialled before Run, and what is
// sent before is lost.
func New(cfg Config, member Receiver) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{
		cfg:              cfg,
		log:              cfg.Logger,
		member:           member,
		told:             newNotices(),
		seldom:           newSeldom(),
		pace:             &pacer{rate: cfg.SnapshotBytesPerSecond},
		links:            map[membership.ID]*link{},
		inbound:          map[membership.ID]*inbound{},
		otherGenerations: map[membership.ID]bool{},
	}
	t.publish()
	return t
}

// Run keeps the connections to the other members until ctx ends, then closes
// them and returns nil. The streams that other members have opened are closed too.
func (t *Transport) Run(ctx context.Context) error {
	t.mu.Lock()
	t.life = ctx
	for _, l := range t.links {
		t.start(l)
	}
	t.mu.Unlock()
	t.spawn(t.report)
	t.spawn(t.watch)
	<-ctx.Done()
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.work.Wait()
	return nil
}

// spawn runs f as a part of Run, or returns false when Run does not run.
func (t *Transport) spawn(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil || t.ended {
		return false
	}
	life := t.life
	t.work.Go(func() { f(life) })
	return true
}

// enter makes the work of an HTTP request a part of Run: the context ends with
// either. It returns false when Run does not run. done is to be called at the end.
func (t *Transport) enter(request context.Context) (ctx context.Context, done func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil || t.ended {
		return nil, nil, false
	}
	t.work.Add(1)
	ctx, cancel := context.WithCancel(request)
	stop := context.AfterFunc(t.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		t.work.Done()
	}, true
}

// start lets a link run, if Run does. The caller holds mu.
func (t *Transport) start(l *link) {
	if t.life == nil || t.ended {
		return
	}
	ctx, stop := context.WithCancel(t.life)
	context.AfterFunc(l.gone, stop)
	t.work.Go(func() {
		defer stop()
		l.run(ctx)
	})
}

// publish shows the links to Send. The caller holds mu, or is New.
func (t *Transport) publish() {
	routes := maps.Clone(t.links)
	t.routes.Store(&routes)
}

func (t *Transport) link(id membership.ID) *link {
	return (*t.routes.Load())[id]
}

// Set names the members to reach from now on; this member may be among them.
// Changed URLs take effect at once, and the streams from and to members that are
// gone are closed. Equal sets change nothing.
func (t *Transport) Set(members []membership.Member) {
	self := t.member.ID()
	removed := t.removedUnlisted()
	want := map[membership.ID]bool{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range members {
		if m.ID == self {
			continue
		}
		want[m.ID] = true
		l := t.links[m.ID]
		if l != nil && l.unlisted {
			t.drop(l) // by its next streams both sides know each other's identity
			l = nil
		}
		if l == nil {
			l = t.newLink(m.ID, m.PeerURLs, false)
		}
		l.name.Store(&m.Name)
		l.setURLs(m.PeerURLs)
	}
	for id, l := range t.links {
		if !want[id] && (!l.unlisted || removed[id]) {
			t.drop(l)
		}
	}
	t.publish()
}

// newLink makes and starts the link to a member. The caller holds mu and publishes.
func (t *Transport) newLink(id membership.ID, urls []string, unlisted bool) *link {
	l := newLink(t, id, unlisted)
	l.setURLs(urls)
	t.links[id] = l
	t.start(l)
	return l
}

// removedUnlisted returns the unlisted peers that are known by now to be no members.
// The member is asked without a lock, since it may hold its own and call Set.
func (t *Transport) removedUnlisted() map[membership.ID]bool {
	removed := map[membership.ID]bool{}
	t.mu.Lock()
	for id, l := range t.links {
		removed[id] = l.unlisted
	}
	t.mu.Unlock()
	for id, unlisted := range removed {
		removed[id] = unlisted && t.member.Removed(id)
	}
	return removed
}

// drop ends the streams from and to a member. The stream to a listed one lives on for
// removedLinger. The caller holds mu and publishes.
func (t *Transport) drop(l *link) {
	delete(t.links, l.id)
	l.dropped.Store(true)
	if l.unlisted {
		l.leave()
	} else {
		time.AfterFunc(removedLinger, l.leave)
	}
	if in := t.inbound[l.id]; in != nil {
		in.close()
	}
}

// Send hands messages to the members they are for. It never blocks: what does not
// fit into the queue of a member, or finds it unreachable, is lost and reported.
// Messages of one member arrive in order, except that those without entries
// overtake appends. A MsgSnap is sent together with a checkpoint that is opened
// for it. The messages are only read, later too.
func (t *Transport) Send(ms []*raftpb.Message) {
	for _, m := range ms {
		l := t.link(membership.ID(m.GetTo()))
		switch {
		case l == nil:
			// Raft still counts on a member that was just removed, or it counts
			// already on one that Set is yet to name.
			t.told.unreachable(membership.ID(m.GetTo()))
			if m.GetType() == raftpb.MsgSnap {
				t.told.unsent(membership.ID(m.GetTo()))
			}
		case m.GetType() == raftpb.MsgSnap:
			l.sendSnapshot(m)
		case m.GetType() == raftpb.MsgTransferLeader:
			// A follower's raft passes this on to the leader in the name of another
			// member. Here the leader alone transfers leadership, so it is not needed.
		case !l.queue.push(item{message: m, bytes: messageBytes(m)}):
			l.lost(m)
		}
	}
}

// Forward sends writes to the member that leads. It never blocks and does not keep
// the outer slice. What certainly was not taken comes back through
// Receiver.Refused; of the rest nothing is heard.
func (t *Transport) Forward(to membership.ID, writes [][]byte) {
	l := t.link(to)
	for len(writes) > 0 {
		n, size := batch(writes)
		part := slices.Clone(writes[:n])
		writes = writes[n:]
		if l == nil || size > frameBytesMax || !l.queue.push(item{writes: part, bytes: size}) {
			t.told.refuse(part)
		}
	}
}

// report passes on what Send, Forward and the streams have to tell the member:
// in a goroutine of its own, because the member may be the caller of Send and may
// be unable to listen.
func (t *Transport) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.told.wake:
		}
		news := t.told.take()
		for id := range news.lost {
			t.member.ReportUnreachable(id)
		}
		for id := range news.snapshots {
			t.member.ReportSnapshot(id, false)
		}
		if len(news.refused) > 0 {
			t.member.Refused(news.refused)
		}
	}
}

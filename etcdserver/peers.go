package etcdserver

import (
	"context"
	"errors"
	"io"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"etcd2/membership"
	"etcd2/peer"
	"etcd2/raftnode"
)

// Peers is the way to the other members; *peer.Transport is one. Send, Forward
// and Set never block.
type Peers interface {
	raftnode.Sender
	// Forward takes writes to the leader. What certainly did not get there comes
	// back through Server.Refused; what became of the rest only the log tells.
	Forward(to membership.ID, writes [][]byte)
	// Set names the members to reach from now on, this one among them.
	Set([]membership.Member)
	// Ask carries a question to another member's Server.Answer and its answer back.
	Ask(ctx context.Context, to membership.ID, question string, body []byte) ([]byte, error)
	// Version is what a member says it is and speaks.
	Version(ctx context.Context, m membership.Member) (server, cluster string, err error)
	// Fetch reads a member's checkpoint at raft index atLeast or later.
	Fetch(ctx context.Context, from membership.ID, atLeast uint64, r func(io.Reader) error) error
	// Links are the connections to the other members.
	Links() map[membership.ID]peer.Link
}

var (
	_ Peers         = (*peer.Transport)(nil)
	_ peer.Receiver = (*Server)(nil)
)

// errNobody is the answer of a network that has nobody in it.
var errNobody = errors.New("etcdserver: this member has no way to others")

// nobody is the network of a member without peers.
type nobody struct{}

func (nobody) Send([]*raftpb.Message)          {}
func (nobody) Forward(membership.ID, [][]byte) {}
func (nobody) Set([]membership.Member)         {}
func (nobody) Ask(context.Context, membership.ID, string, []byte) ([]byte, error) {
	return nil, errNobody
}
func (nobody) Version(context.Context, membership.Member) (server, cluster string, err error) {
	return "", "", errNobody
}
func (nobody) Fetch(context.Context, membership.ID, uint64, func(io.Reader) error) error {
	return errNobody
}
func (nobody) Links() map[membership.ID]peer.Link { return nil }

// reach tells the network whom to reach: the members of the cluster and, until
// the log has named this member and all founders, those it was told of at first.
func (s *Server) reach() {
	view := s.cluster.Load()
	if _, known := view.Member(s.id); known && s.progress.index.Load() >= uint64(len(s.hints)) {
		s.hints = nil
	}
	list := slices.Clone(view.Members())
	for _, h := range s.hints {
		if _, known := view.Member(h.ID); !known && !view.Removed(h.ID) {
			list = append(list, h.Member())
		}
	}
	s.peers.Set(list)
}

// Removed tells whether a member once belonged to the cluster and left it, as
// far as this member has applied the log.
func (s *Server) Removed(id membership.ID) bool { return s.cluster.Load().Removed(id) }

// Step takes a raft message from another member. It waits for room until ctx
// ends.
func (s *Server) Step(ctx context.Context, m *raftpb.Message) error {
	if m.GetType() == raftpb.MsgSnap {
		return errors.New("etcdserver: a snapshot comes with its checkpoint, through ReceiveSnapshot")
	}
	return s.node.Step(ctx, m)
}

// ReportUnreachable tells that messages to a member were lost.
func (s *Server) ReportUnreachable(id membership.ID) { s.node.ReportUnreachable(uint64(id)) }

// ReportSnapshot tells whether a snapshot reached the member it was sent to.
func (s *Server) ReportSnapshot(id membership.ID, ok bool) { s.node.ReportSnapshot(uint64(id), ok) }

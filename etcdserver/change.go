package etcdserver

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"etcd2/membership"
	"etcd2/store"
)

// applyConfChange makes a change of members take effect: in raft and, as an
// ordinary write, in the directory that every member reads its cluster from.
func (s *Server) applyConfChange(data []byte) error {
	var cc raftpb.ConfChange
	if err := proto.Unmarshal(data, &cc); err != nil {
		return err
	}
	if cc.GetType() != raftpb.ConfChangeType_ConfChangeAddNode {
		return fmt.Errorf("change of members %v is not known to this version", cc.GetType())
	}
	added, err := decodeFounder(cc.GetContext())
	if err != nil {
		return err
	}
	m := added.member()
	conf, err := s.node.ApplyConfChange(&cc)
	if err != nil {
		return err
	}
	s.conf = conf
	op := store.Op{Action: store.Create, Path: membership.RaftAttributesPath(m.ID), Value: membership.RaftAttributes(m)}
	if _, err := s.store.Apply(op); err != nil {
		return err
	}
	s.clusterChanged()
	which := ""
	if m.ID == s.id {
		which = "local "
	}
	s.log.Info(fmt.Sprintf("added %smember %s %v to cluster %s", which, m.ID, m.PeerURLs, s.clusterID))
	return nil
}

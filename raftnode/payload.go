package raftnode

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// Heartbeats carry a payload of the state machine's own in the data of a snapshot
// without metadata. Raft does not use the field in these messages, and neither do
// members of earlier releases.

// SetPayload puts a payload into the heartbeats among ms.
func SetPayload(ms []*raftpb.Message, payload []byte) {
	for _, m := range ms {
		if isHeartbeat(m) {
			m.Snapshot = &raftpb.Snapshot{Data: payload}
		}
	}
}

// Payload returns the payload of a heartbeat, nil without one and for other messages.
func Payload(m *raftpb.Message) []byte {
	if !isHeartbeat(m) {
		return nil
	}
	return m.GetSnapshot().GetData()
}

func isHeartbeat(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgHeartbeat }

// addPayload puts the state machine's payload into the heartbeats among ms.
func (l *loop) addPayload(ms []*raftpb.Message) {
	if l.cfg.Payload == nil || !slices.ContainsFunc(ms, isHeartbeat) {
		return
	}
	if payload := l.cfg.Payload(); payload != nil {
		SetPayload(ms, payload)
	}
}

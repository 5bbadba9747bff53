package raftnode

import "go.etcd.io/raft/v3/raftpb"

// Heartbeats carry bytes of the state machine's own in the data of a snapshot without
// metadata. Raft does not use the field in these messages, and neither do members of
// earlier releases.

// Tell puts told into the heartbeats among ms.
func Tell(ms []*raftpb.Message, told []byte) {
	for _, m := range ms {
		if isHeartbeat(m) {
			m.Snapshot = &raftpb.Snapshot{Data: told}
		}
	}
}

// Told is what Tell has put into a message, nil for nothing.
func Told(m *raftpb.Message) []byte {
	if !isHeartbeat(m) {
		return nil
	}
	return m.GetSnapshot().GetData()
}

func isHeartbeat(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgHeartbeat }

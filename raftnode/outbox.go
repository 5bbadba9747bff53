package raftnode

import "go.etcd.io/raft/v3/raftpb"

// outbox gathers what one turn of the loop sends. Raft writes a message at every
// step; of those to one member, a later one often says all that an earlier one
// did, and each costs the receiver a write of its log or an answer.
type outbox struct {
	ms []*raftpb.Message
}

func (o *outbox) add(ms []*raftpb.Message) {
	if len(o.ms) == 0 {
		o.ms = ms
		return
	}
	o.ms = append(o.ms, ms...)
}

// take returns what is worth sending, in order, and empties the outbox. To raft
// the rest is as good as lost on the way, which it expects of any message.
func (o *outbox) take() []*raftpb.Message {
	ms := o.ms
	o.ms = nil
	if len(ms) < 2 {
		return ms
	}
	var newest []*raftpb.Message // of each receiver and kind
	next := len(ms)
	for i := len(ms) - 1; i >= 0; i-- {
		if !covered(ms[i], &newest) {
			next--
			ms[next] = ms[i]
		}
	}
	return ms[next:]
}

// covered tells whether a later message makes m superfluous, and notes m.
func covered(m *raftpb.Message, newest *[]*raftpb.Message) bool {
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat:
	case raftpb.MsgAppResp:
		if m.GetReject() {
			return false
		}
	default:
		return false
	}
	for _, later := range *newest {
		if later.GetType() == m.GetType() && later.GetTo() == m.GetTo() {
			return later.GetTerm() == m.GetTerm() && says(later, m)
		}
	}
	*newest = append(*newest, m)
	return false
}

// says tells whether later, of the same kind, receiver and term, says all that m
// does.
func says(later, m *raftpb.Message) bool {
	switch m.GetType() {
	case raftpb.MsgApp: // without entries it tells the commit index and asks for an answer
		return len(m.GetEntries()) == 0 && later.GetCommit() >= m.GetCommit()
	case raftpb.MsgAppResp:
		return later.GetIndex() >= m.GetIndex()
	default: // a heartbeat's context counts the reads to be confirmed, and grows
		return later.GetCommit() >= m.GetCommit() && (len(later.GetContext()) > 0 || len(m.GetContext()) == 0)
	}
}

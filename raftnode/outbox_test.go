package raftnode

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

func TestOutboxSendsWhatSaysSomethingNew(t *testing.T) {
	msg := func(kind raftpb.MessageType, to, term, index, commit uint64) *raftpb.Message {
		return &raftpb.Message{Type: kind.Enum(), To: new(to), Term: new(term), Index: new(index), Commit: new(commit)}
	}
	app := func(to, commit uint64, entries int) *raftpb.Message {
		m := msg(raftpb.MsgApp, to, 5, 1, commit)
		m.Entries = make([]*raftpb.Entry, entries)
		return m
	}
	ack := func(to, index uint64) *raftpb.Message { return msg(raftpb.MsgAppResp, to, 5, index, 0) }
	reject := ack(1, 3)
	reject.Reject = new(true)
	older := ack(1, 3)
	older.Term = new(uint64(4))
	beat := func(commit uint64, context string) *raftpb.Message {
		m := msg(raftpb.MsgHeartbeat, 2, 5, 0, commit)
		m.Context = []byte(context)
		return m
	}
	vote := msg(raftpb.MsgVoteResp, 1, 5, 0, 0)
	tests := []struct {
		name string
		ms   []*raftpb.Message
		want []int // indexes in ms
	}{
		{"commit index, then entries with it", []*raftpb.Message{app(2, 7, 0), app(3, 7, 0), app(2, 7, 1), app(3, 7, 1)}, []int{2, 3}},
		{"entries, then a commit index", []*raftpb.Message{app(2, 6, 1), app(2, 7, 0)}, []int{0, 1}},
		{"two commit indexes", []*raftpb.Message{app(2, 6, 0), app(2, 7, 0)}, []int{1}},
		{"a commit index that went back", []*raftpb.Message{app(2, 7, 0), app(2, 6, 1)}, []int{0, 1}},
		{"entries twice", []*raftpb.Message{app(2, 7, 1), app(2, 7, 1)}, []int{0, 1}},
		{"acknowledgements", []*raftpb.Message{ack(1, 3), ack(1, 4), ack(1, 9)}, []int{2}},
		{"acknowledgements to two", []*raftpb.Message{ack(1, 3), ack(2, 4)}, []int{0, 1}},
		{"a rejection stays", []*raftpb.Message{reject, ack(1, 4)}, []int{0, 1}},
		{"a rejection covers nothing", []*raftpb.Message{ack(1, 4), reject}, []int{0, 1}},
		{"another term", []*raftpb.Message{older, ack(1, 4)}, []int{0, 1}},
		{"heartbeats", []*raftpb.Message{beat(3, ""), beat(3, "read 1"), beat(3, "read 2")}, []int{2}},
		{"a heartbeat for a read, then one for none", []*raftpb.Message{beat(3, "read"), beat(3, "")}, []int{0, 1}},
		{"others", []*raftpb.Message{vote, vote}, []int{0, 1}},
	}
	for _, test := range tests {
		var want []*raftpb.Message
		for _, i := range test.want {
			want = append(want, test.ms[i])
		}
		var o outbox
		ms := slices.Clone(test.ms)
		o.add(ms[:1:1])
		o.add(ms[1:])
		if got := o.take(); !slices.Equal(got, want) {
			t.Errorf("%s: sends %d of %d: %v", test.name, len(got), len(ms), got)
		}
		if got := o.take(); got != nil {
			t.Errorf("%s: sends %v again", test.name, got)
		}
	}
}

package raftnode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// FuzzStep gives any messages, in any order, to a member in all its states. Its disk,
// its applier and its clock work or stand still, and it crashes. Raft and the Core must
// not panic, and must keep what the member promised.
func FuzzStep(f *testing.F) {
	for kind := range byte(len(subjects)) {
		f.Add([]byte{kind})
		f.Add([]byte{kind, 0, 2, 8, 0x41, 0x40, 1, 2, 3})
		long := []byte{kind}
		for i := range 300 {
			long = append(long, byte(i*int(kind+7)*31>>2))
		}
		f.Add(long)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 0 && len(data) <= 2000 {
			play(t, data[0], data[1:])
		}
	})
}

// The same with bytes that chance has drawn, which reach further than a few changes
// of a seed.
func TestAnyMessages(t *testing.T) {
	for seed := range uint64(anyScripts) {
		rng := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 1500)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, byte(seed), data) })
	}
}

// anyScripts takes a second or two.
const anyScripts = 1000

func play(t *testing.T, kind byte, data []byte) {
	s := subjects[int(kind)%len(subjects)](t)
	for in := (&script{data: data, s: s}); len(in.data) > 0; {
		in.turn()
	}
	s.rest()
	s.start() // what it has saved does not poison it
	for range 20 {
		s.core.Tick()
		s.rest()
	}
}

// subjects are members in different states.
var subjects = []func(t *testing.T) *subject{
	func(t *testing.T) *subject { // all of its group
		s := newSubject(t, 1, voters(1))
		s.rest()
		return s
	},
	func(t *testing.T) *subject { return follower(t, voters(1, 2, 3)) },
	func(t *testing.T) *subject { return elected(t, raftpb.MsgVoteResp) },
	func(t *testing.T) *subject { return elected(t, raftpb.MsgPreVoteResp) }, // a candidate
	func(t *testing.T) *subject { return newSubject(t, 1, learners(voters(2, 3), 1)) },
	func(t *testing.T) *subject { return newSubject(t, 1, &raftpb.ConfState{}) }, // it joins
	func(t *testing.T) *subject { return follower(t, learners(voters(2, 3), 1)) },
	func(t *testing.T) *subject { // its log begins behind a checkpoint
		s := follower(t, voters(1, 2, 3))
		s.checkpoint()
		return s
	},
	func(t *testing.T) *subject { // it installs a snapshot
		s := follower(t, voters(1, 2, 3))
		s.step(&raftpb.Message{
			Type: raftpb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(3)), Snapshot: snapshotOf(12, 2, voters(1, 2, 3)),
		})
		s.pump()
		s.save()
		return s
	},
	func(t *testing.T) *subject { // a leader of two
		s := newSubject(t, 1, learners(voters(1), 2))
		s.rest()
		return s
	},
}

// follower has eight entries of its leader 2, six of which are committed.
func follower(t *testing.T, conf *raftpb.ConfState) *subject {
	s := newSubject(t, 1, conf)
	s.step(&raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Commit: new(uint64(6)),
		Entries: entriesAt(1, 1, 1, 1, 2, 2, 2, 2, 2),
	})
	s.rest()
	return s
}

// elected is a follower that campaigns, up to the answers of a kind.
func elected(t *testing.T, last raftpb.MessageType) *subject {
	s := follower(t, voters(1, 2, 3))
	if err := s.core.Campaign(); err != nil {
		t.Fatal(err)
	}
	s.rest()
	for _, kind := range []raftpb.MessageType{raftpb.MsgPreVoteResp, raftpb.MsgVoteResp} {
		s.step(&raftpb.Message{Type: kind.Enum(), From: new(uint64(3)), To: new(uint64(1)), Term: new(uint64(3))})
		s.rest()
		if kind == last {
			break
		}
	}
	return s
}

// script makes turns and messages of bytes.
type script struct {
	data []byte
	s    *subject
}

func (in *script) next() byte {
	if len(in.data) == 0 {
		return 0
	}
	b := in.data[0]
	in.data = in.data[1:]
	return b
}

func (in *script) turn() {
	s, op := in.s, in.next()
	switch op % 16 {
	case 8:
		s.core.Tick()
	case 9:
		s.save()
	case 10:
		s.apply(op>>4 == 15)
	case 11:
		s.rest()
	case 12:
		in.local(op >> 4)
	case 13:
		if op>>4 < 4 {
			s.start()
		}
	default:
		m := in.likely(op % 16)
		s.step(m)
		if op>>4 < 4 && m.GetType() != raftpb.MsgSnap {
			return // more before there is work
		}
	}
	s.pump()
}

// local is what the member's own process asks of it.
func (in *script) local(op byte) {
	c := in.s.core
	switch op {
	case 0, 1, 2:
		_ = c.Propose([][]byte{{in.next()}})
	case 3:
		_ = c.ProposeConfChange(confChange(raftpb.ConfChangeType(in.next()%4), uint64(in.next()%5)))
	case 4:
		c.ReadIndex()
	case 5:
		c.TransferLeader(uint64(in.next() % 5))
	case 6:
		c.ReportUnreachable(uint64(in.next() % 5))
	case 7:
		c.ReportSnapshot(uint64(in.next()%5), in.next()%2 == 0)
	case 8:
		in.s.checkpoint()
	case 9:
		_ = c.Campaign()
	}
}

// number is often one that matters.
func (in *script) number() uint64 {
	b := in.next()
	offset := uint64(b>>3) - 4 // that of zero wraps around, as it should
	switch b % 8 {
	case 0:
		return uint64(b >> 3)
	case 1:
		return in.s.core.rn.BasicStatus().GetTerm() + offset
	case 2:
		return in.s.core.rn.BasicStatus().GetCommit() + offset
	case 3:
		return in.s.disk.last() + offset
	case 4:
		return in.s.disk.prevIndex + offset
	case 5:
		return maxTermRise<<(b>>3) + uint64(in.next())
	case 6:
		return maxTerm + offset
	}
	return math.MaxUint64 - offset
}

func (in *script) from() uint64 {
	switch b := in.next(); b {
	case 254:
		return raft.LocalAppendThread
	case 255:
		return raft.LocalApplyThread
	default:
		return uint64(b % 5)
	}
}

// likely is a message that could come from a leader, but for a byte here and there,
// or any other.
func (in *script) likely(op byte) *raftpb.Message {
	st := in.s.core.rn.BasicStatus()
	m := &raftpb.Message{From: new(2 + uint64(in.next()%8/7)), To: new(in.s.id), Term: new(max(st.GetTerm(), 1))}
	if in.next()%8 == 0 {
		m.Term = new(m.GetTerm() + 1)
	}
	last := in.s.end()
	switch op {
	case 0, 1, 2:
		m.Type, m.Index = raftpb.MsgApp.Enum(), new(uint64(in.next())%(last+2))
		m.LogTerm, m.Commit = new(in.s.term(m.GetIndex())), new(uint64(in.next())%(last+3))
		index, term := m.GetIndex(), m.GetLogTerm()
		for range in.next() % 5 {
			index++
			if term = max(term, in.s.term(index), 1); in.next()%8 == 0 {
				term = m.GetTerm()
			}
			m.Entries = append(m.Entries, &raftpb.Entry{Index: new(index), Term: new(term)})
		}
	case 3:
		m.Type, m.Commit = raftpb.MsgHeartbeat.Enum(), new(uint64(in.next())%(last+2))
	case 4:
		m.Type, m.Snapshot = raftpb.MsgSnap.Enum(), in.snapshot()
		index := uint64(in.next()) % (last + 5)
		m.Snapshot.Metadata.Index, m.Snapshot.Metadata.Term = new(index), new(max(in.s.term(index), 1))
	case 5:
		m.Type, m.Index = raftpb.MsgAppResp.Enum(), new(uint64(in.next())%(last+2))
		if hint := uint64(in.next()); hint%2 == 0 {
			m.Reject, m.RejectHint, m.LogTerm = new(true), new(hint%(m.GetIndex()+1)), new(in.s.term(hint%(m.GetIndex()+1)))
		}
	default:
		return in.message()
	}
	return m
}

// message is any that can be written down.
func (in *script) message() *raftpb.Message {
	m := &raftpb.Message{From: new(in.from()), To: new(in.s.id)}
	kinds := []raftpb.MessageType{
		raftpb.MsgApp, raftpb.MsgApp, raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote,
		raftpb.MsgPreVoteResp, raftpb.MsgSnap, raftpb.MsgHeartbeatResp, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgTimeoutNow,
	}
	if b := int(in.next()); b < 200 {
		m.Type = kinds[b%len(kinds)].Enum()
	} else {
		m.Type = raftpb.MessageType(b - 200).Enum()
	}
	m.Term = new(in.s.core.rn.BasicStatus().GetTerm())
	if has := in.next(); has%4 == 0 {
		m.Term = new(in.number())
	}
	has := in.next()
	set := func(bit int, field **uint64) {
		if has&(1<<bit) != 0 {
			*field = new(in.number())
		}
	}
	set(0, &m.Index)
	set(1, &m.LogTerm)
	set(2, &m.Commit)
	set(3, &m.RejectHint)
	if has&(1<<4) != 0 {
		m.Reject = new(true)
	}
	if has&(1<<5) != 0 {
		m.Context = make([]byte, in.next()%12)
		for i := range m.Context {
			m.Context[i] = in.next()
		}
	}
	if has&(1<<6) != 0 {
		m.Entries = in.entries(m)
	}
	if m.GetType() == raftpb.MsgReadIndex {
		m.Term = nil
	}
	if m.GetType() == raftpb.MsgSnap || has == 0xff {
		m.Snapshot = in.snapshot()
	}
	return m
}

// entries mostly follow on the message's position.
func (in *script) entries(m *raftpb.Message) []*raftpb.Entry {
	var entries []*raftpb.Entry
	index, term := m.GetIndex(), m.GetLogTerm()
	for range in.next() % 6 {
		b := in.next()
		index++
		if b%16 == 15 {
			index = in.number()
		}
		if b>>4 < 6 {
			term = in.number()
		}
		e := &raftpb.Entry{Index: new(index), Term: new(term), Data: []byte{b}}
		if b%16 == 14 {
			kind, data, err := raftpb.MarshalConfChange(confChange(raftpb.ConfChangeType(in.next()%4), uint64(in.next()%5)))
			if err != nil {
				in.s.t.Fatal(err)
			}
			e.Type, e.Data = kind.Enum(), data
		}
		if b%16 == 13 {
			e.Type = raftpb.EntryType(in.next() % 4).Enum()
		}
		entries = append(entries, e)
	}
	return entries
}

func (in *script) snapshot() *raftpb.Snapshot {
	conf := voters(1, 2, 3)
	switch b := in.next(); b % 8 {
	case 1:
		conf = learners(voters(2, 3), 1)
	case 2:
		conf = voters(2, 3)
	case 3:
		conf = voters(1, 2, uint64(in.next()%4))
	case 4:
		conf = &raftpb.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{1, 2}, LearnersNext: []uint64{uint64(in.next() % 4)}}
	case 5:
		conf = nil
	case 6:
		conf = &raftpb.ConfState{}
		_ = proto.Unmarshal(in.data[:min(len(in.data), 8)], conf)
	}
	return snapshotOf(in.number(), in.number(), conf)
}

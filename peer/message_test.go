package peer

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// sometimes returns a pointer to a number of any size, or nil.
func sometimes(rnd *rand.Rand) *uint64 {
	switch rnd.IntN(4) {
	case 0:
		return nil
	case 1:
		return new(uint64(0))
	case 2:
		return new(rnd.Uint64N(300))
	}
	return new(rnd.Uint64() | 1<<63>>rnd.IntN(64))
}

func someBytes(rnd *rand.Rand) []byte {
	switch rnd.IntN(3) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	return bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(200))
}

// someMessage draws a message with any mixture of fields.
func someMessage(rnd *rand.Rand) *raftpb.Message {
	m := &raftpb.Message{
		To: sometimes(rnd), From: sometimes(rnd), Term: sometimes(rnd), LogTerm: sometimes(rnd), Index: sometimes(rnd),
		Commit: sometimes(rnd), Vote: sometimes(rnd), RejectHint: sometimes(rnd), Context: someBytes(rnd),
	}
	if rnd.IntN(4) > 0 {
		m.Type = new(raftpb.MessageType(rnd.IntN(24)))
	}
	if rnd.IntN(2) > 0 {
		m.Reject = new(rnd.IntN(2) > 0)
	}
	index := m.GetIndex()
	for range rnd.IntN(5) {
		e := &raftpb.Entry{Data: someBytes(rnd), Term: sometimes(rnd), Index: sometimes(rnd)}
		if rnd.IntN(2) > 0 {
			index++
			e.Index, e.Term = new(index), new(m.GetTerm())
		}
		if rnd.IntN(2) > 0 {
			e.Type = new(raftpb.EntryType(rnd.IntN(3)))
		}
		m.Entries = append(m.Entries, e)
	}
	if rnd.IntN(4) == 0 {
		m.Snapshot = &raftpb.Snapshot{Data: someBytes(rnd)}
		if rnd.IntN(4) > 0 {
			m.Snapshot.Metadata = &raftpb.SnapshotMetadata{Index: sometimes(rnd), Term: sometimes(rnd)}
		}
		if rnd.IntN(4) > 0 && m.Snapshot.Metadata != nil {
			m.Snapshot.Metadata.ConfState = &raftpb.ConfState{Voters: []uint64{1, math.MaxUint64}, Learners: []uint64{7}, AutoLeave: new(false)}
		}
	}
	return m
}

// TestMessageRoundTrip compares what is read back with what protobuf says is equal.
func TestMessageRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 5_000 {
		m := someMessage(rnd)
		before := proto.Clone(m)
		coded := appendMessage([]byte("x"), m)[1:]
		for _, private := range []bool{false, true} {
			payload := bytes.Clone(coded)
			got, err := decodeMessage(payload, private)
			if err != nil {
				t.Fatalf("message %d: decodeMessage(%v) = %v", i, m, err)
			}
			if !private {
				clear(payload) // the message must have kept nothing of it
			}
			if !proto.Equal(got, m) {
				t.Fatalf("message %d came back as %v, want %v", i, got, m)
			}
		}
		if !proto.Equal(m, before) {
			t.Fatalf("message %d was changed to %v, want %v", i, m, before)
		}
	}
}

// TestEveryFieldIsCarried fails when a version of raft brings a field that the
// codec does not know.
func TestEveryFieldIsCarried(t *testing.T) {
	tests := []struct {
		message proto.Message
		fields  int
	}{
		{&raftpb.Message{}, 14}, // one of them, responses, stays within a member
		{&raftpb.Entry{}, 4},
	}
	for _, tt := range tests {
		if got := tt.message.ProtoReflect().Descriptor().Fields().Len(); got != tt.fields {
			t.Errorf("%T has %d fields, the codec knows %d", tt.message, got, tt.fields)
		}
	}
}

func TestBrokenMessages(t *testing.T) {
	whole := appendMessage(nil, appMessage(3))
	tests := map[string][]byte{
		"empty":            {},
		"half a mask":      {1},
		"unknown field":    {0, 0x80},
		"huge type":        {hasType, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"short ID":         {hasTo, 0, 1, 2, 3},
		"entries bomb":     {0, hasEntries >> 8, 0xff, 0xff, 0xff, 0x7f},
		"unknown in entry": {0, hasEntries >> 8, 1, 0x80},
		"cut":              whole[:len(whole)-1],
		"more behind":      append(bytes.Clone(whole), 0),
		"snapshot":         {0, hasSnapshot >> 8, 1, 0xff},
	}
	for name, payload := range tests {
		if m, err := decodeMessage(payload, true); err == nil {
			t.Errorf("%s: decodeMessage(%x) = %v, want an error", name, payload, m)
		}
	}
}

// appMessage is a MsgApp as a busy leader sends it.
func appMessage(entries int) *raftpb.Message {
	m := &raftpb.Message{
		Type: new(raftpb.MsgApp), To: new(uint64(0x8a0a11c6194fc77a)), From: new(uint64(0xd282ac2ce600c1ce)),
		Term: new(uint64(7)), LogTerm: new(uint64(7)), Index: new(uint64(1_000_000)), Commit: new(uint64(999_990)),
	}
	for i := range entries {
		m.Entries = append(m.Entries, &raftpb.Entry{
			Term: new(uint64(7)), Index: new(uint64(1_000_001 + i)), Data: bytes.Repeat([]byte{byte(i)}, 150),
		})
	}
	return m
}

// BenchmarkMessage compares the codec with protobuf's own: encode and decode.
func BenchmarkMessage(b *testing.B) {
	messages := map[string]*raftpb.Message{
		"app-resp": {Type: new(raftpb.MsgAppResp), To: new(uint64(0x8a0a11c6194fc77a)), From: new(uint64(0xd282ac2ce600c1ce)), Term: new(uint64(7)), Index: new(uint64(1_000_100))},
		"app-1":    appMessage(1), "app-10": appMessage(10), "app-100": appMessage(100),
	}
	for name, m := range messages {
		b.Run(fmt.Sprintf("%s/ours", name), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = appendMessage(buf[:0], m)
				if _, err := decodeMessage(buf, false); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buf)), "wire-bytes")
		})
		b.Run(fmt.Sprintf("%s/protobuf", name), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m); err != nil {
					b.Fatal(err)
				}
				var got raftpb.Message
				if err := proto.Unmarshal(buf, &got); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buf)), "wire-bytes")
		})
	}
}

package peer

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzStream reads any bytes as a stream: nothing may panic or take much memory,
// and what is understood is the same when it is sent again.
func FuzzStream(f *testing.F) {
	f.Add(appendFrame(nil, kindMessage, appendMessage(nil, appMessage(3))))
	f.Add(appendFrame(nil, kindMessage, appendMessage(nil, beat(1, 2, 3))))
	f.Add(appendFrame(nil, kindMessage, appendMessage(nil, snap(1, 2, 3))))
	f.Add(appendFrame(nil, kindWrites, appendWrites(nil, [][]byte{[]byte("a"), {}})))
	f.Add(appendFrame(appendFrame(nil, kindChunk, []byte("abc")), kindEnd, []byte{3, 0, 0, 0, 0, 0, 0, 0}))
	f.Add(appendPong(nil, make([]byte, 8)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := newFrames(bytes.NewReader(stream))
		for {
			got, err := in.next()
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, errFrame) {
					t.Fatalf("next = %v", err)
				}
				break
			}
			check(t, got)
		}
		checkpoint := &unchunker{from: newFrames(bytes.NewReader(stream))}
		if content, err := io.ReadAll(checkpoint); err == nil {
			var again bytes.Buffer
			c := &chunker{to: &again, chunk: beginFrame(make([]byte, 0, frameHeader+chunkBytes), kindChunk), pause: func(int) error { return nil }}
			_, _ = c.Write(content)
			_ = c.end()
			back, err := io.ReadAll(&unchunker{from: newFrames(&again)})
			if err != nil || !bytes.Equal(back, content) {
				t.Fatalf("a checkpoint of %d bytes came back as %d, %v", len(content), len(back), err)
			}
		}
	})
}

// FuzzPayload is FuzzStream without the checksum, which a fuzzer does not guess.
func FuzzPayload(f *testing.F) {
	f.Add(byte(kindMessage), appendMessage(nil, appMessage(3)))
	f.Add(byte(kindMessage), appendMessage(nil, beat(1, 2, 3)))
	f.Add(byte(kindMessage), appendMessage(nil, snap(1, 2, 3)))
	f.Add(byte(kindWrites), appendWrites(nil, [][]byte{[]byte("a"), {}}))
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		check(t, frame{kind: kind(k), payload: payload, private: true})
		check(t, frame{kind: kind(k), payload: payload})
	})
}

// check decodes the payload of a frame, and again what it was decoded to.
func check(t *testing.T, f frame) {
	switch f.kind {
	case kindMessage:
		m, err := decodeMessage(f.payload, f.private)
		if err != nil {
			return
		}
		again, err := decodeMessage(appendMessage(nil, m), true)
		if err != nil || !proto.Equal(m, again) {
			t.Fatalf("%v came back as %v, %v", m, again, err)
		}
	case kindWrites, kindRefused:
		writes, err := decodeWrites(f.payload, f.private)
		if err != nil {
			return
		}
		again, err := decodeWrites(appendWrites(nil, writes), true)
		if err != nil || len(again) != len(writes) {
			t.Fatalf("%q came back as %q, %v", writes, again, err)
		}
	}
}

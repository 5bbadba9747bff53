package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// kind says what the payload of a frame is.
type kind byte

// The kinds of frames. Their numbers are part of the wire format.
const (
	kindMessage kind = 1 // a raft message
	kindWrites  kind = 2 // writes forwarded to the leader
	kindPing    kind = 3 // sign of life, asks for a pong
	kindPong    kind = 4 // on the way back: answers a ping
	kindRefused kind = 5 // on the way back: forwarded writes that were not taken
	kindChunk   kind = 6 // a piece of a checkpoint
	kindEnd     kind = 7 // the end of a checkpoint
	kindAlive   kind = 8 // on the way back: unasked sign of life
)

const (
	frameHeader = 9 // bytes: length, kind, checksum
	// frameBytesMax bounds the payload of a frame: one entry of a size that no
	// client may send still fits.
	frameBytesMax = 64 << 20
	// trustedBytes is how much room a frame gets before its bytes have arrived.
	trustedBytes = 2 << 20
	// readBuffer bounds the frames that are handed out without a copy.
	readBuffer = 64 << 10
)

// errFrame is the root of every complaint about what the other end sent.
var errFrame = errors.New("peer: bad frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame makes room for the header of a frame. The payload is appended next,
// then endFrame is called with the place that beginFrame began at.
func beginFrame(b []byte, k kind) []byte {
	return append(b, 0, 0, 0, 0, byte(k), 0, 0, 0, 0)
}

// endFrame fills in the header of the frame that begins at start and ends with b.
func endFrame(b []byte, start int) []byte {
	head, payload := b[start:start+frameHeader], b[start+frameHeader:]
	binary.LittleEndian.PutUint32(head, uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[5:], frameSum(head, payload))
	return b
}

// appendFrame adds a whole frame to b.
func appendFrame(b []byte, k kind, payload []byte) []byte {
	start := len(b)
	return endFrame(append(beginFrame(b, k), payload...), start)
}

// frameSum is the checksum of a frame: over length, kind and payload.
func frameSum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:5], castagnoli), castagnoli, payload)
}

// frames reads frames.
type frames struct {
	from *bufio.Reader
	lent int // bytes of the last frame that are still in the buffer
}

func newFrames(r io.Reader) *frames {
	return &frames{from: bufio.NewReaderSize(r, readBuffer)}
}

// frame is one frame as it was read.
type frame struct {
	kind    kind
	payload []byte
	private bool // payload belongs to the caller; otherwise it is good until the next call
}

// next reads one frame. The error is io.EOF when the stream ended between two
// frames, io.ErrUnexpectedEOF within one, and wraps errFrame when the bytes are
// not a frame.
func (f *frames) next() (frame, error) {
	_, _ = f.from.Discard(f.lent)
	f.lent = 0
	head, err := f.from.Peek(frameHeader)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	length := int(binary.LittleEndian.Uint32(head))
	if length > frameBytesMax {
		return frame{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", errFrame, length, frameBytesMax)
	}
	got := frame{kind: kind(head[4])}
	sum := binary.LittleEndian.Uint32(head[5:])
	if frameHeader+length <= f.from.Size() {
		var whole []byte
		if whole, err = f.from.Peek(frameHeader + length); err == nil {
			f.lent = len(whole)
			head, got.payload = whole[:frameHeader], whole[frameHeader:]
		}
	} else {
		head = bytes.Clone(head)
		_, _ = f.from.Discard(frameHeader)
		got.private = true
		got.payload, err = readPayload(f.from, length)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	if have := frameSum(head, got.payload); have != sum {
		return frame{}, fmt.Errorf("%w: checksum %08x, want %08x", errFrame, have, sum)
	}
	return got, nil
}

// readPayload reads a payload into memory of its own. A large one gets its room
// as its bytes arrive, so that a length alone costs nothing.
func readPayload(r io.Reader, length int) ([]byte, error) {
	if length <= trustedBytes {
		payload := make([]byte, length)
		_, err := io.ReadFull(r, payload)
		return payload, err
	}
	var b bytes.Buffer
	b.Grow(trustedBytes)
	_, err := io.CopyN(&b, r, int64(length))
	return b.Bytes(), err
}

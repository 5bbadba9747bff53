package store

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

var sampleOps = []Op{
	{Action: Set, Path: "/1/foo", Value: "bar", Now: 1_800_000_000_000_000_000},
	{Action: Set, Path: "/1/d", Dir: true, HasTTL: true, TTL: 5 * time.Second, Now: 7},
	{Action: Create, Path: "/1/\xff\x00", Value: "\xfe not UTF-8"},
	{Action: CreateInOrder, Path: "/1"},
	{Action: Update, Path: "/1/x", Refresh: true, HasTTL: true},
	{Action: CompareAndSwap, Path: "/1/x", PrevValue: "old", PrevIndex: math.MaxUint64, Value: "new"},
	{Action: Delete, Path: "/1/x", Recursive: true},
	{Action: CompareAndDelete, Path: "/1/x", PrevValue: "x"},
	{Action: Expire, Now: math.MaxInt64},
	{Action: Set, Path: "/", TTL: -1, HasTTL: true, Now: math.MinInt64, Value: strings.Repeat("x", 300)},
}

var (
	sampleNode   = Node{Path: "/1/foo", Value: "bar", Created: 3, Modified: 400, Expires: 9}
	sampleNodes  = []Node{sampleNode, {Path: "/", Dir: true}, {Path: "/1/\xff", Created: math.MaxUint64, Modified: 1, Expires: -1}}
	sampleEvents = []Event{
		{Action: Set, Node: &sampleNode, Now: 12},
		{Action: Update, Node: &sampleNode, Prev: &Node{Path: "/1/foo", Value: "older", Modified: 2, Created: 1}, Refresh: true},
		{Action: Expire, Node: &Node{Path: "/1/d", Dir: true, Created: 1, Modified: 5}, Prev: &Node{Path: "/1/d", Dir: true, Created: 1, Modified: 1, Expires: 3}},
	}
	sampleStats = Stats{GetsSuccess: 1, GetsFail: 2, SetsFail: 300, CompareAndDeleteFail: 4, ExpireCount: math.MaxUint64}
)

func TestRecordsRoundTrip(t *testing.T) {
	for _, op := range sampleOps {
		if got, err := ParseOp(op.AppendBinary(nil)); err != nil || got != op {
			t.Errorf("ParseOp gives %+v, %v, want %+v", got, err, op)
		}
	}
	for _, n := range sampleNodes {
		if got, err := ParseNode(n.AppendBinary(nil)); err != nil || *got != n {
			t.Errorf("ParseNode gives %+v, %v, want %+v", got, err, n)
		}
	}
	for _, e := range sampleEvents {
		got, err := ParseEvent(e.AppendBinary(nil))
		if err != nil || got.Action != e.Action || *got.Node != *e.Node || (e.Prev == nil) != (got.Prev == nil) ||
			e.Prev != nil && *got.Prev != *e.Prev || got.Now != e.Now || got.Refresh != e.Refresh {
			t.Errorf("ParseEvent gives %+v, %v, want %+v", got, err, e)
		}
	}
	if got, err := ParseStats(sampleStats.AppendBinary(nil)); err != nil || got != sampleStats {
		t.Errorf("ParseStats gives %+v, %v, want %+v", got, err, sampleStats)
	}
}

// TestRecordBytes pins the format: data directories hold it.
func TestRecordBytes(t *testing.T) {
	tests := []struct {
		what string
		got  []byte
		want string
	}{
		{"op", Op{Action: CompareAndSwap, Path: "/1/k", Value: "v", PrevValue: "p", PrevIndex: 300, HasTTL: true, TTL: 5, Now: -1}.AppendBinary(nil),
			"\x01\x06\x08\x0a\x01\xac\x02\x04\x01/1/kpv"},
		{"node", (&Node{Path: "/1/k", Value: "v", Created: 1, Modified: 2, Expires: 64}).AppendBinary(nil),
			"\x01\x02\x01\x02\x80\x01\x04/1/kv"},
		{"event", (&Event{Action: Delete, Node: &Node{Path: "/1/k", Created: 1, Modified: 2}, Prev: &Node{Path: "/1/k", Value: "v", Created: 1, Modified: 1}, Now: 3}).AppendBinary(nil),
			"\x01\x07\x02\x06\x00\x01\x02\x04\x00\x01\x01\x01/1/kv"},
		{"counters", Stats{GetsSuccess: 5, ExpireCount: 1}.AppendBinary(nil),
			"\x01\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("record of an %s is %q, want %q", tt.what, tt.got, tt.want)
		}
	}
}

func TestMalformedRecords(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"op":    func(b []byte) error { _, err := ParseOp(b); return err },
		"node":  func(b []byte) error { _, err := ParseNode(b); return err },
		"event": func(b []byte) error { _, err := ParseEvent(b); return err },
		"stats": func(b []byte) error { _, err := ParseStats(b); return err },
	}
	tests := []struct{ parser, name, record string }{
		{"op", "empty", ""},
		{"op", "version of the future", "\x02\x02\x00\x00\x00\x04\x00/1/k"},
		{"op", "get", "\x01\x01\x00\x00\x00\x04\x00/1/k"},
		{"op", "action 0", "\x01\x00\x00\x00\x00\x04\x00/1/k"},
		{"op", "unknown action", "\x01\x0a\x00\x00\x00\x04\x00/1/k"},
		{"op", "unknown flag", "\x01\x02\x10\x00\x00\x04\x00/1/k"},
		{"op", "path too long", "\x01\x02\x00\x00\x00\x05\x00/1/k"},
		{"op", "previous value too long", "\x01\x02\x00\x00\x00\x04\x01/1/k"},
		{"op", "lengths that overflow together", "\x01\x02\x00\x00\x00\xff\xff\xff\xff\x07\xff\xff\xff\xff\x07/1/k"},
		{"op", "length that does not fit", "\x01\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00/1/k"},
		{"op", "long form of a number", "\x01\x02\x00\x80\x00\x00\x04\x00/1/k"},
		{"op", "relative path", "\x01\x02\x00\x00\x00\x03\x001/k"},
		{"op", "path ends in a slash", "\x01\x02\x00\x00\x00\x03\x00/1/"},
		{"op", "empty path", "\x01\x02\x00\x00\x00\x00\x00"},
		{"op", "empty component", "\x01\x02\x00\x00\x00\x05\x00/1//k"},
		{"node", "empty", ""},
		{"node", "zero deadline", "\x01\x02\x01\x02\x00\x04/1/kv"},
		{"node", "directory with a value", "\x01\x01\x01\x02\x04/1/kv"},
		{"node", "no path", "\x01\x00\x01\x02\x00v"},
		{"event", "empty", ""},
		{"event", "create in order", "\x01\x04\x00\x06\x00\x01\x02\x04/1/k"},
		{"event", "no path", "\x01\x02\x00\x06\x00\x01\x02\x00"},
		{"event", "directory with a value", "\x01\x02\x00\x06\x01\x01\x02\x04/1/kv"},
		{"event", "directory that had a value", "\x01\x07\x02\x06\x00\x01\x02\x04\x01\x01\x01\x01/1/kv"},
		{"stats", "too few", "\x01\x00"},
		{"stats", "too many", "\x01" + strings.Repeat("\x00", 16)},
	}
	for _, tt := range tests {
		if err := parsers[tt.parser]([]byte(tt.record)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s, %s: error = %v, want ErrFormat", tt.parser, tt.name, err)
		}
	}
	for _, cut := range []func() ([]byte, func([]byte) error){
		func() ([]byte, func([]byte) error) { return sampleOps[5].AppendBinary(nil), parsers["op"] },
		func() ([]byte, func([]byte) error) { return sampleEvents[1].AppendBinary(nil), parsers["event"] },
	} {
		record, parse := cut()
		head := bytes.IndexByte(record, '/')
		for i := range head + 1 {
			if err := parse(record[:i]); !errors.Is(err, ErrFormat) {
				t.Errorf("record cut to %d bytes: error = %v, want ErrFormat", i, err)
			}
		}
	}
}

func FuzzParseOp(f *testing.F) {
	for _, op := range sampleOps {
		f.Add(op.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := ParseOp(b)
		if err != nil {
			return
		}
		if got := op.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Errorf("ParseOp(%q) = %+v, whose record is %q", b, op, got)
		}
		New(Config{}).Apply(op)
	})
}

func FuzzParseNode(f *testing.F) {
	for _, n := range sampleNodes {
		f.Add(n.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNode(b)
		if err != nil {
			return
		}
		if got := n.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Errorf("ParseNode(%q) = %+v, whose record is %q", b, n, got)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, e := range sampleEvents {
		f.Add(e.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			return
		}
		if got := e.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Errorf("ParseEvent(%q) = %+v, whose record is %q", b, e, got)
		}
	})
}

func FuzzParseStats(f *testing.F) {
	f.Add(sampleStats.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStats(b)
		if err != nil {
			return
		}
		if got := s.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Errorf("ParseStats(%q) = %+v, whose record is %q", b, s, got)
		}
	})
}

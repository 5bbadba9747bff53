package v2

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"etcd2/store"
)

func TestAppendEvent(t *testing.T) {
	now := time.Date(2026, 11, 20, 20, 48, 15, 306861170, time.UTC).UnixNano()
	file := func(value string, modified, created uint64) *store.Node {
		return &store.Node{Path: "/1/foo", Value: value, Modified: modified, Created: created}
	}
	tests := []struct {
		name  string
		event store.Event
		want  string
	}{
		{"set of a new key", store.Event{Action: store.Set, Node: file("1", 4, 4)},
			`{"action":"set","node":{"key":"/foo","value":"1","modifiedIndex":4,"createdIndex":4}}`},
		{"set over a key", store.Event{Action: store.Set, Node: file("", 5, 5), Prev: file("1", 4, 4)},
			`{"action":"set","node":{"key":"/foo","value":"","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/foo","value":"1","modifiedIndex":4,"createdIndex":4}}`},
		{"delete", store.Event{Action: store.Delete, Node: file("", 6, 4), Prev: file("1", 5, 4)},
			`{"action":"delete","node":{"key":"/foo","modifiedIndex":6,"createdIndex":4},"prevNode":{"key":"/foo","value":"1","modifiedIndex":5,"createdIndex":4}}`},
		{"compare and delete", store.Event{Action: store.CompareAndDelete, Node: file("", 6, 4), Prev: file("", 5, 4)},
			`{"action":"compareAndDelete","node":{"key":"/foo","modifiedIndex":6,"createdIndex":4},"prevNode":{"key":"/foo","value":"","modifiedIndex":5,"createdIndex":4}}`},
		{"compare and swap", store.Event{Action: store.CompareAndSwap, Node: file("b", 6, 4), Prev: file("a", 5, 4)},
			`{"action":"compareAndSwap","node":{"key":"/foo","value":"b","modifiedIndex":6,"createdIndex":4},"prevNode":{"key":"/foo","value":"a","modifiedIndex":5,"createdIndex":4}}`},
		{"in order", store.Event{Action: store.CreateInOrder, Node: &store.Node{Path: "/1/q/00000000000000000007", Value: "j", Modified: 7, Created: 7}},
			`{"action":"create","node":{"key":"/q/00000000000000000007","value":"j","modifiedIndex":7,"createdIndex":7}}`},
		{"directory with a ttl", store.Event{Action: store.Update, Now: now,
			Node: &store.Node{Path: "/1/d", Dir: true, Expires: now + 99e9 + 1, Modified: 10, Created: 9},
			Prev: &store.Node{Path: "/1/d", Dir: true, Modified: 9, Created: 9}},
			`{"action":"update","node":{"key":"/d","dir":true,"expiration":"2026-11-20T20:49:54.306861171Z","ttl":100,"modifiedIndex":10,"createdIndex":9},"prevNode":{"key":"/d","dir":true,"modifiedIndex":9,"createdIndex":9}}`},
		{"trailing zeros of the expiration", store.Event{Action: store.Set, Now: now,
			Node: &store.Node{Path: "/1/e", Expires: now, Modified: 11, Created: 11}},
			`{"action":"set","node":{"key":"/e","value":"","expiration":"2026-11-20T20:48:15.30686117Z","modifiedIndex":11,"createdIndex":11}}`},
		{"expire", store.Event{Action: store.Expire, Now: now,
			Node: &store.Node{Path: "/1/d", Dir: true, Modified: 12, Created: 9},
			Prev: &store.Node{Path: "/1/d", Dir: true, Expires: now - 1, Modified: 9, Created: 9}},
			`{"action":"expire","node":{"key":"/d","dir":true,"modifiedIndex":12,"createdIndex":9},"prevNode":{"key":"/d","dir":true,"expiration":"2026-11-20T20:48:15.306861169Z","modifiedIndex":9,"createdIndex":9}}`},
		{"a key named like the prefix", store.Event{Action: store.Set, Node: &store.Node{Path: "/1/1/1", Value: "1", Modified: 4, Created: 4}},
			`{"action":"set","node":{"key":"/1/1","value":"1","modifiedIndex":4,"createdIndex":4}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(eventText(encodeEvent(&tt.event, 0))); got != tt.want+"\n" {
				t.Errorf("encodeEvent =\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestTTLSeconds(t *testing.T) {
	tests := []struct {
		left time.Duration
		want int64
	}{
		{5 * time.Second, 5}, {5*time.Second + 1, 6}, {1, 1}, {0, 0}, {-1, 0},
		{-999 * time.Millisecond, 0}, {-time.Second, -1}, {-2500 * time.Millisecond, -2},
	}
	for _, tt := range tests {
		if got := ttlSeconds(int64(tt.left)); got != tt.want {
			t.Errorf("ttlSeconds(%s) = %d, want %d", tt.left, got, tt.want)
		}
	}
}

// The bodies were recorded from etcd 2.3.8, indexes apart.
func TestAppendError(t *testing.T) {
	tests := []struct {
		err    store.Error
		status int
		want   string
	}{
		{store.Error{Code: store.KeyNotFound, Cause: "/1/x", Index: 9}, 404,
			`{"errorCode":100,"message":"Key not found","cause":"/x","index":9}`},
		{store.Error{Code: store.CompareFailed, Cause: "[2 != 3]", Index: 7}, 412,
			`{"errorCode":101,"message":"Compare failed","cause":"[2 != 3]","index":7}`},
		{store.Error{Code: store.NotFile, Cause: "/1/d", Index: 8}, 403,
			`{"errorCode":102,"message":"Not a file","cause":"/d","index":8}`},
		{store.Error{Code: store.NotFile, Cause: "/1", Index: 8}, 403,
			`{"errorCode":102,"message":"Not a file","index":8}`},
		{store.Error{Code: store.NotDir, Cause: "/1/s", Index: 4}, 400,
			`{"errorCode":104,"message":"Not a directory","cause":"/s","index":4}`},
		{store.Error{Code: store.NodeExist, Cause: "/1/c", Index: 5}, 412,
			`{"errorCode":105,"message":"Key already exists","cause":"/c","index":5}`},
		{store.Error{Code: store.RootReadOnly, Cause: "/1", Index: 5}, 400,
			`{"errorCode":107,"message":"Root is read only","cause":"/","index":5}`},
		{store.Error{Code: store.DirNotEmpty, Cause: "/1/d", Index: 5}, 403,
			`{"errorCode":108,"message":"Directory not empty","cause":"/d","index":5}`},
		{store.Error{Code: store.Unauthorized, Cause: "Insufficient credentials"}, 401,
			`{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}`},
		{store.Error{Code: store.PrevValueEmpty, Cause: `"prevValue" cannot be empty`}, 400,
			`{"errorCode":201,"message":"PrevValue is Required in POST form","cause":"\"prevValue\" cannot be empty","index":0}`},
		{store.Error{Code: store.TTLNaN, Cause: `invalid value for "ttl"`}, 400,
			`{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"invalid value for \"ttl\"","index":0}`},
		{store.Error{Code: store.IndexNaN, Cause: `invalid value for "prevIndex"`}, 400,
			`{"errorCode":203,"message":"The given index in POST form is not a number","cause":"invalid value for \"prevIndex\"","index":0}`},
		{store.Error{Code: store.InvalidField, Cause: "invalid value for prevExist"}, 400,
			`{"errorCode":209,"message":"Invalid field","cause":"invalid value for prevExist","index":0}`},
		{store.Error{Code: store.InvalidForm, Cause: `invalid URL escape "%zz"`}, 400,
			`{"errorCode":210,"message":"Invalid POST form","cause":"invalid URL escape \"%zz\"","index":0}`},
		{store.Error{Code: store.RefreshValue, Cause: "A value was provided on a refresh"}, 400,
			`{"errorCode":211,"message":"Value provided on refresh","cause":"A value was provided on a refresh","index":0}`},
		{store.Error{Code: store.RefreshTTLNeeded, Cause: "No TTL value set"}, 400,
			`{"errorCode":212,"message":"A TTL must be provided on refresh","cause":"No TTL value set","index":0}`},
		{store.Error{Code: store.RaftInternal, Cause: "etcdserver: request timed out"}, 500,
			`{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}`},
		{store.Error{Code: store.DuringElection}, 500,
			`{"errorCode":301,"message":"During Leader Election","index":0}`},
		{store.Error{Code: store.WatcherCleared}, 400,
			`{"errorCode":400,"message":"watcher is cleared due to etcd recovery","index":0}`},
		{store.Error{Code: store.EventCleared, Cause: "the requested history has been cleared [1008/8]", Index: 2007}, 400,
			`{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [1008/8]","index":2007}`},
	}
	for _, tt := range tests {
		if got := string(appendError(nil, &tt.err)); got != tt.want+"\n" {
			t.Errorf("appendError(%v) =\n%swant\n%s", &tt.err, got, tt.want)
		}
		if got := status(tt.err.Code); got != tt.status {
			t.Errorf("status(%d) = %d, want %d", tt.err.Code, got, tt.status)
		}
	}
}

func TestAppendString(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{"<a href='x'>&amp;</a>", `"\u003ca href='x'\u003e\u0026amp;\u003c/a\u003e"`},
		{"line1\nline2\t\"q\" \\ \r", `"line1\nline2\t\"q\" \\ \r"`},
		{"\x00\x01\x1f\x7f\b\f", "\"\\u0000\\u0001\\u001f\x7f\\b\\f\""},
		{"a\u2028b\u2029c", `"a\u2028b\u2029c"`},
		{"\u2027\u202a", "\"\u2027\u202a\""},
		{"naïve ☃ 日本 😀", `"naïve ☃ 日本 😀"`},
		{"\xff\xfe", `"\ufffd\ufffd"`},
		{"a\xe2\x98", `"a\ufffd\ufffd"`},
		{"\ufffd", "\"\ufffd\""},
	}
	for _, tt := range tests {
		if got := string(appendString(nil, tt.in)); got != tt.want {
			t.Errorf("appendString(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// Every pair of neighbours, where one might hide the other from a look at eight
// bytes at a time.
func TestAppendStringOfEveryPair(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			s := "xxx" + string([]byte{byte(a), byte(b)}) + "yyyyyyy"
			want, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := appendString(nil, s); string(got) != string(want) {
				t.Fatalf("appendString(%q) = %s, want %s", s, got, want)
			}
			if n := asIsLen(s); n > len("xxx") && string(want) != `"`+s+`"` {
				t.Fatalf("asIsLen(%q) = %d, past what needs an escape", s, n)
			}
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "<&>\"\\", "\x00\b\f\n\r\t\x7f", "\u2028\u2029\u2027", "\xff\xe2\x80", "\ufffd", strings.Repeat("é", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendString(nil, s); string(got) != string(want) {
			t.Fatalf("appendString(%q) = %s, want %s", s, got, want)
		}
	})
}

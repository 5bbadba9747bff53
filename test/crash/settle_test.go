package crash

import "testing"

// TestSettle keeps the auditor honest: it must see a lost write, a write that was
// never made, and a value that came back.
func TestSettle(t *testing.T) {
	old := record{Key: "/k", Value: "old", Modified: 7}
	timed := record{Key: "/k", Value: "old", Modified: 7, Expiration: "2026-11-30T17:00:00.5Z"}
	moved := record{Key: "/k", Value: "old", Modified: 8}
	young := record{Key: "/k", Value: "young", Modified: 9}
	tests := []struct {
		name  string
		fate  fate
		got   record
		there bool
		ok    bool
	}{
		{"kept", fate{acked: &old}, old, true, true},
		{"expiration moved by downtime", fate{acked: &timed}, record{Key: "/k", Value: "old", Modified: 7, Expiration: "2026-11-30T17:00:03.1Z"}, true, true},
		{"expiration moved back", fate{acked: &timed}, record{Key: "/k", Value: "old", Modified: 7, Expiration: "2026-11-30T16:59:59Z"}, true, false},
		{"expiration lost", fate{acked: &timed}, old, true, false},
		{"lost", fate{acked: &old}, record{}, false, false},
		{"other index", fate{acked: &old}, moved, true, false},
		{"other value", fate{acked: &old}, young, true, false},
		{"still absent", fate{}, record{}, false, true},
		{"came from nowhere", fate{}, young, true, false},
		{"unanswered and done", fate{acked: &old, pending: &asked{"young"}}, young, true, true},
		{"unanswered and not done", fate{acked: &old, pending: &asked{"young"}}, old, true, true},
		{"unanswered and lost", fate{acked: &old, pending: &asked{"young"}}, record{}, false, false},
		{"delete unanswered and done", fate{acked: &old, pending: &asked{}}, record{}, false, true},
		{"delete unanswered and not done", fate{acked: &old, pending: &asked{}}, old, true, true},
	}
	for _, tt := range tests {
		f := tt.fate
		if err := f.settle(tt.got, tt.there); (err == nil) != tt.ok {
			t.Errorf("%s: settle = %v, want acceptance: %v", tt.name, err, tt.ok)
		}
		if f.pending != nil {
			t.Errorf("%s: the fate is still open", tt.name)
		}
	}
}

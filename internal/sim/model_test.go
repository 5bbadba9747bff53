package sim_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"etcd2/store"
)

// The checker has to find what it is there for.
func TestCheckerFindsWhatNoRegisterDoes(t *testing.T) {
	set := func(value string) store.Op { return store.Op{Action: store.Set, Value: value} }
	wrote := func(value string, index, prev uint64) answer {
		return answer{index: index, exists: true, value: value, modified: index, prev: prev}
	}
	found := func(value string, modified, index uint64) answer {
		return answer{index: index, exists: true, value: value, modified: modified}
	}
	read := store.Op{Action: store.Get}
	one := finished{set("one"), 1, 2, wrote("one", 1, 0)}
	tests := []struct {
		name string
		ops  []finished
		want bool
	}{
		{"a write and a read", []finished{one, {read, 3, 4, found("one", 1, 1)}}, true},
		{"a read overlaps the write it misses", []finished{one, {set("two"), 3, 6, wrote("two", 2, 1)}, {read, 4, 5, found("one", 1, 1)}}, true},
		{"a stale read", []finished{one, {set("two"), 3, 4, wrote("two", 2, 1)}, {read, 5, 6, found("one", 1, 1)}}, false},
		{"a write is lost", []finished{one, {read, 3, 4, answer{index: 1}}}, false},
		{"reads go back in time", []finished{one, {set("two"), 3, 9, wrote("two", 2, 1)}, {read, 4, 5, found("two", 2, 2)}, {read, 6, 7, found("one", 1, 1)}}, false},
		{"the index goes back", []finished{one, {read, 3, 4, found("one", 1, 7)}, {read, 5, 6, found("one", 1, 6)}}, false},
		{"two writes replace the same value", []finished{one, {set("two"), 3, 4, wrote("two", 2, 1)}, {set("three"), 5, 6, wrote("three", 3, 1)}}, false},
		{"a comparison that must fail", []finished{one, {store.Op{Action: store.CompareAndSwap, PrevIndex: 9, Value: "two"}, 3, 4, wrote("two", 2, 1)}}, false},
		{"a create of what exists", []finished{one, {store.Op{Action: store.Create, Value: "two"}, 3, 4, wrote("two", 2, 1)}}, false},
		{"a refusal without reason", []finished{one, {store.Op{Action: store.Delete}, 3, 4, answer{code: store.KeyNotFound, index: 1}}}, false},
		{"a delete", []finished{one, {store.Op{Action: store.Delete}, 3, 4, answer{index: 2, modified: 2, prev: 1}}, {read, 5, 6, answer{index: 2}}}, true},
		{"a refresh keeps the value", []finished{one, {store.Op{Action: store.Set, Refresh: true, HasTTL: true, TTL: time.Second}, 3, 4, wrote("one", 2, 1)}}, true},
		{"an expiry of what has no deadline", []finished{one, {store.Op{Action: store.Expire}, 3, 4, answer{index: 2, modified: 2}}}, false},
	}
	for _, tt := range tests {
		var ops []porcupine.Operation
		for _, f := range tt.ops {
			ops = append(ops, porcupine.Operation{Input: &request{op: f.op}, Call: f.call, Return: f.ret, Output: &seen{f.answer}})
		}
		if got := porcupine.CheckOperations(model(), ops); got != tt.want {
			t.Errorf("%s: linearizable = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// finished is a request with its answer.
type finished struct {
	op        store.Op
	call, ret int64
	answer    answer
}

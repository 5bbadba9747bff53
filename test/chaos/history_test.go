package chaos

import (
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkerPatience bounds the search for an order of the operations.
const checkerPatience = 2 * time.Minute

// register is one key: absent, or with a value.
func register() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(string), input.(operation).do, output.(answer))
		},
		Equal: func(a, b any) bool { return a == b },
	}
}

// byKey splits a history into those of its keys, which have nothing to do with each
// other.
func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, o := range history {
		key := o.Input.(operation).key
		keys[key] = append(keys[key], o)
	}
	var parts [][]porcupine.Operation
	for _, part := range keys {
		parts = append(parts, part)
	}
	return parts
}

// step tells whether an action on a key that holds state ("" is absent) may have
// this answer, and what it leaves behind.
func step(state string, do action, a answer) (bool, string) {
	present := state != ""
	after := state
	switch do.kind {
	case "get":
		return a.done && a.value == state && present || a.absent && !present, state
	case "put":
		after = do.value
		present = true
	case "swap":
		present = state == do.prev
		if a.known && !a.done {
			return a.absent == (state == "") && !present, state
		}
		after = do.value
	case "delete":
		after = ""
	}
	switch {
	case !a.known && !present: // it has come to nothing
		return true, state
	case !a.known:
		return true, after
	case a.done:
		return present, after
	}
	return !present, state
}

// checkHistory looks for an order of all operations that explains every answer.
func checkHistory(t *testing.T, crew []*client) {
	t.Helper()
	var history []porcupine.Operation
	known := 0
	for _, c := range crew {
		for _, op := range c.history {
			o := porcupine.Operation{
				ClientId: c.id, Input: op, Output: op.answer, Call: int64(op.call), Return: int64(op.end),
			}
			if op.answer.known {
				known++
			} else if op.do.kind == "get" {
				continue // says nothing about the key
			} else {
				o.Return = math.MaxInt64 // it may take effect at any time
			}
			history = append(history, o)
		}
	}
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(register(), history, checkerPatience)
	t.Logf("%d operations, %d of them answered, %v to check", len(history), known, time.Since(began).Round(time.Millisecond))
	switch {
	case result == porcupine.Unknown:
		t.Errorf("the history could not be checked within %v", checkerPatience)
	case result == porcupine.Illegal:
		file := t.ArtifactDir() + "/history.html"
		if err := porcupine.VisualizePath(register(), info, file); err != nil {
			t.Error(err)
		}
		t.Errorf("the history is not linearizable; see %s", file)
	}
}

// Package hostile gives the server bad days and bad clients: signals, damaged and
// occupied data directories, full disks, clients that send nonsense, send slowly,
// or do not send at all. The rule is always the same: what was acknowledged stays,
// what cannot be served is refused in one clear line, and the others go on.
package hostile

import (
	"os"
	"strings"
	"testing"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// put writes a key and fails the test when that is refused.
func put(t *testing.T, m *proc.Member, key, value string) {
	t.Helper()
	x, body, err := wire.Do(m.Client, wire.Form("PUT", "/v2/keys"+key, "value="+value))
	if err != nil {
		t.Fatalf("PUT %s: %v", key, err)
	}
	if x.Status/100 != 2 {
		t.Fatalf("PUT %s = %d %s, want a success", key, x.Status, body)
	}
}

// holds fails the test when a key does not have a value.
func holds(t *testing.T, m *proc.Member, key, value string) {
	t.Helper()
	x, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/keys" + key})
	if err != nil {
		t.Fatalf("GET %s: %v", key, err)
	}
	if want := `"value":"` + value + `"`; x.Status != 200 || !strings.Contains(string(body), want) {
		t.Fatalf("GET %s = %d %s, want %s", key, x.Status, body, want)
	}
}

// restart starts a stopped member again and waits until it serves.
func restart(t *testing.T, m *proc.Member) {
	t.Helper()
	if err := m.Restart(); err != nil {
		t.Fatalf("restart: %v\n%s", err, m.Log())
	}
}

// lineWith returns the first line of a log that holds all the pieces.
func lineWith(log string, pieces ...string) (string, bool) {
lines:
	for line := range strings.Lines(log) {
		for _, p := range pieces {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		return line, true
	}
	return "", false
}

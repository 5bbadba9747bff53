package hostile

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// stopPatience is how long an orderly stop may take here. The promise is far
// shorter; a busy machine is not.
const stopPatience = 20 * time.Second

// needSignals skips where processes cannot be asked to stop.
func needSignals(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("this system has no signals to ask a process to stop")
	}
}

func TestStopKeepsEverything(t *testing.T) {
	needSignals(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			m := proc.Start(t, proc.Options{})
			put(t, m, "/a", "before")
			index, err := m.Index()
			if err != nil {
				t.Fatal(err)
			}
			watch, err := wire.Send(m.Client, wire.Request{Method: "GET", Target: "/v2/keys/a?wait=true"})
			if err != nil {
				t.Fatal(err)
			}
			defer watch.Close()
			if err := watch.Head(wire.Patience); err != nil {
				t.Fatal(err)
			}

			if err := m.Signal(sig); err != nil {
				t.Fatal(err)
			}
			state, err := m.Wait(stopPatience)
			if err != nil {
				t.Fatal(err)
			}
			// A supervisor sees in the status that the process did as it was told.
			if !strings.Contains(state.String(), "signal: "+sig.String()) {
				t.Errorf("the server ended with %q, want it to end by the signal %v", state, sig)
			}
			want := "received " + sig.String() + " signal, shutting down..."
			if _, ok := lineWith(m.Log(), want); !ok {
				t.Errorf("the log has no line %q", want)
			}
			// A waiting client is let go with what it has: a head and no event.
			if body, err := watch.All(wire.Patience); errors.Is(err, wire.ErrTimeout) || len(body) > 0 {
				t.Errorf("a watch during the stop got %q, %v, want an end without an event", body, err)
			}

			restart(t, m)
			holds(t, m, "/a", "before")
			if now, err := m.Index(); err != nil || now < index {
				t.Errorf("etcd index after the restart = %d, %v, want at least %d", now, err, index)
			}
		})
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	needSignals(t)
	t.Parallel()
	m := proc.Start(t, proc.Options{})
	put(t, m, "/a", "before")
	// A request whose body never ends keeps an orderly stop waiting.
	x, err := wire.Send(m.Client, wire.Request{
		Method: "PUT", Target: "/v2/keys/slow", Body: []byte("value="),
		Header: []wire.Field{{Name: "Content-Length", Value: "1000"}, {Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for range 2 {
		if err := m.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	if _, err := m.Wait(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	restart(t, m)
	holds(t, m, "/a", "before")
}

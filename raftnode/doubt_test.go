package raftnode

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// A node says that it is in doubt, waits for its leader, and ends when the leader
// goes on contradicting it.
func TestNodeInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork()
		var logged bytes.Buffer
		var all []*running
		for id := range uint64(3) {
			cfg := Config{ID: id + 1}
			if id == 0 {
				cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			}
			all = append(all, w.start(t, cfg, State{Conf: voters(1, 2, 3)}, &slowLog{}))
		}
		m := all[0]
		if err := all[1].Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := leader(t, all[1:])
		propose(t, l, "a", "b")
		time.Sleep(time.Second + m.cfg.Tick/2) // no heartbeat comes in the same instant
		tell := func(kind raftpb.MessageType, change func(m *raftpb.Message)) {
			t.Helper()
			msg := &raftpb.Message{Type: kind.Enum(), From: new(l.cfg.ID), To: new(uint64(1)), Term: new(l.Status().Term + 1)}
			change(msg)
			if err := m.Step(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		contradict := func(msg *raftpb.Message) { msg.Index, msg.LogTerm = new(uint64(2)), msg.Term }
		tell(raftpb.MsgApp, contradict)
		if !m.Suspicious() {
			t.Error("Suspicious() = false after a contradiction")
		}
		time.Sleep(time.Second)
		if age, known := m.Age(); m.Suspicious() || !known || age > time.Second {
			t.Errorf("a second later Suspicious() = %v, Age() = %v, %v", m.Suspicious(), age, known)
		}
		for range 3 {
			tell(raftpb.MsgHeartbeat, func(msg *raftpb.Message) { msg.Term = new(uint64(maxTerm)) })
		}
		tell(raftpb.MsgApp, contradict)
		time.Sleep(time.Second)
		if n := strings.Count(logged.String(), "reads wait until"); n != 1 {
			t.Errorf("two doubts within a minute are logged %d times, want once:\n%s", n, logged.String())
		}
		if n := strings.Count(logged.String(), "refused an impossible message"); n != 1 {
			t.Errorf("three impossible messages are logged %d times, want once:\n%s", n, logged.String())
		}
		stopAll(t, all[1], all[2])
		for range 11 {
			tell(raftpb.MsgApp, contradict)
			time.Sleep(m.cfg.Tick)
		}
		if age, _ := m.Age(); age < time.Second {
			t.Errorf("Age() = %v after a second in doubt", age)
		}
		if err := <-m.err; !errors.Is(err, ErrDiverged) {
			t.Errorf("Run() = %v, want ErrDiverged", err)
		}
	})
}

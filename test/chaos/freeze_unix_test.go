//go:build unix

package chaos

import (
	"syscall"

	"etcd2/test/proc"
)

// systemFaults are those that not every system knows.
func systemFaults() []fault { return []fault{{"freeze", 2, (*world).freeze}} }

// freeze stops a process in its tracks: it does not notice.
func (w *world) freeze(m *proc.Member, _ bool) {
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	w.pass(w.outage())
	if err := m.Signal(syscall.SIGCONT); err != nil {
		w.t.Fatal(err)
	}
}

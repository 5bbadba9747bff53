package proxy

import (
	"io"
	"net/http"
	"sync"
)

// frozen is a member that can be stopped in its tracks, as by SIGSTOP.
type frozen struct {
	http.Handler

	mu     sync.Mutex    // guards the fields below
	gate   chan struct{} // closed while the member runs
	probes int
}

func newFrozen(h http.Handler) *frozen {
	gate := make(chan struct{})
	close(gate)
	return &frozen{Handler: h, gate: gate}
}

func (m *frozen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	gate := m.gate
	if isProbe(r) {
		m.probes++
	}
	m.mu.Unlock()
	<-gate
	if !isProbe(r) {
		m.Handler.ServeHTTP(w, r)
	}
}

// Freeze stops the member until thaw.
func (m *frozen) Freeze() (thaw func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

func (m *frozen) Probes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.probes
}

// keeper answers with its name and remembers the writes it got.
type keeper struct {
	name string

	mu     sync.Mutex // guards the field below
	writes []string
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		k.mu.Lock()
		k.writes = append(k.writes, r.Method+" "+r.RequestURI+" "+string(body))
		k.mu.Unlock()
	}
	io.WriteString(w, k.name)
}

func (k *keeper) Writes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writes
}

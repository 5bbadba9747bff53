package proc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports that addresses are taken from. The system gives none of them to whoever
// dials, so that they stay free while a server is down.
const (
	firstPort = 10000
	lastPort  = 30000
)

// Reserve listens on a free address of loopback. A server may have the address once
// the listener is closed.
func Reserve(t testing.TB) net.Listener {
	t.Helper()
	var err error
	for range 1000 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.N(lastPort-firstPort))); err == nil {
			return l
		}
	}
	t.Fatalf("no free port between %d and %d: %v", firstPort, lastPort, err)
	return nil
}

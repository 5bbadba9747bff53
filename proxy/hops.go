package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// hopsHeader lists the proxies that a request has passed, in order. In an answer
// it names the proxy that a loop led back to.
const hopsHeader = "X-Etcd-Proxy-Hops"

// errLoop says that the members cannot be reached through an endpoint.
var errLoop = errors.New("loop detected: a client URL of a member leads back to this proxy; see that members advertise URLs of their own")

// hopsMax is how many proxies may stand in a row.
const hopsMax = 16

// newID returns a name that no other proxy has.
func newID() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// hops returns the proxies that a request has passed.
func hops(header http.Header) []string {
	var passed []string
	for _, h := range strings.Split(strings.Join(header.Values(hopsHeader), ","), ",") {
		if h = strings.TrimSpace(h); h != "" {
			passed = append(passed, h)
		}
	}
	return passed
}

// checkHops refuses a request that goes in a circle. The answer tells the proxy at
// which the circle closes, and which therefore sends the request elsewhere.
func (p *Proxy) checkHops(w http.ResponseWriter, r *http.Request) error {
	passed := hops(r.Header)
	switch {
	case slices.Contains(passed, p.id):
		w.Header().Set(hopsHeader, p.id)
		return &refusal{http.StatusLoopDetected, errLoop.Error()}
	case len(passed) >= hopsMax:
		return &refusal{http.StatusLoopDetected, "loop suspected: the request has passed too many proxies"}
	}
	return nil
}

// returned tells whether an answer is our own refusal of a request that came back.
func (p *Proxy) returned(res *http.Response) bool {
	return res.StatusCode == http.StatusLoopDetected && res.Header.Get(hopsHeader) == p.id
}

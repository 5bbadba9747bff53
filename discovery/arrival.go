package discovery

import (
	"fmt"
	"strings"
	"unicode"

	"etcd2/membership"
)

const (
	// valueBytesMax is more than the URLs of any member take.
	valueBytesMax = 16 << 10
	nameBytesMax  = 256
)

// registered is what one member tells about itself.
type registered struct {
	name string
	urls []string
}

// parseArrival reads the value of a member, "name=url,name=url".
func parseArrival(value string) (registered, error) {
	if len(value) > valueBytesMax {
		return registered{}, fmt.Errorf("a value of %d bytes", len(value))
	}
	peers, err := membership.ParsePeers(value)
	if err != nil {
		return registered{}, err
	}
	if len(peers) != 1 {
		return registered{}, fmt.Errorf("a value with %d names", len(peers))
	}
	var r registered
	for r.name, r.urls = range peers {
	}
	if len(r.name) > nameBytesMax || strings.ContainsFunc(r.name, unicode.IsControl) {
		return registered{}, fmt.Errorf("a name of %d bytes or with control characters", len(r.name))
	}
	return r, nil
}

// peers is the cluster so far. The error is ErrInvalidURL or ErrDuplicateName.
func (g *gathering) peers() (membership.Peers, error) {
	peers := make(membership.Peers, len(g.arrived))
	for _, a := range g.arrived {
		r, err := parseArrival(a.value)
		if err != nil {
			return nil, fmt.Errorf("%w: member %s: %v", ErrInvalidURL, a.id, err)
		}
		if _, there := peers[r.name]; there {
			return nil, ErrDuplicateName
		}
		peers[r.name] = r.urls
	}
	return peers, nil
}

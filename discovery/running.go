package discovery

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"etcd2/identity"
	"etcd2/internal/tlsconf"
	"etcd2/membership"
)

const (
	// askTimeout is how long one member may take to answer.
	askTimeout = 10 * time.Second
	// lookTimeout is the same for a look that is not worth a wait.
	lookTimeout = time.Second
	// answerBytesMax is far more than the list of a large cluster takes.
	answerBytesMax = 4 << 20
)

// ErrNobody says that no member gave a usable answer. The text is that of etcd 2.3.
var ErrNobody = errors.New("could not retrieve cluster information from the given urls")

// Config says how a Client reaches members. A zero field takes the default named
// beside it.
type Config struct {
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // that of a net.Dialer
	TLS    func() *tls.Config                                                // settings of one connection, asked at each; nil refuses https URLs
	Lookup membership.Resolver                                               // finds the addresses of a host name; that of the system
	Logger *slog.Logger                                                      // discard
}

// Client asks members. Its methods may be called by any goroutine.
type Client struct {
	http   *http.Client
	lookup membership.Resolver
	log    *slog.Logger
}

// New makes a Client.
func New(cfg Config) *Client {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Lookup == nil {
		cfg.Lookup = SystemHosts
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		// Members are asked directly: variables that name an HTTP proxy do not count.
		http: &http.Client{Transport: &http.Transport{
			DialContext:       cfg.Dial,
			DialTLSContext:    cfg.dialTLS,
			DisableKeepAlives: true, // questions are rare
		}},
		lookup: cfg.Lookup,
		log:    cfg.Logger,
	}
}

var errNoTLS = errors.New("discovery: https, but no TLS settings to dial with")

// dialTLS opens a connection to an https URL with the settings of this moment.
func (c *Config) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.TLS == nil {
		return nil, errNoTLS
	}
	conn, err := c.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return tlsconf.Handshake(ctx, conn, addr, c.TLS())
}

// Running is a cluster as one of its members describes it.
type Running struct {
	ClusterID  membership.ID
	Members    []membership.Member // ascending by ID
	Generation string              // of the cluster; "" as founded, or when the member does not tell
}

// Running asks the peer URLs in turn, in sorted order, who the members of the
// cluster are. The first usable answer counts; why another one is not usable is
// logged. The error is ErrNobody.
func (c *Client) Running(ctx context.Context, urls []string) (*Running, error) {
	for r := range c.answers(ctx, urls) {
		return r, nil
	}
	return nil, ErrNobody
}

// answers asks the peer URLs in turn, in sorted order, and yields what is usable.
func (c *Client) answers(ctx context.Context, urls []string) iter.Seq[*Running] {
	return func(yield func(*Running) bool) {
		for _, u := range slices.Sorted(slices.Values(urls)) {
			r, err := c.running(ctx, u, askTimeout)
			if err != nil {
				c.log.Warn(err.Error())
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// Bootstrapped tells whether a member of this ID has run already, which is when
// the members at urls know its client URLs. They are asked at the same time and
// get a second; one that does not answer is no news.
func (c *Client) Bootstrapped(ctx context.Context, id membership.ID, urls []string) bool {
	answers := make(chan *Running, len(urls)) // one from each
	for _, u := range urls {
		go func() {
			r, err := c.running(ctx, u, lookTimeout)
			if err != nil {
				r = new(Running)
			}
			answers <- r
		}()
	}
	known := false
	for range urls { // all of them, so that none outlives the call
		known = (<-answers).hasRun(id) || known
	}
	return known
}

// hasRun tells whether the member belongs to the cluster and has told it where
// clients reach it, which a member does at every start.
func (r *Running) hasRun(id membership.ID) bool {
	return slices.ContainsFunc(r.Members, func(m membership.Member) bool {
		return m.ID == id && len(m.ClientURLs) > 0
	})
}

// running asks one peer URL. The texts of its errors are those of etcd 2.3.
func (c *Client) running(ctx context.Context, url string, within time.Duration) (*Running, error) {
	answer, body, err := c.get(ctx, url+"/members", within)
	switch {
	case answer == nil:
		return nil, fmt.Errorf("could not get cluster response from %s: %w", url, err)
	case err != nil:
		return nil, fmt.Errorf("could not read the body of cluster response: %w", err)
	}
	members, err := decodeMembers(body)
	if err != nil {
		return nil, fmt.Errorf("could not unmarshal cluster response: %w", err)
	}
	id, err := membership.ParseID(answer.Header.Get("X-Etcd-Cluster-Id"))
	if err != nil {
		return nil, fmt.Errorf("could not parse the cluster ID from cluster res: %w", err)
	}
	return &Running{ClusterID: id, Members: members, Generation: generation(answer.Header)}, nil
}

// generation is that of the cluster. Members of earlier versions do not tell it.
func generation(answer http.Header) string {
	who, err := identity.Decode(answer.Get("X-Etcd2-Identity"))
	if err != nil || who.Generation == identity.Joining {
		return ""
	}
	return who.Generation
}

// get returns the answer and its body. With an error about the body the answer
// is not nil. Statuses are left to the caller.
func (c *Client) get(ctx context.Context, url string, within time.Duration) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax+1))
	if err == nil && len(body) > answerBytesMax {
		err = fmt.Errorf("more than %d bytes", answerBytesMax)
	}
	return answer, body, err
}

// decodeMembers reads the list of members as the peer port shows it, with decimal
// IDs. What breaks the rules of peer URLs or IDs is an error.
func decodeMembers(body []byte) ([]membership.Member, error) {
	var listed []*struct {
		ID         membership.ID `json:"id"`
		PeerURLs   []string      `json:"peerURLs"`
		Name       string        `json:"name"`
		ClientURLs []string      `json:"clientURLs"`
	}
	if err := json.Unmarshal(body, &listed); err != nil {
		return nil, err
	}
	var members []membership.Member
	for _, l := range listed {
		if l == nil || l.ID == 0 {
			return nil, errors.New("a member without an ID")
		}
		urls, err := membership.CheckURLs(l.PeerURLs)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", l.ID, err)
		}
		members = append(members, membership.Member{ID: l.ID, Name: l.Name, PeerURLs: urls, ClientURLs: l.ClientURLs})
	}
	slices.SortFunc(members, byID)
	for i := 1; i < len(members); i++ {
		if members[i].ID == members[i-1].ID {
			return nil, fmt.Errorf("member %s twice", members[i].ID)
		}
	}
	return members, nil
}

func byID(a, b membership.Member) int { return cmp.Compare(a.ID, b.ID) }

// Package client talks to the v2 API of a cluster.
//
// A Client knows some endpoints, which are base URLs of members or of anything
// else that speaks the API. A request goes to the endpoint that answered last; when
// that one cannot be reached, is too slow, or answers with a server error, the next
// one is tried, and only when all have failed does the request fail. So a request
// that changes something may reach two members; conditions (PrevExist, PrevIndex,
// PrevValue) make that safe.
//
// Answers are not trusted: each is read up to a limit, and what is no answer of the
// API is an error, whatever it is. Redirects are followed a few times, with the
// credentials only when they lead to an endpoint.
//
// Texts of errors are those of the client library of etcd 2.3, for programs print
// them. Nothing outlives a call but idle connections, which Close ends.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultTimeout     = 5 * time.Second
	defaultAnswerBytes = 256 << 20
	dialTimeout        = 30 * time.Second
	handshakeTimeout   = 10 * time.Second
	headerBytesMax     = 1 << 20
)

// Config says how a Client reaches the cluster. A zero field takes the default
// named beside it.
type Config struct {
	Endpoints      []string          // base URLs; "host:port" means http; at least one, or requests fail with ErrNoEndpoints
	Transport      http.RoundTripper // carries requests; nil: NewTransport()
	Timeout        time.Duration     // until the header of an answer, for each endpoint tried, watches excepted; 5s; negative: unlimited
	AnswerBytesMax int64             // longest body of an answer; 256 MiB
	Username       string            // sent with Password to the endpoints; "": no credentials
	Password       string
	Logger         *slog.Logger // what went wrong at an endpoint, at debug level; discard
}

// Client makes requests. Its methods may be called by any goroutine.
type Client struct {
	cfg Config
	own *http.Transport // the transport this Client made, or nil

	mu        sync.Mutex // guards the fields below
	endpoints []*url.URL // never changed in place
	first     int        // the one that answered last
}

// New makes a Client. The error tells which endpoint is no URL.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	if cfg.Transport == nil {
		c.own = NewTransport()
		c.cfg.Transport = c.own
	}
	if cfg.Timeout == 0 {
		c.cfg.Timeout = defaultTimeout
	}
	if cfg.AnswerBytesMax == 0 {
		c.cfg.AnswerBytesMax = defaultAnswerBytes
	}
	if cfg.Logger == nil {
		c.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.SetEndpoints(cfg.Endpoints); err != nil {
		return nil, err
	}
	return c, nil
}

// NewTransport makes the transport of a Client that was given none: it dials for at
// most 30s, shakes hands for at most 10s and honours the HTTP proxies that the
// environment names. The caller may change it before its first use.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    handshakeTimeout,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: headerBytesMax,
	}
}

// Close ends the idle connections of a Client that was given no transport. The
// Client can still be used.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Endpoints returns the base URLs in the order in which they would be tried next.
func (c *Client) Endpoints() []string {
	var urls []string
	for _, u := range c.inOrder() {
		urls = append(urls, u.String())
	}
	return urls
}

// SetEndpoints replaces the endpoints. The error tells which one is no URL; then
// the old ones stay.
func (c *Client) SetEndpoints(endpoints []string) error {
	parsed := make([]*url.URL, 0, len(endpoints))
	for _, text := range endpoints {
		u, err := parseEndpoint(text)
		if err != nil {
			return err
		}
		parsed = append(parsed, u)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endpoints, c.first = parsed, 0
	return nil
}

// parseEndpoint reads a base URL. A path is kept, for what stands behind it.
func parseEndpoint(text string) (*url.URL, error) {
	if _, _, err := net.SplitHostPort(text); err == nil && !strings.Contains(text, "/") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// inOrder returns the endpoints, the one that answered last first.
func (c *Client) inOrder() []*url.URL {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(c.endpoints[c.first:], c.endpoints[:c.first])
}

// answered notes the endpoint to begin with from now on.
func (c *Client) answered(u *url.URL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.endpoints, u); i >= 0 {
		c.first = i
	}
}

// isEndpoint tells whether u leads to one of the endpoints.
func (c *Client) isEndpoint(u *url.URL) bool {
	return slices.ContainsFunc(c.inOrder(), func(e *url.URL) bool { return e.Scheme == u.Scheme && e.Host == u.Host })
}

// Sync asks for the members of the cluster and makes all their client URLs the
// endpoints, in random order, unless they are already. The error is ErrNoEndpoints
// if no member has published any, which leaves the endpoints as they are.
func (c *Client) Sync(ctx context.Context) error {
	members, err := c.Members().List(ctx)
	if err != nil {
		return err
	}
	var found []string
	for _, m := range members {
		found = append(found, m.ClientURLs...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) == 0 {
		return ErrNoEndpoints
	}
	if slices.Equal(found, slices.Sorted(slices.Values(c.Endpoints()))) {
		return nil
	}
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	return c.SetEndpoints(found)
}

// Errors a caller can act on. Their texts are those of etcd 2.3.
var (
	ErrNoEndpoints = errors.New("client: no endpoints available")
	//lint:ignore ST1005 programs print and compare this text
	ErrInvalidJSON = errors.New("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.")
	ErrEmptyBody   = errors.New("client: response body is empty")
	ErrTooLong     = errors.New("client: response is too long")
)

// Error is a refusal by the keys API.
type Error struct {
	Code    int    `json:"errorCode"`
	Message string `json:"message"`
	Cause   string `json:"cause"`
	Index   uint64 `json:"index"` // etcd index at that moment
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d: %s (%s) [%d]", e.Code, e.Message, e.Cause, e.Index)
}

// Codes of the keys API that programs tell apart.
const (
	CodeKeyNotFound   = 100
	CodeCompareFailed = 101
	CodeNotFile       = 102
	CodeNotDir        = 104
	CodeKeyExists     = 105
	CodeDirNotEmpty   = 108
	CodeUnauthorized  = 110
	CodeCleared       = 401 // the history no longer has the event
)

// IsCode tells whether err is a refusal by the keys API with this code.
func IsCode(err error, code int) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Code == code
}

// StatusError is an answer that the other APIs give when something is wrong.
type StatusError struct {
	Status  int    // of HTTP
	Message string // of the server; "" without one
}

func (e *StatusError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("unexpected status code %d", e.Status)
}

// ClusterError says that no endpoint gave an answer.
type ClusterError struct {
	Errors []error // one for each endpoint, in the order in which they were tried
}

// unavailable is what a ClusterError begins with.
const unavailable = "client: etcd cluster is unavailable or misconfigured"

// Error is one line that names every failure.
func (e *ClusterError) Error() string {
	var b strings.Builder
	b.WriteString(unavailable)
	for i, err := range e.Errors {
		fmt.Fprintf(&b, "; error #%d: %s", i, err)
	}
	return b.String()
}

// Summary is the error without the failures.
func (e *ClusterError) Summary() string { return unavailable }

// Detail is one line for each failure, as etcdctl prints them.
func (e *ClusterError) Detail() string {
	var b strings.Builder
	for i, err := range e.Errors {
		fmt.Fprintf(&b, "error #%d: %s\n", i, err)
	}
	return b.String()
}

// Unwrap returns the failures.
func (e *ClusterError) Unwrap() []error { return e.Errors }
